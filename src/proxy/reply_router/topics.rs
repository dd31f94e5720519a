//! The router's view of topics: absent → opening → open, or failed for a while. Part of the router's state.
//!
//! A request topic is open once it exists and the producer knows it; a reply topic once it is read from a numeric position.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, Message};

use rdkafka::producer::Producer as _;

use super::search::Search;
use super::{ReplyRouter, RouterParts};
use crate::kafka::cluster::admin::TopicError;
use crate::kafka::cluster::describe::TopicId;
use crate::kafka::reply_stream::OpenTopic;
use crate::proxy::admission::pace::Pace;
use crate::proxy::routing::topics::Topic;

/// How long a failure is remembered before the next request tries again.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(5);
/// Wait between tries to open a topic while Kafka does not answer, or one that the router must have.
const RETRY: Duration = Duration::from_secs(1);

/// A request topic's opening ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RequestTopicOpened {
    topic: Arc<Topic>,
    result: Result<Option<TopicId>, TopicError>,
}

/// A reply topic's opening ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReplyTopicOpened {
    topic: Arc<Topic>,
    result: Result<OpenTopic, TopicError>,
}

/// A reply topic that is read.
pub(super) struct Reading {
    pub(super) topic: OpenTopic,
    pub(super) search: Search,
}

impl From<OpenTopic> for Reading {
    fn from(topic: OpenTopic) -> Self {
        Reading {
            topic,
            search: Search::default(),
        }
    }
}

/// A request topic that requests are produced to.
pub(super) struct Serving {
    topic: Arc<Topic>,
    /// As far as it is known.
    pub(super) id: Option<TopicId>,
    /// One for each of its queues.
    paces: Vec<Pace>,
}

/// Absent topics have no entry.
pub(super) enum State<T> {
    Opening,
    Open(T),
    Failed(Instant),
}

impl<T> State<T> {
    pub(super) fn open(&self) -> Option<&T> {
        match self {
            State::Open(open) => Some(open),
            State::Opening | State::Failed(_) => None,
        }
    }
}

/// May a request go out?
pub enum Ready {
    /// Yes, naming this reply partition.
    Yes(Option<i32>),
    NotYet,
    No,
}

/// Every topic in use.
#[derive(Default)]
pub struct TopicStates {
    pub(super) requests: HashMap<Arc<str>, State<Serving>>,
    pub(super) replies: HashMap<Arc<str>, State<Reading>>,
    /// Missing at the last look; missing at two, a topic is gone.
    pub(super) suspects: HashSet<Arc<str>>,
    /// Open reply topics that Kafka does not let us read, as of the last look.
    pub(super) denied: HashSet<Arc<str>>,
    /// What the log says of topics that could not be opened: once, however often that is tried.
    told: HashMap<Arc<str>, String>,
    /// A look is under way; the next one waits for it.
    pub(super) looking: bool,
}

impl TopicStates {
    /// Whether both topics are open; begins to open what is not.
    pub(super) fn ready(
        &mut self,
        request: &Arc<Topic>,
        reply: &Arc<Topic>,
        parts: &RouterParts,
        ctx: &mut Context<ReplyRouter>,
    ) -> Ready {
        forget_old_failure(&mut self.requests, &request.name);
        forget_old_failure(&mut self.replies, &reply.name);
        if !self.requests.contains_key(&request.name) {
            self.open_request(request, parts, ctx);
        }
        if !self.replies.contains_key(&reply.name) {
            self.open_reply(reply, parts, ctx);
        }
        match (self.requests.get(&request.name), self.replies.get(&reply.name)) {
            _ if self.denied.contains(&reply.name) => Ready::No,
            (Some(State::Open(_)), Some(State::Open(reading))) => Ready::Yes(reading.topic.named_partition),
            (Some(State::Failed(_)), _) | (_, Some(State::Failed(_))) => Ready::No,
            _ => Ready::NotYet,
        }
    }

    /// Opens the configured topics: those of replies before the router is published.
    pub(super) fn warm_up(&mut self, parts: &RouterParts, ctx: &mut Context<ReplyRouter>) {
        for topic in &parts.request_topics {
            self.open_request(topic, parts, ctx);
        }
        for topic in &parts.warmup {
            self.open_reply(topic, parts, ctx);
        }
    }

    fn open_request(&mut self, topic: &Arc<Topic>, parts: &RouterParts, ctx: &mut Context<ReplyRouter>) {
        self.requests.insert(topic.name.clone(), State::Opening);
        let (producer, stream, limits, topic, router) = (
            parts.producer.clone(),
            parts.stream.clone(),
            parts.limits.clone(),
            topic.clone(),
            ctx.address(),
        );
        actix::spawn(async move {
            let opened = topic.clone();
            let ensure = move || {
                let id = stream.ensure(producer.client().client(), &opened.name, opened.may_create)?;
                limits.learn(&opened.name);
                Ok(id)
            };
            let result = blocking(&topic.name, ensure).await;
            router.do_send(RequestTopicOpened { topic, result });
        });
    }

    pub(super) fn open_reply(&mut self, topic: &Arc<Topic>, parts: &RouterParts, ctx: &mut Context<ReplyRouter>) {
        self.replies.insert(topic.name.clone(), State::Opening);
        let (stream, topic, router) = (parts.stream.clone(), topic.clone(), ctx.address());
        actix::spawn(async move {
            let opened = topic.clone();
            let result = blocking(&topic.name, move || stream.open(&opened.name, opened.may_create)).await;
            router.do_send(ReplyTopicOpened { topic, result });
        });
    }

