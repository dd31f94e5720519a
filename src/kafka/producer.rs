//! The producers: one per role, owned by the process, replaced when librdkafka declares one dead.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::util::IntoOpaque;
use rdkafka::{ClientConfig, ClientContext};
use rdkafka_sys as rdsys;

use crate::kafka::client_context::log_through_tracing;
use crate::kafka::record::NativeHeaders;
use crate::wire::Record;
use crate::wire::dead_letter::DeadLetter;

/// What became of a produced record.
pub type Delivered = Result<(), Undelivered>;

/// A record that Kafka did not acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{code}")]
pub struct Undelivered {
    pub code: RDKafkaErrorCode,
    /// It is certain that no broker has it (`RD_KAFKA_MSG_STATUS_NOT_PERSISTED`).
    pub not_persisted: bool,
}

/// Hears what became of each record; called on the producer's polling thread, so it must not block, nor panic: a panic there ends
/// all delivery reports.
pub trait DeliveryListener: Send + Sync + 'static {
    /// What travels with a record and comes back with its report.
    type Ticket: IntoOpaque;
    fn delivered(&self, ticket: Self::Ticket, outcome: Delivered);
}

/// `RD_KAFKA_PARTITION_UA`: the partitioner chooses.
const PARTITION_UNASSIGNED: i32 = -1;

/// A client's callbacks.
pub struct Context<L>(Arc<L>);

impl<L: DeliveryListener> ClientContext for Context<L> {
    log_through_tracing!();
}

impl<L: DeliveryListener> ProducerContext for Context<L> {
    type DeliveryOpaque = L::Ticket;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: L::Ticket) {
        let outcome = match result {
            Ok(_) => Ok(()),
            Err((error, message)) => {
                // SAFETY: the message is valid for the time of this callback.
                let status = unsafe { rdsys::rd_kafka_message_status(message.ptr()) };
                Err(Undelivered {
                    code: error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
                    not_persisted: status == rdsys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED,
                })
            }
        };
        self.0.delivered(ticket, outcome);
    }
}

/// A producer that can be shared, and replaced under its users.
pub struct Producer<L: DeliveryListener> {
    config: ClientConfig,
    listener: Arc<L>,
    current: ArcSwap<ThreadedProducer<Context<L>>>,
}

impl<L: DeliveryListener> Producer<L> {
    /// Starts a client and its polling thread.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn new(config: ClientConfig, listener: L) -> Result<Self, KafkaError> {
        let listener = Arc::new(listener);
        let producer = ThreadedProducer::from_config_and_context(&config, Context(listener.clone()))?;
        Ok(Producer {
            config,
            listener,
            current: ArcSwap::from_pointee(producer),
        })
    }

    /// Queues a record; never blocks. `partition` `None`: by key, else any.
    ///
    /// # Errors
    /// Nothing was sent, and the ticket comes back: the local queue is full, the record is too large, the topic or partition is not
    /// known, or the client is dead (`heal` replaces it within a second).
    pub fn send(
        &self,
        topic: &str,
        partition: Option<i32>,
        record: &Record,
        ticket: L::Ticket,
    ) -> Result<(), (RDKafkaErrorCode, L::Ticket)> {
        let fields = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), Some(&value[..])));
        let headers = NativeHeaders::new(record.headers.len(), fields);
        self.produce(
            topic,
            partition,
            record.key.as_deref(),
            Some(&record.value),
            headers,
            ticket,
        )
    }

    /// `send` for a record whose header names and nulls are kept as they were read.
    ///
    /// # Errors
    /// As `send`.
    pub fn send_dead_letter(
        &self,
        topic: &str,
        letter: &DeadLetter,
        ticket: L::Ticket,
    ) -> Result<(), (RDKafkaErrorCode, L::Ticket)> {
        let fields = letter.headers.iter().map(|(name, value)| (&name[..], value.as_deref()));
        let headers = NativeHeaders::new(letter.headers.len(), fields);
        self.produce(
            topic,
            None,
            letter.key.as_deref(),
            letter.value.as_deref(),
            headers,
            ticket,
        )
    }

    fn produce(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: NativeHeaders,
        ticket: L::Ticket,
    ) -> Result<(), (RDKafkaErrorCode, L::Ticket)> {
        use rdsys::rd_kafka_vtype_t as V;
        let Ok(topic) = CString::new(topic) else {
            return Err((RDKafkaErrorCode::UnknownTopic, ticket));
        };
        let part = |bytes: Option<&[u8]>| bytes.map_or((std::ptr::null(), 0), |bytes| (bytes.as_ptr(), bytes.len()));
        let ((key, key_size), (value, value_size)) = (part(key), part(value));
        let client = self.current.load();
        let opaque = ticket.into_ptr();
        // SAFETY: the arguments are those rd_kafka_producev documents for each tag, and live through the call; F_COPY makes librdkafka
        // copy key and value. A dangling pointer of an empty slice is not read, and tells empty from null.
        let code = unsafe {
            rdsys::rd_kafka_producev(
                client.client().native_ptr(),
                V::RD_KAFKA_VTYPE_TOPIC,
                topic.as_ptr(),
                V::RD_KAFKA_VTYPE_PARTITION,
                partition.unwrap_or(PARTITION_UNASSIGNED),
                V::RD_KAFKA_VTYPE_MSGFLAGS,
                rdsys::RD_KAFKA_MSG_F_COPY,
                V::RD_KAFKA_VTYPE_KEY,
                key,
                key_size,
                V::RD_KAFKA_VTYPE_VALUE,
                value,
                value_size,
                V::RD_KAFKA_VTYPE_HEADERS,
                headers.as_ptr(),
                V::RD_KAFKA_VTYPE_OPAQUE,
                opaque,
                V::RD_KAFKA_VTYPE_END,
            )
        };
        if code == rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            headers.taken_over();
            return Ok(());
        }
        // SAFETY: made by `into_ptr` above, and librdkafka did not take it.
        Err((code.into(), unsafe { L::Ticket::from_ptr(opaque) }))
    }

    /// Asks the cluster about a topic with the present client, which thereby learns of it. Blocks.
    ///
    /// # Errors
    /// Kafka did not answer within `timeout`.
    pub fn probe(&self, topic: &str, timeout: Duration) -> KafkaResult<()> {
        self.current
            .load_full()
            .client()
            .fetch_metadata(Some(topic), timeout)
            .map(drop)
    }

    /// The present client.
    pub fn client(&self) -> Arc<ThreadedProducer<Context<L>>> {
        self.current.load_full()
    }

    /// Replaces a client that met a fatal error; what it held is reported as failed. Blocks for half a second then.
    pub fn heal(&self) {
        let Some((code, reason)) = self.current.load().client().fatal_error() else {
            return;
        };
        match ThreadedProducer::from_config_and_context(&self.config, Context(self.listener.clone())) {
            Ok(fresh) => {
                tracing::warn!(%code, reason, "Kafka producer met a fatal error and was replaced");
                drop(self.current.swap(Arc::new(fresh)));
            }
            Err(error) => {
                tracing::error!(%error, "Kafka producer met a fatal error and cannot be replaced; trying again")
            }
        }
    }

    /// Records queued or under way.
    pub fn queued(&self) -> usize {
        self.current.load().in_flight_count().max(0) as usize
    }

    /// Waits until all is delivered; false when `timeout` passed first. Blocks.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.current.load_full().flush(timeout).is_ok()
    }
}
