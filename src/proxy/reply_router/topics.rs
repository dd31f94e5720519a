//! The router's view of topics: absent → opening → open, or failed for a while. Part of the router's state.
//!
//! A request topic is open once it exists and the producer knows it; a reply topic once it is read from a numeric position.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, Message};

use super::{Parts, ReplyRouter};
use rdkafka::producer::Producer as _;

use crate::kafka::admin::TopicError;
use crate::kafka::reply_stream::{OpenTopic, TopicChange};
use crate::proxy::topics::Topic;

/// How long a failure is remembered before the next request tries again.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(5);
/// Wait between tries to open a topic of `warmup_topics`.
const WARMUP_RETRY: Duration = Duration::from_secs(1);

/// A request topic's opening ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RequestTopicOpened {
    name: Arc<str>,
    result: Result<(), TopicError>,
}

/// A reply topic's opening ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReplyTopicOpened {
    topic: Arc<Topic>,
    result: Result<OpenTopic, TopicError>,
}

/// What a look at all open reply topics found.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReplyTopicChanges(Vec<TopicChange>);

/// Absent topics have no entry.
enum State<T> {
    Opening,
    Open(T),
    Failed(Instant),
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
    /// A look is under way; the next one waits for it.
    looking: bool,
}

impl TopicStates {
    /// Whether both topics are open; begins to open what is not.
    pub(super) fn ready(
        &mut self,
        request: &Arc<Topic>,
        reply: &Arc<Topic>,
        parts: &Parts,
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
    pub(super) fn warm_up(&mut self, parts: &Parts, ctx: &mut Context<ReplyRouter>) {
        self.open_request(&parts.request_topic, parts, ctx);
        for topic in &parts.warmup {
            self.open_reply(topic, parts, ctx);
        }
    }

    fn open_request(&mut self, topic: &Arc<Topic>, parts: &Parts, ctx: &mut Context<ReplyRouter>) {
        self.requests.insert(topic.name.clone(), State::Opening);
        let (producer, stream, topic, router) = (
            parts.producer.clone(),
            parts.stream.clone(),
            topic.clone(),
            ctx.address(),
        );
        actix::spawn(async move {
            let name = topic.name.clone();
            let ensure = move || stream.ensure(producer.client().client(), &topic.name, topic.may_create);
            let result = blocking(&name, ensure).await.map(|_| ());
            router.do_send(RequestTopicOpened { name, result });
        });
    }

    fn open_reply(&mut self, topic: &Arc<Topic>, parts: &Parts, ctx: &mut Context<ReplyRouter>) {
        self.replies.insert(topic.name.clone(), State::Opening);
        let (stream, topic, router) = (parts.stream.clone(), topic.clone(), ctx.address());
        actix::spawn(async move {
            let opened = topic.clone();
            let result = blocking(&topic.name, move || stream.open(&opened.name, opened.may_create)).await;
            router.do_send(ReplyTopicOpened { topic, result });
        });
    }

    pub(super) fn request_opened(&mut self, RequestTopicOpened { name, result }: RequestTopicOpened) {
        let state = match result {
            Ok(()) => State::Open(()),
            Err(error) => failed(&error),
        };
        self.requests.insert(name, state);
    }

    pub(super) fn reply_opened(
        &mut self,
        ReplyTopicOpened { topic, result }: ReplyTopicOpened,
        parts: &Parts,
        ctx: &mut Context<ReplyRouter>,
    ) {
        let state = match result {
            Ok(open) => {
                tracing::info!(topic = %topic.name, partitions = ?open.partitions, "reading replies");
                State::Open(open)
            }
            Err(error) => {
                if parts.warmup.iter().any(|warm| warm.name == topic.name) {
                    ctx.run_later(WARMUP_RETRY, move |router, ctx| {
                        router.topics.open_reply(&topic.clone(), &router.parts, ctx)
                    });
                    failed::<OpenTopic>(&error);
                    return;
                }
                failed(&error)
            }
        };
        self.replies.insert(topic.name.clone(), state);
    }

    /// Looks at all open reply topics, off the Arbiter.
    pub(super) fn look_after(&mut self, parts: &Parts, ctx: &mut Context<ReplyRouter>) {
        let open: Vec<OpenTopic> = self
            .replies
            .values()
            .filter_map(|state| {
                if let State::Open(open) = state {
                    Some(open.clone())
                } else {
                    None
                }
            })
            .collect();
        if self.looking || open.is_empty() {
            return;
        }
        self.looking = true;
        let (stream, router) = (parts.stream.clone(), ctx.address());
        actix::spawn(async move {
            let look = move || {
                let look_at = |topic: &OpenTopic| {
                    stream.check(topic).unwrap_or_else(|error| {
                        tracing::debug!(%error, "reply topic not looked at");
                        None
                    })
                };
                open.iter().filter_map(look_at).collect()
            };
            let changes = tokio::task::spawn_blocking(look).await.unwrap_or_default();
            router.do_send(ReplyTopicChanges(changes));
        });
    }

    /// Takes in what a look found; returns the topics whose replies under way are lost.
    pub(super) fn changed(&mut self, ReplyTopicChanges(changes): ReplyTopicChanges) -> Vec<Arc<str>> {
        self.looking = false;
        let mut lost = Vec::new();
        for change in changes {
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
                TopicChange::Deleted(name) => {
                    tracing::warn!(topic = %name, "reply topic was deleted; the next request that names it creates it again where that is allowed");
                    self.replies.remove(&name);
                    lost.push(name);
                }
            }
        }
        lost
    }

    /// The next request that names it looks for it again, and creates it where that is allowed.
    pub(super) fn request_topic_is_gone(&mut self, name: &str) {
        self.requests.remove(name);
    }

    pub(super) fn is_open(&self, name: &str) -> bool {
        matches!(self.replies.get(name), Some(State::Open(_)))
    }

    pub(super) fn open_replies(&self) -> usize {
        self.replies
            .values()
            .filter(|state| matches!(state, State::Open(_)))
            .count()
    }
}

fn failed<T>(error: &TopicError) -> State<T> {
    let cause = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    match error {
        TopicError::Unreachable { .. } => tracing::warn!(%error, cause, "topic not opened"),
        _ => tracing::error!(%error, "topic not opened"),
    }
    State::Failed(Instant::now())
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
