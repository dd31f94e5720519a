//! The router's view of topics: absent → opening → open, or failed for a while. Part of the router's state.
//!
//! A request topic is open once it exists and the producer knows it; a reply topic once it is read from a numeric position.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, Message};

use super::{ReplyRouter, RouterParts};
use rdkafka::producer::Producer as _;

use crate::kafka::admin::TopicError;
use crate::kafka::reply_stream::{OpenTopic, TopicChange};
use crate::proxy::topics::Topic;

/// How long a failure is remembered before the next request tries again.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(5);
/// Wait between tries to open a topic while Kafka does not answer, or one that the router must have.
const RETRY: Duration = Duration::from_secs(1);

/// A request topic's opening ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RequestTopicOpened {
    topic: Arc<Topic>,
    result: Result<(), TopicError>,
}

/// A reply topic's opening ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReplyTopicOpened {
    topic: Arc<Topic>,
    result: Result<OpenTopic, TopicError>,
}

/// What a look at all open topics found.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TopicChanges {
    replies: Vec<TopicChange>,
    /// Request topics that Kafka does not know.
    requests_missing: Vec<Arc<str>>,
}

/// Absent topics have no entry.
enum State<T> {
    Opening,
    Open(T),
    Failed(Instant),
}

impl<T> State<T> {
    fn open(&self) -> Option<&T> {
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
    requests: HashMap<Arc<str>, State<()>>,
    replies: HashMap<Arc<str>, State<OpenTopic>>,
    /// Missing at the last look; missing at two, a topic is gone.
    suspects: HashSet<Arc<str>>,
    /// A look is under way; the next one waits for it.
    looking: bool,
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
            (Some(State::Open(())), Some(State::Open(open))) => Ready::Yes(open.named_partition),
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
        let (producer, stream, topic, router) = (
            parts.producer.clone(),
            parts.stream.clone(),
            topic.clone(),
            ctx.address(),
        );
        actix::spawn(async move {
            let opened = topic.clone();
            let ensure = move || stream.ensure(producer.client().client(), &opened.name, opened.may_create);
            let result = blocking(&topic.name, ensure).await.map(|_| ());
            router.do_send(RequestTopicOpened { topic, result });
        });
    }

    fn open_reply(&mut self, topic: &Arc<Topic>, parts: &RouterParts, ctx: &mut Context<ReplyRouter>) {
        self.replies.insert(topic.name.clone(), State::Opening);
        let (stream, topic, router) = (parts.stream.clone(), topic.clone(), ctx.address());
        actix::spawn(async move {
            let opened = topic.clone();
            let result = blocking(&topic.name, move || stream.open(&opened.name, opened.may_create)).await;
            router.do_send(ReplyTopicOpened { topic, result });
        });
    }

