//! What the router asks of Kafka and must not wait for: each call runs as a task beside the actor and reports with a [`TopicEvent`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix::Recipient;
use rdkafka::producer::Producer as _;

use super::control_trouble::ControlError;
use super::liveness::Suspect;
use super::messages::{TopicChanges, TopicEvent};
use super::search::Partitions;
use super::slot::LostRequests;
use crate::kafka::client::context::is_denied;
use crate::kafka::cluster::admin::TopicError;
use crate::kafka::cluster::describe::{self, Found};
use crate::kafka::cluster::record_limits::RecordLimits;
use crate::kafka::config::Purpose;
use crate::kafka::producer::Producer;
use crate::kafka::reply_stream::{OpenTopic, ReplyStream, TopicChange};
use crate::proxy::routing::topics::{KnownTopic, TopicInUse};

/// How long to wait before a topic is opened again, where Kafka did not answer or the router must have the topic.
const RETRY: Duration = Duration::from_secs(1);
/// How long it may take until all is read that a partition has.
const READ_IN: Duration = Duration::from_secs(2);

/// The clients that the tasks use, and the router that they report to.
pub(super) struct TopicTasks {
    pub(super) producer: Arc<Producer<LostRequests>>,
    pub(super) stream: ReplyStream,
    pub(super) limits: RecordLimits,
    pub(super) router: Recipient<TopicEvent>,
}

impl TopicTasks {
    /// Makes sure that a request topic exists and that the producer knows it.
    pub(super) fn open_request(&self, topic: Arc<KnownTopic>) {
        self.open_request_after(Duration::ZERO, topic);
    }

    /// The same, after `RETRY`.
    pub(super) fn open_request_again(&self, topic: Arc<KnownTopic>) {
        self.open_request_after(RETRY, topic);
    }

    fn open_request_after(&self, wait: Duration, topic: Arc<KnownTopic>) {
        let (producer, stream, limits) = (self.producer.clone(), self.stream.clone(), self.limits.clone());
        let in_use = TopicInUse::new(topic.clone());
        self.spawn(async move {
            let _in_use = in_use;
            pause(wait).await;
            let opened = topic.clone();
            let ensure = move || {
                let client = producer.client();
                let found = stream.ensure(client.client(), &opened.name, Purpose::Requests, opened.may_create)?;
                limits.learn(&opened.name);
                Ok(found)
            };
            let result = blocking(&topic.name, ensure).await;
            TopicEvent::RequestTopicOpened { topic, result }
        });
    }

    /// Reports, after `RETRY`, that a request topic is to be tried again.
    pub(super) fn retry_request(&self, topic: Arc<KnownTopic>) {
        self.spawn(async move {
            pause(RETRY).await;
            TopicEvent::RetryRequestTopic(topic)
        });
    }

    /// Makes sure that the control topic of a request topic exists, and that it may be written to.
    pub(super) fn open_control(&self, request_topic: Arc<KnownTopic>) {
        let (producer, stream) = (self.producer.clone(), self.stream.clone());
        let topic = request_topic.control.clone();
        let in_use = TopicInUse::new(request_topic.clone());
        self.spawn(async move {
            let _in_use = in_use;
            let name = topic.clone();
            let ensure = move || {
                let client = producer.client();
                stream.ensure(client.client(), &name, Purpose::Control, request_topic.may_create)
            };
            let result = match blocking(&topic, ensure).await {
                Ok(Some(found)) if !found.writable => Err(ControlError::NotWritable),
                // Who may write to a topic may describe it.
                Err(TopicError::Denied { .. }) => Err(ControlError::NotWritable),
                Ok(_) => Ok(()),
                Err(error) => Err(error.into()),
            };
            TopicEvent::ControlTopicOpened { topic, result }
        });
    }

    /// Asks whether all was read of the partition on which a silent processor answers.
    pub(super) fn was_read(&self, suspect: Suspect) {
        let stream = self.stream.clone();
        self.spawn(async move {
            let Suspect {
                instance,
                topic,
                partition,
            } = suspect;
            let ask = move || stream.is_at_end(&topic, partition, READ_IN);
            // A panic in it is logged by the panic hook, and counts as not read.
            let all = tokio::task::spawn_blocking(ask).await.unwrap_or(false);
            TopicEvent::WasRead { instance, all }
        });
    }

    /// Reads a reply topic from its end, and makes it first where it is missing and may be created.
    pub(super) fn open_reply(&self, topic: Arc<KnownTopic>) {
        self.open_reply_after(Duration::ZERO, topic);
    }

    /// The same, after `RETRY`.
    pub(super) fn open_reply_again(&self, topic: Arc<KnownTopic>) {
        self.open_reply_after(RETRY, topic);
    }

    fn open_reply_after(&self, wait: Duration, topic: Arc<KnownTopic>) {
        let stream = self.stream.clone();
        let in_use = TopicInUse::new(topic.clone());
        self.spawn(async move {
            let _in_use = in_use;
            pause(wait).await;
            let opened = topic.clone();
            let result = blocking(&topic.name, move || stream.open(&opened.name, opened.may_create)).await;
            TopicEvent::ReplyTopicOpened { topic, result }
        });
    }

