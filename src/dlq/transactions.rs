//! Letters and the marks that name them, in one Kafka transaction: all of it is there or nothing, however the process ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{Producer as _, ThreadedProducer};

use crate::dlq::error::DlqError;
use crate::dlq::targets::Planned;
use crate::kafka::client::properties;
use crate::kafka::codes::CodeClass;
use crate::kafka::producer::outgoing::Outgoing;
use crate::kafka::producer::{Context, Delivered, DeliveryListener};
use crate::settings::Settings;
use crate::wire::redrive::mark;

/// Limits each step of a transaction.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Tries of one batch.
const TRIES: u32 = 3;
const NOT_REDRIVEN: &str =
    "a batch was not redriven, nothing of it: another redrive has taken over, or run the command again";

/// A producer whose batches are there whole or not at all.
pub struct Transactions<'a> {
    producer: ThreadedProducer<Context<Refusals>>,
    refused: Receiver<RDKafkaErrorCode>,
    dead_letter_topic: &'a str,
}

/// Keeps the reasons why Kafka did not take records.
struct Refusals(Sender<RDKafkaErrorCode>);

impl DeliveryListener for Refusals {
    type Ticket = ();

    fn delivered(&self, (): (), outcome: Delivered) {
        if let Err(why) = outcome {
            // Err: the run is over.
            let _ = self.0.send(why.code);
        }
    }
}

impl<'a> Transactions<'a> {
    /// Shuts out any other run on the same topic, and ends what it left open.
    ///
    /// # Errors
    /// Kafka does not answer, or refuses transactions.
    pub fn start(settings: &Settings, dead_letter_topic: &'a str) -> Result<Self, DlqError> {
        let config = properties::redrive_producer(&settings.kafka, dead_letter_topic);
        // Bounded by the batch: one report a record.
        let (refusals, refused) = crossbeam_channel::unbounded();
        let context = Context(Arc::new(Refusals(refusals)));
        let producer =
            ThreadedProducer::from_config_and_context(&config, context).map_err(DlqError::kafka("Kafka client"))?;
        producer.init_transactions(TIMEOUT).map_err(DlqError::kafka(
            "starting transactions (the user needs WRITE on the transactional id actix-khp-redrive-*)",
        ))?;
        Ok(Transactions {
            producer,
            refused,
            dead_letter_topic,
        })
    }

    /// One transaction: the records, and a mark for each partition they came from. The inner error: Kafka will never take one of them,
    /// and nothing of the batch is there.
    ///
    /// # Errors
    /// Kafka did not take the batch, and may take it another time.
    pub fn send(&self, batch: &[Planned]) -> Result<Result<(), RDKafkaErrorCode>, DlqError> {
        if batch.is_empty() {
            return Ok(Ok(()));
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let Err(error) = self.attempt(batch) else {
                return Ok(Ok(()));
            };
            let aborted = self.producer.abort_transaction(TIMEOUT);
            let codes = error.rdkafka_error_code().into_iter().chain(self.refused.try_iter());
            match (codes.filter(|code| is_for_good(*code)).last(), aborted) {
                (Some(code), Ok(())) => return Ok(Err(code)),
                // Sequence numbers of a refused batch are lost to the next one, whose failure makes librdkafka begin new ones.
                (None, Ok(())) if tries < TRIES => {}
                _ => return Err(DlqError::kafka(NOT_REDRIVEN)(error)),
            }
        }
    }

    /// Leaves the transaction open where it fails.
    fn attempt(&self, batch: &[Planned]) -> KafkaResult<()> {
        self.producer.begin_transaction()?;
        self.write(batch).map_err(KafkaError::MessageProduction)?;
        self.producer.commit_transaction(TIMEOUT)
    }

    fn write(&self, batch: &[Planned]) -> Result<(), RDKafkaErrorCode> {
        let mut offsets: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        for Planned { place, topic, record } in batch {
            let parts = (record.key.clone(), record.value.clone());
            self.produce(Outgoing::raw(topic, None, parts, &record.headers, ()))?;
            offsets.entry(place.partition).or_default().push(place.offset);
        }
        for (partition, offsets) in offsets {
            let (marked, empty) = (mark(&offsets), Some(Bytes::new()));
            self.produce(Outgoing::raw(
                self.dead_letter_topic,
                Some(partition),
                (None, empty),
                &marked,
                (),
            ))?;
        }
        Ok(())
    }

    fn produce(&self, record: Result<Outgoing<()>, ()>) -> Result<(), RDKafkaErrorCode> {
        let record = record.map_err(|()| RDKafkaErrorCode::UnknownTopic)?;
        record.produce(self.producer.client()).map_err(|(code, ())| code)
    }
}

/// Another try would end the same way.
fn is_for_good(code: RDKafkaErrorCode) -> bool {
    let class = CodeClass::from(code);
    class.is_final() || matches!(class, CodeClass::TooLarge | CodeClass::NoSuchTopic)
}