    pub(super) fn request_opened(&mut self, opened: RequestTopicOpened, ctx: &mut Context<ReplyRouter>) {
        let RequestTopicOpened { topic, result } = opened;
        match result {
            Ok(()) => drop(self.requests.insert(topic.name.clone(), State::Open(()))),
            Err(error @ TopicError::Unreachable { .. }) => {
                log(&error);
                ctx.run_later(RETRY, move |router, ctx| {
                    router.topics.open_request(&topic, &router.parts, ctx)
                });
            }
            Err(error) => {
                log(&error);
                self.requests.insert(topic.name.clone(), State::Failed(Instant::now()));
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
        let needed = parts.warmup.iter().any(|warm| warm.name == topic.name);
        match result {
            Ok(open) => {
                tracing::info!(topic = %topic.name, partitions = ?open.partitions, "reading replies");
                self.replies.insert(topic.name.clone(), State::Open(open));
            }
            Err(error) if needed || matches!(error, TopicError::Unreachable { .. }) => {
                log(&error);
                ctx.run_later(RETRY, move |router, ctx| {
                    router.topics.open_reply(&topic, &router.parts, ctx)
                });
            }
            Err(error) => {
                log(&error);
                self.replies.insert(topic.name.clone(), State::Failed(Instant::now()));
            }
        }
    }

    /// Looks at all open topics, off the Arbiter.
    pub(super) fn look_after(&mut self, parts: &RouterParts, ctx: &mut Context<ReplyRouter>) {
        let replies: Vec<OpenTopic> = self.replies.values().filter_map(State::open).cloned().collect();
        let requests: Vec<Arc<str>> = self
            .requests
            .iter()
            .filter_map(|(name, state)| state.open().map(|()| name.clone()))
            .collect();
        if self.looking || (replies.is_empty() && requests.is_empty()) {
            return;
        }
        self.looking = true;
        let (stream, suspects, router) = (parts.stream.clone(), self.suspects.clone(), ctx.address());
        actix::spawn(async move {
            let look = move || {
                let change = |topic: &OpenTopic| {
                    stream
                        .check(topic, suspects.contains(&topic.name))
                        .unwrap_or_else(not_looked_at)
                };
                let missing = |name: &Arc<str>| {
                    !stream
                        .exists(name)
                        .map(Some)
                        .unwrap_or_else(not_looked_at)
                        .unwrap_or(true)
                };
                TopicChanges {
                    replies: replies.iter().filter_map(change).collect(),
                    requests_missing: requests.into_iter().filter(missing).collect(),
                }
            };
            let nothing = TopicChanges {
                replies: Vec::new(),
                requests_missing: Vec::new(),
            };
            router.do_send(tokio::task::spawn_blocking(look).await.unwrap_or(nothing));
        });
    }

    /// Takes in what a look found; returns the reply topics whose replies under way are lost.
    pub(super) fn changed(
        &mut self,
        changes: TopicChanges,
        parts: &RouterParts,
        ctx: &mut Context<ReplyRouter>,
    ) -> Vec<Arc<str>> {
        self.looking = false;
        let before = std::mem::take(&mut self.suspects);
        let mut lost = Vec::new();
        for change in changes.replies {
            match change {
                TopicChange::Grown(open) => {
                    tracing::info!(topic = %open.name, partitions = open.partitions.len(), "reply topic has more partitions; reading them");
                    self.replies.insert(open.name.clone(), State::Open(open));
                }
                TopicChange::Recreated(open) => {
                    tracing::warn!(topic = %open.name, "reply topic was recreated; reading it from its start");
                    lost.push(open.name.clone());
                    self.replies.insert(open.name.clone(), State::Open(open));
                }
                TopicChange::Missing(name) => drop(self.suspects.insert(name)),
                TopicChange::Deleted(name) => {
                    tracing::warn!(topic = %name, "reply topic was deleted; the next request that names it creates it again where that is allowed");
                    self.replies.remove(&name);
                    if let Some(warm) = parts.warmup.iter().find(|warm| warm.name == name) {
                        self.open_reply(warm, parts, ctx);
                    }
                    lost.push(name);
                }
            }
        }
        for name in changes.requests_missing {
            if before.contains(&name) {
                tracing::warn!(topic = %name, "request topic was deleted; the next request to it creates it again where that is allowed");
                self.request_topic_is_gone(&name);
            } else {
                self.suspects.insert(name);
            }
        }
        lost
    }

    /// The next request that names it looks for it again, and creates it where that is allowed.
    pub(super) fn request_topic_is_gone(&mut self, name: &str) {
        self.requests.remove(name);
    }

    pub(super) fn is_open(&self, name: &str) -> bool {
        self.replies.get(name).is_some_and(|state| state.open().is_some())
    }

    pub(super) fn open_replies(&self) -> usize {
        self.replies.values().filter_map(State::open).count()
    }
}

/// What Kafka's silence is about is said by `kafka::health`; the rest needs an operator.
fn log(error: &TopicError) {
    let cause = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    match error {
        TopicError::Unreachable { .. } => tracing::debug!(%error, cause, "topic not opened; trying again"),
        // Mostly a name that a client made up.
        TopicError::Missing { .. } => tracing::warn!(%error, "topic not opened"),
        _ => tracing::error!(%error, "topic not opened"),
    }
}

/// Kafka did not answer a look: nothing is known.
fn not_looked_at<T>(error: TopicError) -> Option<T> {
    tracing::debug!(%error, "topic not looked at");
    None
}

fn forget_old_failure<T>(states: &mut HashMap<Arc<str>, State<T>>, name: &str) {
    if matches!(states.get(name), Some(State::Failed(since)) if since.elapsed() > FAILURE_REMEMBERED) {
        states.remove(name);
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