    /// Ends the reading of a reply topic.
    pub(super) fn close_reply(&self, name: Arc<str>) {
        let (stream, closed) = (self.stream.clone(), name.clone());
        self.spawn(async move {
            // A panic in it is logged by the panic hook; the topic is then read in vain.
            let _ = tokio::task::spawn_blocking(move || stream.close(&closed)).await;
            TopicEvent::ReplyTopicClosed(name)
        });
    }

    /// Reports, after `RETRY`, that a reply topic is to be tried again.
    pub(super) fn retry_reply(&self, topic: Arc<KnownTopic>) {
        self.spawn(async move {
            pause(RETRY).await;
            TopicEvent::RetryReplyTopic(topic)
        });
    }

    /// Compares the open topics with what Kafka has. A reply topic that is missing now and is among `suspects` is let go.
    pub(super) fn check(
        &self,
        (requests, controls): (Vec<Arc<str>>, Vec<Arc<str>>),
        replies: Vec<OpenTopic>,
        suspects: HashSet<Arc<str>>,
    ) {
        let stream = self.stream.clone();
        let check = move || changes(&stream, (&requests, &controls), &replies, &suspects);
        // A panic in it is logged by the panic hook and counts as nothing found.
        self.spawn(async { TopicEvent::Checked(tokio::task::spawn_blocking(check).await.unwrap_or_default()) });
    }

    /// Begins to read the partitions of a topic that are not read, from what was produced after `since`.
    pub(super) fn begin_search(&self, open: OpenTopic, since: SystemTime) {
        let stream = self.stream.clone();
        self.spawn(async move {
            let topic = open.name.clone();
            let result = blocking(&topic, move || stream.read_others(&open, since)).await;
            TopicEvent::SearchBegan { topic, result }
        });
    }

    /// Ends the reading that `begin_search` began. Reports nothing.
    pub(super) fn end_search(&self, topic: Arc<str>, others: Partitions) {
        let stream = self.stream.clone();
        // A panic in it is logged by the panic hook; the partitions are then read in vain.
        drop(tokio::task::spawn_blocking(move || {
            stream.leave_others(&topic, &others)
        }));
    }

    fn spawn(&self, task: impl Future<Output = TopicEvent> + 'static) {
        let router = self.router.clone();
        actix::spawn(async move { router.do_send(task.await) });
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// Runs `work` off the Arbiter. A panic in it is logged by the panic hook and shows here as an unreachable topic.
async fn blocking<T: Send + 'static>(
    topic: &str,
    work: impl FnOnce() -> Result<T, TopicError> + Send + 'static,
) -> Result<T, TopicError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let source = rdkafka::error::KafkaError::ClientCreation(error.to_string());
        Err(TopicError::Unreachable {
            topic: topic.into(),
            source,
        })
    })
}

/// Asks Kafka about all open topics in one call, then about each reply topic. Blocks.
fn changes(
    stream: &ReplyStream,
    (requests, controls): (&[Arc<str>], &[Arc<str>]),
    replies: &[OpenTopic],
    suspects: &HashSet<Arc<str>>,
) -> TopicChanges {
    let names = replies.iter().map(|topic| &topic.name).chain(requests).chain(controls);
    let found = stream.describe(names.map(|name| &**name)).unwrap_or_else(|error| {
        tracing::debug!(%error, "topics not checked");
        HashMap::new()
    });
    let change = |topic: &OpenTopic| -> Option<TopicChange> {
        let now = known(found.get(&*topic.name))?;
        let change = stream.check(topic, now, suspects.contains(&topic.name));
        change.unwrap_or_else(|error| {
            tracing::debug!(%error, "topic not checked");
            None
        })
    };
    let readable = |topic: &OpenTopic| Some((topic.name.clone(), is_readable(found.get(&*topic.name)?)?));
    let now = |names: &[Arc<str>]| {
        let known = names
            .iter()
            .filter_map(|name| Some((name.clone(), known(found.get(&**name))?)));
        known.collect()
    };
    TopicChanges {
        readable: replies.iter().filter_map(readable).collect(),
        replies: replies.iter().filter_map(change).collect(),
        requests: now(requests),
        controls: now(controls),
    }
}

/// What Kafka told about a topic; `None` where it told nothing.
fn known(topic: Option<&describe::Answer>) -> Option<Option<Found>> {
    match topic? {
        Ok(found) => Some(*found),
        Err(error) => {
            tracing::debug!(%error, "topic not checked");
            None
        }
    }
}

/// Whether Kafka lets us read a topic, where that is known.
fn is_readable(topic: &describe::Answer) -> Option<bool> {
    match topic {
        Ok(found) => Some(found.is_none_or(|found| found.readable)),
        Err(error) => is_denied(error).then_some(false),
    }
}
