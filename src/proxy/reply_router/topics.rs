//! The topics in use, as the router knows them: absent, then opening, then open, or failed for a while.
//!
//! A request topic is open once it exists and the producer knows it. A reply topic is open once it is read from a numeric position.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::search::Search;
use super::topic_tasks::TopicTasks;
use crate::kafka::cluster::admin::TopicError;
use crate::kafka::cluster::describe::{Found, TopicId};
use crate::kafka::partitioner::partition_of;
use crate::kafka::reply_stream::OpenTopic;
use crate::proxy::admission::pace::Pace;
use crate::proxy::routing::topics::KnownTopic;

/// How long a failure is remembered before the next request tries again.
pub(super) const FAILURE_REMEMBERED: Duration = Duration::from_secs(5);

/// A reply topic that is read.
pub(super) struct OpenReplyTopic {
    pub(super) topic: OpenTopic,
    pub(super) search: Search,
}

impl From<OpenTopic> for OpenReplyTopic {
    fn from(topic: OpenTopic) -> Self {
        OpenReplyTopic {
            topic,
            search: Search::default(),
        }
    }
}

/// A request topic that requests are produced to.
pub(super) struct OpenRequestTopic {
    pub(super) topic: Arc<KnownTopic>,
    /// `None` until Kafka has told it.
    pub(super) id: Option<TopicId>,
    /// How many it had at the last check. `None`: not told.
    pub(super) partitions: Option<i32>,
    /// One for each of the topic's queues, in their order. Brought up to date each `span::TICK`.
    paces: Vec<Pace>,
}

/// The state of a topic that a request has named. A topic that none has named yet, or that is gone, has no entry.
pub(super) enum TopicState<T> {
    Opening,
    Open(T),
    /// Since then.
    Failed(Instant),
    /// Nobody uses it any more; what it was read with is being given back.
    Closing,
}

impl<T> TopicState<T> {
    pub(super) fn open(&self) -> Option<&T> {
        match self {
            TopicState::Open(open) => Some(open),
            TopicState::Opening | TopicState::Failed(_) | TopicState::Closing => None,
        }
    }
}

/// Whether a request may be produced.
pub(super) enum Ready {
    /// Its record names this reply partition; `None`: it names none.
    Yes(Option<i32>),
    NotYet,
    No,
}

/// Every topic in use.
#[derive(Default)]
pub(super) struct TopicStates {
    pub(super) requests: HashMap<Arc<str>, TopicState<OpenRequestTopic>>,
    pub(super) replies: HashMap<Arc<str>, TopicState<OpenReplyTopic>>,
    /// Missing at the last check. A topic that is missing at two checks in a row is gone.
    pub(super) suspects: HashSet<Arc<str>>,
    /// Open reply topics that Kafka did not let us read at the last check.
    pub(super) denied: HashSet<Arc<str>>,
    /// The last failure that was logged of each topic, so that one that goes on is logged once.
    pub(super) logged_failures: HashMap<Arc<str>, String>,
    /// A check is under way; the next one waits for it.
    pub(super) is_checking: bool,
}

impl TopicStates {
    /// Whether both topics are open; begins to open what is not.
    pub(super) fn ready(&mut self, request: &Arc<KnownTopic>, reply: &Arc<KnownTopic>, tasks: &TopicTasks) -> Ready {
        forget_old_failure(&mut self.requests, &request.name);
        forget_old_failure(&mut self.replies, &reply.name);
        if !self.requests.contains_key(&request.name) {
            self.open_request(request, tasks);
        }
        if !self.replies.contains_key(&reply.name) {
            self.open_reply(reply, tasks);
        }
        match (self.requests.get(&request.name), self.replies.get(&reply.name)) {
            _ if self.denied.contains(&reply.name) => Ready::No,
            (Some(TopicState::Open(_)), Some(TopicState::Open(open))) => Ready::Yes(open.topic.named_partition),
            (Some(TopicState::Failed(_)), _) | (_, Some(TopicState::Failed(_))) => Ready::No,
            _ => Ready::NotYet,
        }
    }

    /// Kafka refuses to let this proxy read a reply topic, as the last check found.
    pub(super) fn is_denied(&self, name: &str) -> bool {
        self.denied.contains(name)
    }

    /// The partition that a key belongs to. `None`: Kafka has not told how many there are, and the client's partitioner chooses the same.
    pub(super) fn partition_of(&self, name: &str, key: &[u8]) -> Option<i32> {
        let partitions = self.requests.get(name)?.open()?.partitions?;
        partition_of(key, partitions)
    }

    pub(super) fn open_request(&mut self, topic: &Arc<KnownTopic>, tasks: &TopicTasks) {
        self.requests.insert(topic.name.clone(), TopicState::Opening);
        tasks.open_request(topic.clone());
    }

    pub(super) fn open_reply(&mut self, topic: &Arc<KnownTopic>, tasks: &TopicTasks) {
        self.replies.insert(topic.name.clone(), TopicState::Opening);
        tasks.open_reply(topic.clone());
    }

