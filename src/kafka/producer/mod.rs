//! The producers: one per role, owned by the process, replaced when librdkafka declares one dead.

mod gate;
pub mod outgoing;
mod running;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rdkafka::util::{IntoOpaque, Timeout};
use rdkafka::{ClientConfig, ClientContext};
use rdkafka_sys as rdsys;

use self::running::{Gated, Running};
use crate::kafka::client::context::log_through_tracing;
use crate::kafka::client::properties;
use crate::kafka::cluster::health::Probe;
use crate::kafka::producer::outgoing::Outgoing;
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

fn not_sent(code: RDKafkaErrorCode) -> Delivered {
    Err(Undelivered {
        code,
        not_persisted: true,
    })
}

/// Hears what became of each record; called on the producer's polling thread, or within the send, so it must not block, nor panic: a
/// panic there ends all delivery reports.
pub trait DeliveryListener: Send + Sync + 'static {
    /// What travels with a record and comes back with its report.
    type Ticket: IntoOpaque;
    fn delivered(&self, ticket: Self::Ticket, outcome: Delivered);
}

/// A client's callbacks.
pub struct Context<L>(pub Arc<L>);

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
    config: ArcSwap<ClientConfig>,
    listener: Arc<L>,
    current: ArcSwap<Running<L>>,
}

impl<L: DeliveryListener> Producer<L> {
    /// Starts a client and its polling thread.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn new(config: ClientConfig, listener: L) -> Result<Self, KafkaError> {
        let listener = Arc::new(listener);
        let running = Running::start(&config, listener.clone())?;
        Ok(Producer {
            config: ArcSwap::from_pointee(config),
            listener,
            current: ArcSwap::from_pointee(running),
        })
    }

    /// Queues a record; never blocks. `partition` `None`: by key, else any. What becomes of it is reported in any case: that nothing was
    /// sent, too, because the queue is full, the record too large, the topic or partition not known, or the client dead (`heal` replaces
    /// it within a second).
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
    pub fn client(&self) -> Arc<BaseProducer<Context<Gated<L>>>> {
        self.current.load().client.clone()
    }

    /// Replaces a client that met a fatal error; what it held is reported as failed. Blocks for half a second then.
    pub fn heal(&self) {
        let dead = self.current.load_full();
        let Some((code, reason)) = dead.client.client().fatal_error() else {
            return;
        };
        let fresh = match Running::start(&self.config.load(), self.listener.clone()) {
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

    /// From now on, batches of several records are at most this large. librdkafka has no such limit for a topic alone, and none that can
    /// be changed: a new client takes over, and what the old one holds goes out as it is, on a thread of its own.
    pub fn limit_batches(&self, bytes: usize) {
        self.config
            .rcu(|config| properties::with_max_batch(config, bytes.min(properties::max_batch(config))));
        loop {
            let config = self.config.load_full();
            let old = match Running::start(&config, self.listener.clone()) {
                Ok(fresh) => self.current.swap(Arc::new(fresh)),
                Err(error) => {
                    return tracing::error!(%error, "batches stay larger than a topic takes: under load Kafka refuses them as a whole");
                }
            };
            let flush = move || {
                old.flush(Timeout::Never);
                old.retire();
            };
            // Err: it goes at once, and reports what it could not deliver.
            let _ = std::thread::Builder::new().name("khp-producer-old".into()).spawn(flush);
            // Another may have made them smaller still, and its client been replaced by ours.
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
    use crate::kafka::client::properties;
    use crate::kafka::config::Kafka;
    use crate::test_kafka;
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
