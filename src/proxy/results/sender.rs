//! Sends what has to be in Kafka before its client hears of it: requests that are accepted, and cancels. A client of its own, because the
//! one of other requests reports failures only.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;
use tokio::sync::oneshot;

use crate::error::RequestError;
use crate::kafka::cluster::admin::{TopicAdmin, TopicError};
use crate::kafka::codes::CodeClass;
use crate::kafka::config::Purpose;
use crate::kafka::producer::{Delivered, DeliveryListener, Producer, Undelivered};
use crate::process::periodic;
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
    admin: TopicAdmin,
    /// Topics that exist, and that the client knows.
    open: ArcSwap<HashSet<Arc<str>>>,
}

impl Sender {
    /// Starts it.
    ///
    /// # Errors
    /// librdkafka refuses the settings, or there is no thread left.
    pub fn start(config: ClientConfig, admin: TopicAdmin) -> Result<Self, KafkaError> {
        let producer = Arc::new(Producer::new(config, Acks)?);
        periodic::while_alive("khp-async-heal", HEAL_EVERY, &producer, |producer| producer.heal())
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Sender {
            producer,
            admin,
            open: ArcSwap::default(),
        })
    }

    /// Makes sure that a topic exists; it is created where it is missing and may be.
    ///
    /// # Errors
    /// `KafkaUnavailable`: it does not, or Kafka does not answer.
    pub async fn open(&self, name: &Arc<str>, purpose: Purpose) -> Result<(), RequestError> {
        if self.open.load().contains(name) {
            return Ok(());
        }
        let (producer, admin, topic) = (self.producer.clone(), self.admin.clone(), name.clone());
        let ensure = move || {
            let client = producer.client();
            admin.ensure(client.client(), &topic, purpose, true)
        };
        match tokio::task::spawn_blocking(ensure).await {
            Ok(Ok(_)) => {
                self.open.rcu(|open| {
                    let mut open = HashSet::clone(open);
                    open.insert(name.clone());
                    open
                });
                Ok(())
            }
            Ok(Err(error @ TopicError::Unreachable { .. })) => {
                tracing::debug!(%error, "topic not opened");
                Err(RequestError::KafkaUnavailable)
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "requests whose answers are fetched later are refused");
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
    pub async fn send(&self, topic: &Arc<str>, record: &Record, limit: Duration) -> Result<(), NotTaken> {
        let (ticket, outcome) = oneshot::channel();
        self.producer.send(topic, None, record, Box::new(ticket));
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
            self.open.rcu(|open| {
                let mut open = HashSet::clone(open);
                open.remove(topic);
                open
            });
        }
        match class {
            CodeClass::TooLarge => NotTaken::Never(RequestError::BodyTooLarge),
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