    pub(super) fn request_opened(
        &mut self,
        opened: RequestTopicOpened,
        parts: &RouterParts,
        ctx: &mut Context<ReplyRouter>,
    ) {
        let RequestTopicOpened { topic, result } = opened;
        match result {
            Ok(id) => {
                self.told.remove(&topic.name);
                let name = topic.name.clone();
                let paces = Vec::new();
                self.requests.insert(name, State::Open(Serving { topic, id, paces }));
            }
            Err(error) if error.passes() => {
                self.log(&topic, &error);
                ctx.run_later(RETRY, move |router, ctx| {
                    router.topics.open_request(&topic, &router.parts, ctx)
                });
            }
            Err(error) => {
                self.log(&topic, &error);
                self.requests.insert(topic.name.clone(), State::Failed(Instant::now()));
                // A configured topic is opened as soon as it can be; requests do not wait for that.
                if parts
                    .request_topics
                    .iter()
                    .any(|configured| configured.name == topic.name)
                {
                    ctx.run_later(RETRY, move |router, ctx| {
                        router.topics.reopen_request(&topic, &router.parts, ctx)
                    });
                }
            }
        }
    }

    pub(super) fn reply_opened(
        &mut self,
        opened: ReplyTopicOpened,
        parts: &RouterParts,
        ctx: &mut Context<ReplyRouter>,
    ) {
        let ReplyTopicOpened { topic, result } = opened;
        match result {
            Ok(open) => {
                tracing::info!(topic = %topic.name, partitions = ?open.partitions, "reading replies");
                self.told.remove(&topic.name);
                self.replies.insert(topic.name.clone(), State::Open(open.into()));
            }
            Err(error) if error.passes() => {
                self.log(&topic, &error);
                ctx.run_later(RETRY, move |router, ctx| {
                    router.topics.open_reply(&topic, &router.parts, ctx)
                });
            }
            Err(error) => {
                self.log(&topic, &error);
                self.replies.insert(topic.name.clone(), State::Failed(Instant::now()));
                // The router must have it; requests do not wait for that.
                if parts.warmup.iter().any(|warm| warm.name == topic.name) {
                    ctx.run_later(RETRY, move |router, ctx| {
                        router.topics.reopen_reply(&topic, &router.parts, ctx)
                    });
                }
            }
        }
    }

    /// Opens it again, unless a request has done so meanwhile.
    fn reopen_request(&mut self, topic: &Arc<Topic>, parts: &RouterParts, ctx: &mut Context<ReplyRouter>) {
        if let None | Some(State::Failed(_)) = self.requests.get(&topic.name) {
            self.open_request(topic, parts, ctx);
        }
    }

    /// Opens it again, unless a request has done so meanwhile.
    fn reopen_reply(&mut self, topic: &Arc<Topic>, parts: &RouterParts, ctx: &mut Context<ReplyRouter>) {
        if let None | Some(State::Failed(_)) = self.replies.get(&topic.name) {
            self.open_reply(topic, parts, ctx);
        }
    }

    /// What Kafka's silence is about is said by `cluster::health`; the rest needs an operator.
    fn log(&mut self, topic: &Topic, error: &TopicError) {
        let text = error.to_string();
        match error {
            TopicError::Unreachable { source, .. } => {
                tracing::debug!(%error, cause = %source, "topic not opened; trying again");
            }
            _ if self.told.get(&topic.name) == Some(&text) => tracing::debug!(%error, "topic not opened"),
            TopicError::NotUsableYet { .. } => tracing::info!(%error, "topic not opened; trying again"),
            // Mostly a name that a client made up.
            TopicError::Missing { .. } => tracing::warn!(%error, "topic not opened"),
            _ => tracing::error!(%error, "topic not opened"),
        }
        if !matches!(error, TopicError::Unreachable { .. }) {
            self.told.insert(topic.name.clone(), text);
        }
    }

    /// The next request that names it looks for it again, and creates it where that is allowed.
    pub(super) fn request_topic_is_gone(&mut self, name: &str) {
        self.requests.remove(name);
    }

    /// Brings the estimates of each request topic's pace up to date. Called each `pace::TICK`.
    pub(super) fn keep_pace(&mut self) {
        for state in self.requests.values_mut() {
            if let State::Open(Serving { topic, paces, .. }) = state {
                topic.load.tick(paces);
            }
        }
    }

    pub(super) fn is_open(&self, name: &str) -> bool {
        self.replies.get(name).is_some_and(|state| state.open().is_some())
    }

    pub(super) fn open_replies(&self) -> usize {
        self.replies.values().filter_map(State::open).count()
    }
}

fn forget_old_failure<T>(states: &mut HashMap<Arc<str>, State<T>>, name: &str) {
    if matches!(states.get(name), Some(State::Failed(since)) if since.elapsed() > FAILURE_REMEMBERED) {
        states.remove(name);
    }
}

/// Runs `work` off the Arbiter. A panic in it is logged by the panic hook and shows here as an unreachable topic.
pub(super) async fn blocking<T: Send + 'static>(
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
