//! The topics that large bodies go to, and the client that writes to them. A client of its own: pieces of bodies must not hold up
//! requests on their connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use prometheus::IntGauge;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;
use tokio::sync::Semaphore;

use crate::error::RequestError;
use crate::kafka::client::properties;
use crate::kafka::cluster::admin::{TopicAdmin, TopicError};
use crate::kafka::cluster::record_limits::{RecordLimits, TopicRole};
use crate::kafka::codes::CodeClass;
use crate::kafka::config::{Kafka, Purpose};
use crate::kafka::producer::{Producer, Undelivered};
use crate::process::periodic;
use crate::proxy::uploads::pieces::Pieces;
use crate::wire::stream::MAX_PIECE;

/// How long a topic counts as open before Kafka is asked again: it may have grown, or be another one.
const OPEN_FOR: Duration = Duration::from_secs(60);
/// How long a topic that cannot be used is not tried again.
const FAILED_FOR: Duration = Duration::from_secs(5);
/// A dead client is replaced within this time.
const HEAL_EVERY: Duration = Duration::from_secs(1);
/// Room in a record for the headers and the seal of a piece.
const HEAD_ROOM: usize = 1024;
/// Names that are remembered at most. Clients may name topics.
const MOST_NAMES: usize = 1000;

/// A topic that bodies can be written to.
#[derive(Debug, Clone)]
pub struct OpenTopic {
    pub name: Arc<str>,
    pub partitions: i32,
    /// Bytes of one piece.
    pub piece: usize,
}

#[derive(Clone)]
enum State {
    Open(OpenTopic, Instant),
    Failed(RequestError, Instant),
}

impl State {
    /// What it says to whoever asked then, as long as it counts. That Kafka did not answer counts for those who asked before: they waited
    /// meanwhile, and would wait as long again one after the other.
    fn known(&self, asked: Instant) -> Option<Result<OpenTopic, RequestError>> {
        match self {
            State::Open(topic, since) => (since.elapsed() < OPEN_FOR).then(|| Ok(topic.clone())),
            State::Failed(RequestError::KafkaUnavailable, at) => {
                (*at >= asked).then_some(Err(RequestError::KafkaUnavailable))
            }
            State::Failed(error, since) => (since.elapsed() < FAILED_FOR).then_some(Err(*error)),
        }
    }
}

/// All of them.
pub struct BodiesTopics {
    pub producer: Arc<Producer<Pieces>>,
    limits: RecordLimits,
    admin: TopicAdmin,
    known: ArcSwap<HashMap<Arc<str>, State>>,
    /// One topic is opened at a time.
    opening: Semaphore,
}

impl BodiesTopics {
    /// Starts the client. Blocks.
    ///
    /// # Errors
    /// librdkafka refuses the settings, or there is no thread left.
    pub fn start(kafka: &Kafka, admin: TopicAdmin, unacknowledged: IntGauge) -> Result<Self, KafkaError> {
        let no_thread = |error: std::io::Error| KafkaError::ClientCreation(error.to_string());
        let config = properties::body_producer(kafka);
        let producer = Arc::new(Producer::new(config, Pieces { unacknowledged })?);
        let limits = RecordLimits::start(producer.clone(), TopicRole::Requests, []).map_err(no_thread)?;
        periodic::while_alive("khp-bodies-heal", HEAL_EVERY, &producer, |producer| producer.heal())
            .map_err(no_thread)?;
        Ok(BodiesTopics {
            producer,
            limits,
            admin,
            known: ArcSwap::default(),
            opening: Semaphore::new(1),
        })
    }

