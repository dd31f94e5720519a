//! Sends what has to be in Kafka before its client hears of it: requests that are accepted, and cancels. A client of its own, because the
//! one of other requests reports failures only.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;
use tokio::sync::oneshot;

use crate::error::RequestError;
use crate::kafka::cluster::admin::{self, TopicAdmin, TopicError};
use crate::kafka::cluster::record_limits::{RecordLimits, TopicRole};
use crate::kafka::codes::CodeClass;
use crate::kafka::config::Purpose;
use crate::kafka::partitioner::partition_of;
use crate::kafka::producer::{Delivered, DeliveryListener, Producer, Undelivered};
use crate::process::periodic;
use crate::proxy::open_topics::OpenTopics;
use crate::wire::Record;

/// A dead client is replaced within this time.
const HEAL_EVERY: Duration = Duration::from_secs(1);

/// Tells whoever sent a record what became of it.
pub struct Acks;

impl DeliveryListener for Acks {
    type Ticket = Box<oneshot::Sender<Delivered>>;

    fn delivered(&self, ticket: Self::Ticket, outcome: Delivered) {
        // Err: nobody waits any more.
        let _ = ticket.send(outcome);
    }
}

/// Why a record is not in Kafka, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// Kafka does not have it.
    Never(RequestError),
    /// Kafka may have it.
    Unknown,
}

/// The client.
pub struct Sender {
    producer: Arc<Producer<Acks>>,
    /// How large batches may be that this client sends. Each record was measured before.
    limits: RecordLimits,
    admin: TopicAdmin,
    /// Those that exist, and that the client knows, until a record is not taken.
    open: OpenTopics<()>,
}

impl Sender {
    /// Starts it.
    ///
    /// # Errors
    /// librdkafka refuses the settings, or there is no thread left.
    pub fn start(config: ClientConfig, admin: TopicAdmin) -> Result<Self, KafkaError> {
        let no_thread = |error: std::io::Error| KafkaError::ClientCreation(error.to_string());
        let producer = Arc::new(Producer::new(config, Acks)?);
        let limits = RecordLimits::start(producer.clone(), TopicRole::Requests, []).map_err(no_thread)?;
        periodic::while_alive("khp-async-heal", HEAL_EVERY, &producer, |producer| producer.heal())
            .map_err(no_thread)?;
        Ok(Sender {
            producer,
            limits,
            admin,
            open: OpenTopics::new(Duration::MAX),
        })
    }

    /// Makes sure that a topic exists; it is created where it is missing and may be.
    ///
    /// # Errors
    /// `KafkaUnavailable`: it does not, or Kafka does not answer.
    pub async fn open(&self, name: &Arc<str>, purpose: Purpose) -> Result<(), RequestError> {
        let ensure = || {
            let (producer, admin, topic) = (self.producer.clone(), self.admin.clone(), name.clone());
            let limits = self.limits.clone();
            move || {
                admin.ensure(producer.client().client(), &topic, purpose, true)?;
                // Before the first record: a batch over it is refused whole.
                limits.learn(&topic);
                Ok(())
            }
        };
        let unusable = |error: &TopicError| {
            tracing::error!(%error, "requests whose answers are fetched later are refused");
            RequestError::KafkaUnavailable
        };
        self.open.open(name, ensure, unusable).await
    }

    /// The same as `send`, to the partition of this key. The client finds that by itself, unless the record is sealed: then its own key
    /// depends on the secret.
    ///
    /// # Errors
    /// As `send`.
    pub async fn send_by(
        &self,
        key: Option<&[u8]>,
        topic: &Arc<str>,
        record: Record,
        limit: Duration,
    ) -> Result<(), NotTaken> {
        let partition = match key {
            Some(key) if record.key.as_deref() != Some(key) => {
                self.partition_of(topic, key).await.map_err(NotTaken::Never)?
            }
            _ => None,
        };
        self.send_to(partition, topic, record, limit).await
    }

    /// Kafka is asked each time, since partitions may have been added. `None`: the topic is gone.
    async fn partition_of(&self, topic: &Arc<str>, key: &[u8]) -> Result<Option<i32>, RequestError> {
        let (producer, topic) = (self.producer.clone(), topic.clone());
        let describe = move || admin::describe(producer.client().client(), &topic);
        match tokio::task::spawn_blocking(describe).await {
            Ok(Ok(found)) => Ok(found.and_then(|found| partition_of(key, found.partitions))),
            Ok(Err(error)) => {
                tracing::debug!(%error, "partitions not known");
                Err(RequestError::KafkaUnavailable)
            }
            // It panicked, and the panic hook has logged it.
            Err(_) => Err(RequestError::KafkaUnavailable),
        }
    }

    /// Sends a record, and comes back once Kafka has acknowledged it.
    ///
    /// # Errors
    /// Kafka did not within `limit`, or never will.
    pub async fn send(&self, topic: &Arc<str>, record: Record, limit: Duration) -> Result<(), NotTaken> {
        self.send_to(None, topic, record, limit).await
    }

    async fn send_to(
        &self,
        partition: Option<i32>,
        topic: &Arc<str>,
        record: Record,
        limit: Duration,
    ) -> Result<(), NotTaken> {
        let (ticket, outcome) = oneshot::channel();
        self.producer.send(topic, partition, &record, Box::new(ticket));
        // The client has its own copy.
        drop(record);
        let outcome = tokio::time::timeout(limit, outcome).await;
        match outcome {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(why))) => Err(self.not_taken(topic, why)),
            // Err: the process ends.
            Err(_) | Ok(Err(_)) => Err(NotTaken::Unknown),
        }
    }

    fn not_taken(&self, topic: &Arc<str>, why: Undelivered) -> NotTaken {
        tracing::debug!(%topic, code = %why.code, "a record was not taken");
        let class = CodeClass::from(why.code);
        if class.may_settle() {
            // It may have been deleted.
            self.open.forget(topic);
        }
        match class {
            CodeClass::TooLarge => {
                self.limits.ask_again();
                NotTaken::Never(RequestError::BodyTooLarge)
            }
            CodeClass::QueueFull => NotTaken::Never(RequestError::Overloaded),
            CodeClass::Denied => {
                tracing::error!(%topic, code = %why.code, "requests whose answers are fetched later are refused: grant this service WRITE");
                NotTaken::Never(RequestError::KafkaUnavailable)
            }
            _ if why.not_persisted => NotTaken::Never(RequestError::KafkaUnavailable),
            _ => NotTaken::Unknown,
        }
    }
}
