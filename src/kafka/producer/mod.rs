//! The producers: one per role, owned by the process, replaced when librdkafka declares one dead.
//!
//! - [`delivery`]: what becomes of a record, and the listener that hears it.
//! - [`outgoing`]: a record in the form that librdkafka takes.
//! - [`gate`]: forms batches, by holding records back while a batch is under way.
//! - [`gated_client`]: one librdkafka client with its polling thread and its gate.

pub mod delivery;
mod gate;
mod gated_client;
pub mod outgoing;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::util::Timeout;

use self::delivery::not_sent;
pub use self::delivery::{Context, Delivered, DeliveryListener, Undelivered};
use self::gated_client::{Feed, GatedClient};
use crate::kafka::client::properties;
use crate::kafka::cluster::health::Probe;
use crate::kafka::producer::outgoing::Outgoing;
use crate::wire::Record;
use crate::wire::dead_letter::DeadLetter;

/// A producer that can be shared, and replaced under its users.
pub struct Producer<L: DeliveryListener> {
    config: ArcSwap<ClientConfig>,
    listener: Arc<L>,
    current: ArcSwap<GatedClient<L>>,
}

impl<L: DeliveryListener> Producer<L> {
    /// Starts a client and its polling thread.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn new(config: ClientConfig, listener: L) -> Result<Self, KafkaError> {
        let listener = Arc::new(listener);
        let running = GatedClient::start(&config, listener.clone())?;
        Ok(Producer {
            config: ArcSwap::from_pointee(config),
            listener,
            current: ArcSwap::from_pointee(running),
        })
    }

    /// Queues a record; never blocks. `partition` `None`: by key, else any. The listener hears the outcome in any case, also when nothing was
    /// sent: the queue is full, the record is too large, the topic or partition is not known, or the client is dead (`heal` replaces it
    /// within a second).
    pub fn send(&self, topic: &str, partition: Option<i32>, record: &Record, ticket: L::Ticket) {
        self.queue(Outgoing::record(topic, partition, record, ticket));
    }

    /// `send` for a record whose header names and nulls are kept as they were read.
    pub fn send_dead_letter(&self, topic: &str, letter: &DeadLetter, ticket: L::Ticket) {
        self.queue(Outgoing::dead_letter(topic, letter, ticket));
    }

    fn queue(&self, record: Result<Outgoing<L::Ticket>, L::Ticket>) {
        match record {
            Ok(record) => self.current.load().send(record),
            Err(ticket) => self
                .listener
                .delivered(ticket, not_sent(RDKafkaErrorCode::UnknownTopic)),
        }
    }

    /// Asks the cluster with the present client. Blocks.
    ///
    /// # Errors
    /// See `Probe::ask`.
    pub fn probe(&self, probe: &mut Probe) -> KafkaResult<()> {
        probe.ask(self.client().client())
    }

    /// Asks for the offset one past a partition's last. Blocks.
    ///
    /// # Errors
    /// Kafka did not answer within `timeout`.
    pub fn end(&self, topic: &str, partition: i32, timeout: Duration) -> KafkaResult<i64> {
        let client = self.client();
        client
            .client()
            .fetch_watermarks(topic, partition, timeout)
            .map(|(_, end)| end)
    }

    /// The present client.
    pub fn client(&self) -> Arc<BaseProducer<Context<Feed<L>>>> {
        self.current.load().client.clone()
    }

    /// Replaces a client that met a fatal error; the records it held are reported as failed. Blocks for half a second then.
    pub fn heal(&self) {
        let dead = self.current.load_full();
        let Some((code, reason)) = dead.client.client().fatal_error() else {
            return;
        };
        let fresh = match GatedClient::start(&self.config.load(), self.listener.clone()) {
            Ok(fresh) => Arc::new(fresh),
            Err(error) => {
                return tracing::error!(%error, "Kafka producer met a fatal error and cannot be replaced; trying again");
            }
        };
        // Unless another has replaced it meanwhile.
        let is_replaced = Arc::ptr_eq(&self.current.compare_and_swap(&dead, fresh), &dead);
        if is_replaced {
            tracing::warn!(%code, reason, "Kafka producer met a fatal error and was replaced");
            dead.retire();
        }
    }

    /// From now on, batches of several records are at most this large. librdkafka has no such limit for one topic, and none that can be
    /// changed: a new client takes over, and a thread of its own flushes the old one.
    pub fn limit_batches(&self, bytes: usize) {
        self.config
            .rcu(|config| properties::with_max_batch(config, bytes.min(properties::max_batch(config))));
        loop {
            let config = self.config.load_full();
            let old = match GatedClient::start(&config, self.listener.clone()) {
                Ok(fresh) => self.current.swap(Arc::new(fresh)),
                Err(error) => {
                    return tracing::error!(%error, "batches stay larger than a topic takes: under load Kafka refuses them as a whole");
                }
            };
            let flush = move || {
                old.flush(Timeout::Never);
                old.retire();
            };
            // Err: it is dropped at once, and reports what it could not deliver.
            let _ = std::thread::Builder::new().name("khp-producer-old".into()).spawn(flush);
            // A second call may have set a smaller limit meanwhile, and our client have replaced its client.
            if Arc::ptr_eq(&config, &self.config.load()) {
                return;
            }
        }
    }

    /// Records queued or under way.
    pub fn queued(&self) -> usize {
        self.current.load().queued()
    }

    /// Waits until all is delivered; false when `timeout` passed first. Blocks.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.current.load_full().flush(Timeout::After(timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::config::Kafka;
    use crate::test_kafka;
    use rdkafka_sys as rdsys;
    use tokio::sync::mpsc;

    struct Reports(mpsc::UnboundedSender<(usize, Delivered)>);

    impl DeliveryListener for Reports {
        type Ticket = usize;
        fn delivered(&self, ticket: usize, outcome: Delivered) {
            let _ = self.0.send((ticket, outcome));
        }
    }

    #[test]
    fn a_fatal_error_costs_one_client_and_not_the_next_record() {
        let kafka = Kafka {
            bootstrap_servers: test_kafka::brokers().into(),
            properties: Default::default(),
        };
        let (sender, mut reports) = mpsc::unbounded_channel();
        let config = properties::reply_producer(&kafka, Duration::from_secs(15));
        let producer = Producer::new(config, Reports(sender)).unwrap();
        let before = producer.client();
        // SAFETY: the client is alive, and librdkafka copies the reason.
        unsafe {
            rdsys::rd_kafka_test_fatal_error(
                before.client().native_ptr(),
                rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                c"a test".as_ptr(),
            );
        }
        let topic = format!("{:08x}-heal", rand::random::<u32>());
        let admin: rdkafka::admin::AdminClient<_> = properties::reply_consumer(&kafka).create().unwrap();
        let new = rdkafka::admin::NewTopic::new(&topic, 1, rdkafka::admin::TopicReplication::Fixed(1));
        let made = futures_executor::block_on(admin.create_topics([&new], &Default::default())).unwrap();
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        let record = Record {
            key: None,
            value: Default::default(),
            headers: Vec::new(),
        };
        producer.send(&topic, None, &record, 1);
        let refused = reports.try_recv().unwrap();
        assert_eq!(refused, (1, not_sent(RDKafkaErrorCode::Fatal)));
        producer.heal();
        assert!(!Arc::ptr_eq(&before, &producer.client()));
        producer.send(&topic, None, &record, 2);
        assert_eq!(reports.blocking_recv(), Some((2, Ok(()))));
        let healthy = producer.client();
        producer.heal();
        assert!(Arc::ptr_eq(&healthy, &producer.client()));
    }
}