    /// Takes in how the opening of a request topic ended. One of `configured` that failed is tried again: it is opened as soon as it can be.
    pub(super) fn request_opened(
        &mut self,
        topic: Arc<KnownTopic>,
        result: Result<Option<Found>, TopicError>,
        configured: &[Arc<KnownTopic>],
        tasks: &TopicTasks,
    ) {
        let name = topic.name.clone();
        let found = match result {
            Ok(found) => found,
            Err(error) => {
                self.log(&name, &error);
                if error.passes() {
                    return tasks.open_request_again(topic);
                }
                // Requests to it are refused until then.
                self.requests.insert(name, TopicState::Failed(Instant::now()));
                if configured.iter().any(|known| known.name == topic.name) {
                    tasks.retry_request(topic);
                }
                return;
            }
        };
        self.logged_failures.remove(&name);
        let paces = Vec::new();
        let open = OpenRequestTopic {
            topic,
            id: found.as_ref().and_then(|found| found.id),
            partitions: found.map(|found| found.partitions),
            paces,
        };
        self.requests.insert(name, TopicState::Open(open));
    }

    /// Takes in how the opening of a reply topic ended. A topic of `warmup` that failed is tried again: the router must have it.
    pub(super) fn reply_opened(
        &mut self,
        topic: Arc<KnownTopic>,
        result: Result<OpenTopic, TopicError>,
        warmup: &[Arc<KnownTopic>],
        tasks: &TopicTasks,
    ) {
        let name = topic.name.clone();
        let open = match result {
            Ok(open) => open,
            Err(error) => {
                self.log(&name, &error);
                if error.passes() {
                    return tasks.open_reply_again(topic);
                }
                // Requests that name it are refused until then.
                self.replies.insert(name, TopicState::Failed(Instant::now()));
                if warmup.iter().any(|warm| warm.name == topic.name) {
                    tasks.retry_reply(topic);
                }
                return;
            }
        };
        tracing::info!(topic = %name, partitions = ?open.partitions, "reading replies");
        self.logged_failures.remove(&name);
        self.replies.insert(name, TopicState::Open(open.into()));
    }

    /// Opens a reply topic again, unless a request has begun that meanwhile.
    pub(super) fn retry_reply(&mut self, topic: &Arc<KnownTopic>, tasks: &TopicTasks) {
        if let None | Some(TopicState::Failed(_)) = self.replies.get(&topic.name) {
            self.open_reply(topic, tasks);
        }
    }

    /// Opens a request topic again, unless a request has begun that meanwhile.
    pub(super) fn retry_request(&mut self, topic: &Arc<KnownTopic>, tasks: &TopicTasks) {
        if let None | Some(TopicState::Failed(_)) = self.requests.get(&topic.name) {
            self.open_request(topic, tasks);
        }
    }

    /// Logs a failure to open a topic. That Kafka does not answer is logged by `cluster::health`; the rest needs an operator.
    fn log(&mut self, topic: &Arc<str>, error: &TopicError) {
        if let TopicError::Unreachable { source, .. } = error {
            tracing::debug!(%error, cause = %source, "topic not opened; trying again");
            return;
        }
        let text = error.to_string();
        match error {
            _ if self.logged_failures.get(topic) == Some(&text) => tracing::debug!(%error, "topic not opened"),
            TopicError::NotUsableYet { .. } => tracing::info!(%error, "topic not opened; trying again"),
            // Mostly a name that a client made up.
            TopicError::Missing { .. } => tracing::warn!(%error, "topic not opened"),
            _ => tracing::error!(%error, "topic not opened"),
        }
        self.logged_failures.insert(topic.clone(), text);
    }

    /// Forgets a request topic. The next request that names it opens it again, and creates it where that is allowed.
    pub(super) fn request_topic_is_gone(&mut self, name: &str) {
        self.requests.remove(name);
    }

    /// Brings the estimates of each request topic's pace up to date. Called each `span::TICK`.
    pub(super) fn keep_pace(&mut self) {
        for state in self.requests.values_mut() {
            if let TopicState::Open(OpenRequestTopic { topic, paces, .. }) = state {
                topic.load.tick(paces);
            }
        }
    }

    /// Forgets what happened since the last tick.
    pub(super) fn skip_pace(&mut self) {
        for open in self.requests.values().filter_map(TopicState::open) {
            open.topic.load.skip_tick();
        }
    }

    pub(super) fn is_open(&self, name: &str) -> bool {
        self.replies.get(name).is_some_and(|state| state.open().is_some())
    }

    pub(super) fn open_replies(&self) -> usize {
        self.replies.values().filter_map(TopicState::open).count()
    }
}

fn forget_old_failure<T>(states: &mut HashMap<Arc<str>, TopicState<T>>, name: &str) {
    if matches!(states.get(name), Some(TopicState::Failed(since)) if since.elapsed() > FAILURE_REMEMBERED) {
        states.remove(name);
    }
}