    /// The topic, once it exists and can be written to as far as is known.
    ///
    /// # Errors
    /// `BodyTooLarge`: it cannot be used until an operator does something. `KafkaUnavailable`: Kafka does not answer.
    pub async fn open(self: &Arc<Self>, name: &Arc<str>, may_create: bool) -> Result<OpenTopic, RequestError> {
        let asked = Instant::now();
        if let Some(known) = self.known(name, asked) {
            return known;
        }
        // Err: never, it is not closed.
        let _one = self.opening.acquire().await;
        if let Some(known) = self.known(name, asked) {
            return known;
        }
        let (all, topic) = (self.clone(), name.clone());
        let opened = tokio::task::spawn_blocking(move || all.ensure(&topic, may_create)).await;
        // It panicked, and the panic hook has logged it.
        let opened = opened.map_err(|_| RequestError::KafkaUnavailable)?;
        match opened {
            Ok(topic) => {
                self.note(name, State::Open(topic.clone(), Instant::now()));
                Ok(topic)
            }
            Err(error) if error.passes() => {
                tracing::debug!(%error, "topic of bodies not opened");
                self.note(name, State::Failed(RequestError::KafkaUnavailable, Instant::now()));
                Err(RequestError::KafkaUnavailable)
            }
            Err(error) => {
                self.cannot_be_used(name, &error.to_string());
                Err(RequestError::BodyTooLarge)
            }
        }
    }

    /// A piece was not taken: what its client gets. What is known of the topic may be wrong now.
    pub fn not_taken(&self, name: &Arc<str>, why: Undelivered) -> RequestError {
        let class = CodeClass::from(why.code);
        tracing::debug!(topic = %name, code = %why.code, "a piece of a body was not taken");
        match class {
            CodeClass::Denied => {
                let error = TopicError::Denied {
                    topic: name.to_string(),
                    code: why.code,
                };
                self.cannot_be_used(name, &format!("{error} WRITE"));
                RequestError::BodyTooLarge
            }
            CodeClass::QueueFull => RequestError::Overloaded,
            class => {
                if class == CodeClass::TooLarge {
                    self.limits.ask_again();
                }
                self.forget(name);
                RequestError::KafkaUnavailable
            }
        }
    }

    fn known(&self, name: &str, asked: Instant) -> Option<Result<OpenTopic, RequestError>> {
        self.known.load().get(name)?.known(asked)
    }

    /// Logged each time that the topic is tried again and found so, which `FAILED_FOR` bounds.
    fn cannot_be_used(&self, name: &Arc<str>, error: &str) {
        tracing::error!(topic = %name, error, "bodies larger than a record are refused: their topic cannot be used");
        self.note(name, State::Failed(RequestError::BodyTooLarge, Instant::now()));
    }

    fn note(&self, name: &Arc<str>, state: State) {
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            if known.len() >= MOST_NAMES {
                known.clear();
            }
            known.insert(name.clone(), state.clone());
            known
        });
    }

    fn forget(&self, name: &str) {
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.remove(name);
            known
        });
    }

    /// Blocks.
    fn ensure(&self, name: &Arc<str>, may_create: bool) -> Result<OpenTopic, TopicError> {
        let client = self.producer.client();
        let partitions = self.admin.ensure(client.client(), name, Purpose::Bodies, may_create)?;
        self.limits.learn(name);
        let record = self.limits.of(name).saturating_sub(HEAD_ROOM);
        Ok(OpenTopic {
            name: name.clone(),
            partitions,
            piece: record.clamp(1, MAX_PIECE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waited_for_a_kafka_that_did_not_answer_does_not_wait_again() {
        let asked = Instant::now();
        let failed = State::Failed(RequestError::KafkaUnavailable, asked + Duration::from_secs(3));
        assert!(matches!(failed.known(asked), Some(Err(RequestError::KafkaUnavailable))));
        assert!(
            failed.known(asked + Duration::from_secs(4)).is_none(),
            "who asks later asks Kafka"
        );
        let refused = State::Failed(RequestError::BodyTooLarge, asked);
        assert!(matches!(
            refused.known(Instant::now()),
            Some(Err(RequestError::BodyTooLarge))
        ));
    }
}
