//! The messages of the router: those of requests, and those with which its own tasks report.

use std::sync::Arc;
use std::time::Instant;

use actix::Message;
use tokio::sync::oneshot;

use super::control_trouble::ControlError;
use super::search::Partitions;
use crate::error::RequestError;
use crate::kafka::cluster::admin::TopicError;
use crate::kafka::cluster::describe::Found;
use crate::kafka::codes::CodeClass;
use crate::kafka::producer::Undelivered;
use crate::kafka::reply_stream::{OpenTopic, TopicChange};
use crate::proxy::admission::in_flight::Queue;
use crate::proxy::routing::topics::KnownTopic;
use crate::proxy::stream::Streamed;
use crate::proxy::stream::places::Offer;
use crate::wire::beside::InstanceId;
use crate::wire::{CorrelationId, RawRecord, Record};

/// What a waiting request gets: its answer, or why there is none.
pub type ReplyResult = Result<Reply, RequestError>;

/// An answer, and when the record of its request was given to the producer.
pub struct Reply {
    pub sent: Instant,
    pub answer: Answer,
}

/// An answer.
pub enum Answer {
    /// The reply record.
    Whole(RawRecord),
    /// The first piece has come.
    Stream(Box<Streamed>),
}

/// Registers a request and produces its record. Sent by `proxy::handler`. Never blocks: librdkafka queues the record.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Forward {
    pub id: CorrelationId,
    pub request_topic: Arc<KnownTopic>,
    pub reply_topic: Arc<KnownTopic>,
    /// Encoded, except for the reply partition and the offer: only the router knows those.
    pub record: Record,
    /// It goes where its key belongs, whatever it is sealed with.
    pub is_keyed: bool,
    pub deadline: Instant,
    /// Counts whether the request was answered.
    pub queue: Arc<Queue>,
    /// It may be answered in pieces, if its control topic can be used.
    pub offer: Option<Offer>,
    /// Takes the reply. Closed once the client has left.
    pub reply_tx: oneshot::Sender<ReplyResult>,
}

impl Forward {
    /// Ends the request before its record was produced. A failed send means that the client has left.
    pub(super) fn refuse(self, error: RequestError) {
        let _ = self.reply_tx.send(Err(error));
    }
}

/// Nobody waits for the answer, or reads it, any more. Sent by `proxy::handler` when the client left or the deadline passed, and by the body
/// of an answer that comes in pieces.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Forget(pub CorrelationId);

/// The client has taken some of the answer that comes in pieces. Sent by the answer's body.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Progress(pub CorrelationId);

/// Kafka did not take a request's record. Sent by the request producer.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RequestLost {
    /// `CorrelationId::low64`.
    pub key: u64,
    pub why: Undelivered,
}

/// Ends every request in flight with `reply-lost` and every parked one with `draining`; returns how many there were. Sent at shutdown, when none should be left.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct Drain;

/// What a task of the router found out about topics. Sent by `topic_tasks`, once for each task.
#[derive(Message)]
#[rtype(result = "()")]
pub enum TopicEvent {
    RequestTopicOpened {
        topic: Arc<KnownTopic>,
        result: Result<Option<Found>, TopicError>,
    },
    ReplyTopicOpened {
        topic: Arc<KnownTopic>,
        result: Result<OpenTopic, TopicError>,
    },
    /// A reply topic that is known no more is read no more.
    ReplyTopicClosed(Arc<str>),
    /// A request topic of the configuration failed to open a while ago.
    RetryRequestTopic(Arc<KnownTopic>),
    /// A reply topic that the router cannot do without failed to open a while ago.
    RetryReplyTopic(Arc<KnownTopic>),
    /// A control topic was opened, or cannot be used.
    ControlTopicOpened {
        topic: Arc<str>,
        result: Result<(), ControlError>,
    },
    /// Whether all was read of the partition on which a silent processor answers.
    WasRead { instance: InstanceId, all: bool },
    /// All open topics were compared with what Kafka has.
    Checked(TopicChanges),
    /// A search of a reply topic's other partitions began, or could not.
    SearchBegan {
        topic: Arc<str>,
        result: Result<Partitions, TopicError>,
    },
}

/// What the check of all open topics found.
#[derive(Default)]
pub struct TopicChanges {
    pub replies: Vec<TopicChange>,
    /// Whether Kafka lets us read a reply topic. Topics of which that is not known are left out.
    pub readable: Vec<(Arc<str>, bool)>,
    /// `None`: Kafka does not know the topic. Topics that Kafka told nothing about are left out.
    pub requests: Vec<(Arc<str>, Option<Found>)>,
    /// As `requests`.
    pub controls: Vec<(Arc<str>, Option<Found>)>,
}

/// What a client gets for a record that certainly was not sent.
pub(super) fn refusal(class: CodeClass) -> RequestError {
    match class {
        CodeClass::QueueFull => RequestError::Overloaded,
        CodeClass::TooLarge => RequestError::BodyTooLarge,
        _ => RequestError::KafkaUnavailable,
    }
}
