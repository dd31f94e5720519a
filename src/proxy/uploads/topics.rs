//! The topics that large bodies go to, and the client that writes to them. A client of its own: pieces of bodies must not hold up
//! requests on their connections.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;

use crate::error::RequestError;
use crate::kafka::client::properties;
use crate::kafka::cluster::admin::{TopicAdmin, TopicError};
use crate::kafka::cluster::record_limits::{RecordLimits, TopicRole};
use crate::kafka::codes::CodeClass;
use crate::kafka::config::{Kafka, Purpose};
use crate::kafka::producer::{Producer, Undelivered};
use crate::process::periodic;
use crate::proxy::open_topics::OpenTopics;
use crate::proxy::uploads::pieces::Pieces;
use crate::wire::stream::MAX_PIECE;

/// How long a topic counts as open before Kafka is asked again: it may have grown, or be another one.
const OPEN_FOR: Duration = Duration::from_secs(60);
/// A dead client is replaced within this time.
const HEAL_EVERY: Duration = Duration::from_secs(1);
/// Room in a record for the headers and the seal of a piece.
const HEAD_ROOM: usize = 1024;
/// The largest record of a body.
pub const LARGEST_PIECE: usize = MAX_PIECE + HEAD_ROOM;

/// A topic that bodies can be written to.
#[derive(Debug, Clone)]
pub struct OpenTopic {
    pub name: Arc<str>,
    pub partitions: i32,
    /// Bytes of one piece.
    pub piece: usize,
}

/// All of them.
pub struct BodiesTopics {
    pub producer: Arc<Producer<Pieces>>,
    limits: RecordLimits,
    admin: TopicAdmin,
    open: OpenTopics<OpenTopic>,
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
            open: OpenTopics::new(OPEN_FOR),
        })
    }

    /// The topic, once it exists and can be written to as far as is known.
    ///
    /// # Errors
    /// `BodyTooLarge`: it cannot be used until an operator does something. `KafkaUnavailable`: Kafka does not answer.
    pub async fn open(self: &Arc<Self>, name: &Arc<str>, may_create: bool) -> Result<OpenTopic, RequestError> {
        let ensure = || {
            let (all, topic) = (self.clone(), name.clone());
            move || all.ensure(&topic, may_create)
        };
        let unusable = |error: &TopicError| refused(name, &error.to_string());
        self.open.open(name, ensure, unusable).await
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
                let refusal = refused(name, &format!("{error} WRITE"));
                self.open.cannot_be_used(name, refusal);
                refusal
            }
            CodeClass::QueueFull => RequestError::Overloaded,
            class => {
                if class == CodeClass::TooLarge {
                    self.limits.ask_again();
                }
                self.open.forget(name);
                RequestError::KafkaUnavailable
            }
        }
    }

    /// Blocks.
    fn ensure(&self, name: &Arc<str>, may_create: bool) -> Result<OpenTopic, TopicError> {
        let client = self.producer.client();
        let partitions = self.admin.ensure(client.client(), name, Purpose::Bodies, may_create)?;
        self.limits.learn(name);
        Ok(OpenTopic {
            name: name.clone(),
            partitions,
            piece: piece(self.limits.of(name)),
        })
    }
}

/// Bytes of a body in one record of a topic that takes records of so many bytes.
pub fn piece(record: usize) -> usize {
    record.saturating_sub(HEAD_ROOM).clamp(1, MAX_PIECE)
}

/// Logged each time that the topic is tried again and found so. Returns what clients get.
fn refused(name: &Arc<str>, error: &str) -> RequestError {
    tracing::error!(topic = %name, error, "bodies larger than a record are refused: their topic cannot be used");
    RequestError::BodyTooLarge
}
