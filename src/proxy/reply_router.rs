//! Pairs each reply record with the HTTP request that waits for it.
//!
//! Owns: `pending`, one entry per request in flight, and the state of every topic in use. Sent to by: `proxy::http` (`Forward`,
//! `Forget`), the request producer (`RequestLost`), its own blocking tasks, and the supervisor. Death: every waiting client gets
//! 502 `reply-lost` at once, because the entries' senders are dropped; the supervisor makes a new one.

#[cfg(test)]
mod fault;
mod slot;
mod topics;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, Message, StreamHandler};
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

#[cfg(test)]
pub use self::fault::Fault;
pub use self::slot::{LostRequests, RouterHandle, RouterSlot};
use self::topics::{ReplyTopicOpened, RequestTopicOpened, TopicChanges, TopicStates};
use crate::error::RequestError;
use crate::kafka::health::KafkaHealth;
use crate::kafka::producer::{Producer, Undelivered};
use crate::kafka::reply_stream::{ReplyRecord, ReplyStream};
use crate::proxy::metrics::ProxyMetrics;
use crate::proxy::topics::Topic;
use crate::supervision::progress::Progress;
use crate::wire::{CorrelationId, RawRecord, Record, native};

/// The net under `ForgetOnDrop`: what it finds is counted, and expected to be nothing.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long past its deadline an entry may live before the sweep takes it.
const SWEEP_GRACE: Duration = Duration::from_secs(2);
/// How often open reply topics are looked after.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// What a waiting request gets: the reply record, or why there is none.
pub type ReplyResult = Result<RawRecord, RequestError>;

/// Registers a request and produces its record. Sent by `proxy::http`. Never blocks: librdkafka queues the record.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Forward {
    pub id: CorrelationId,
    pub request_topic: Arc<Topic>,
    pub reply_topic: Arc<Topic>,
    /// Encoded, but for the reply partition, which the router knows.
    pub record: Record,
    pub deadline: Instant,
    pub reply_tx: oneshot::Sender<ReplyResult>,
}

/// Nobody waits for this request any more. Sent by `proxy::http` when the client left or the deadline passed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Forget(pub CorrelationId);

/// Kafka did not take a request's record. Sent by the request producer's polling thread.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RequestLost {
    /// `CorrelationId::low64`.
    pub key: u64,
    pub why: Undelivered,
}

/// Ends every waiting request with `reply-lost`; returns how many there were. Sent at shutdown, when none should be left.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct Drain;

/// What a router is made of; everything but its state belongs to the process.
pub struct RouterParts {
    pub generation: u64,
    pub producer: Arc<Producer<LostRequests>>,
    pub stream: ReplyStream,
    /// The configured ones, created at start.
    pub request_topics: Vec<Arc<Topic>>,
    /// Reply topics to have open before this router is published.
    pub warmup: Vec<Arc<Topic>>,
    pub slot: Arc<RouterSlot>,
    pub metrics: ProxyMetrics,
    pub kafka: KafkaHealth,
    pub progress: Progress,
}

/// The actor.
pub struct ReplyRouter {
    /// By `CorrelationId::low64`; the whole id is compared on a match.
    pending: HashMap<u64, Waiting>,
    topics: TopicStates,
    /// Requests whose topics are still opening; bounded by permits.
    parked: Vec<Forward>,
    /// Every warm-up topic is read. Shown by readiness.
    positioned: Arc<AtomicBool>,
    published: bool,
    replies: Option<mpsc::Receiver<Vec<ReplyRecord>>>,
    parts: RouterParts,
}

/// One request in flight.
struct Waiting {
    id: CorrelationId,
    request_topic: Arc<Topic>,
    reply_topic: Arc<Topic>,
    deadline: Instant,
    reply_tx: oneshot::Sender<ReplyResult>,
}

impl ReplyRouter {
    pub fn new(parts: RouterParts, replies: mpsc::Receiver<Vec<ReplyRecord>>) -> Self {
        parts.metrics.router_entries.set(0);
        ReplyRouter {
            pending: HashMap::new(),
            topics: TopicStates::default(),
            parked: Vec::new(),
            positioned: Arc::default(),
            published: false,
            replies: Some(replies),
            parts,
        }
    }

    /// Registers, then produces, in one go: no reply can overtake its registration.
    fn produce(&mut self, forward: Forward, reply_partition: Option<i32>) {
        let Forward {
            id,
            request_topic,
            reply_topic,
            mut record,
            deadline,
            reply_tx,
        } = forward;
        if let Some(partition) = reply_partition {
            native::set_reply_partition(&mut record, partition);
        }
        let key = id.low64();
        if self.pending.contains_key(&key) {
            // 62 random bits met twice among those in flight: refuse rather than mix up two answers.
            return answer(reply_tx, Err(RequestError::Overloaded));
        }
        let name = request_topic.name.clone();
        self.pending.insert(
            key,
            Waiting {
                id,
                request_topic,
                reply_topic,
                deadline,
                reply_tx,
            },
        );
        if let Err((code, _)) = self.parts.producer.send(&name, None, &record, key as usize) {
            self.not_taken(
                key,
                Undelivered {
                    code,
                    not_persisted: true,
                },
            );
        }
        self.parts.metrics.router_entries.set(self.pending.len() as i64);
    }

    /// Kafka did not take a request's record.
    fn not_taken(&mut self, key: u64, why: Undelivered) {
        let Some(waiting) = self.pending.remove(&key) else {
            return;
        };
        let topic = &waiting.request_topic.name;
        tracing::warn!(%topic, code = %why.code, not_persisted = why.not_persisted, "Kafka did not take a request");
        if matches!(
            why.code,
            RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
        ) {
            self.topics.request_topic_is_gone(topic);
        }
        answer(
            waiting.reply_tx,
            Err(if why.not_persisted {
                refusal(why.code)
            } else {
                RequestError::ReplyLost
            }),
        );
    }

    /// Sends a request on its way, or parks it while a topic opens, or refuses it.
    fn route(&mut self, forward: Forward, ctx: &mut Context<Self>) {
        if forward.reply_tx.is_closed() {
            return;
        }
        match self
            .topics
            .ready(&forward.request_topic, &forward.reply_topic, &self.parts, ctx)
        {
            topics::Ready::Yes(reply_partition) => self.produce(forward, reply_partition),
            topics::Ready::NotYet => self.parked.push(forward),
            topics::Ready::No => answer(forward.reply_tx, Err(RequestError::KafkaUnavailable)),
        }
    }

    /// A topic opened or failed: what waited for it goes on.
    fn unpark(&mut self, ctx: &mut Context<Self>) {
        for forward in std::mem::take(&mut self.parked) {
            self.route(forward, ctx);
        }
        self.publish_once_positioned(ctx);
    }

    /// Readiness follows the warm-up topics; the router itself is published once, the first time all of them are read.
    fn publish_once_positioned(&mut self, ctx: &mut Context<Self>) {
        self.parts
            .metrics
            .active_consumers
            .set(self.topics.open_replies() as i64);
        let positioned = self.parts.warmup.iter().all(|topic| self.topics.is_open(&topic.name));
        self.positioned.store(positioned, Ordering::Release);
        if self.published || !positioned {
            return;
        }
        self.published = self.parts.slot.publish(RouterHandle {
            addr: ctx.address(),
            generation: self.parts.generation,
            positioned: self.positioned.clone(),
        });
        if self.published {
            tracing::info!(generation = self.parts.generation, "reply router positioned");
        }
    }

    fn end(&mut self, key: u64, result: ReplyResult) -> bool {
        let Some(waiting) = self.pending.remove(&key) else {
            return false;
        };
        answer(waiting.reply_tx, result);
        true
    }

    /// Ends what waits for a reply on a topic that is no longer what it was.
    fn lose_replies_of(&mut self, topic: &str) {
        let lost: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, waiting)| &*waiting.reply_topic.name == topic)
            .map(|(key, _)| *key)
            .collect();
        let count = lost
            .iter()
            .filter(|key| self.end(**key, Err(RequestError::ReplyLost)))
            .count();
        if count > 0 {
            tracing::warn!(topic, count, "requests in flight lost their replies");
        }
    }

    fn sweep(&mut self) {
        self.parts.progress.touch();
        let now = Instant::now();
        let before = self.pending.len();
        self.pending
            .retain(|_, waiting| now < waiting.deadline + SWEEP_GRACE && !waiting.reply_tx.is_closed());
        self.parts.metrics.swept.inc_by((before - self.pending.len()) as u64);
        // Not sent, so the client may try again: it hears that while it still waits, not its deadline's 504.
        let kafka_is_down = self.parts.kafka.is_down();
        let hopeless = |forward: &mut Forward| kafka_is_down || now + SWEEP_EVERY >= forward.deadline;
        for forward in self.parked.extract_if(.., hopeless) {
            answer(forward.reply_tx, Err(RequestError::KafkaUnavailable));
        }
        self.parked.retain(|forward| !forward.reply_tx.is_closed());
        self.parts.metrics.router_entries.set(self.pending.len() as i64);
        self.parts
            .metrics
            .producer_queue
            .set(self.parts.producer.queued() as i64);
    }
}

impl Actor for ReplyRouter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(replies) = self.replies.take() {
            ctx.add_stream(ReceiverStream::new(replies));
        }
        ctx.run_interval(SWEEP_EVERY, |router, _| router.sweep());
        ctx.run_interval(CHECK_EVERY, |router, ctx| router.topics.look_after(&router.parts, ctx));
        self.topics.warm_up(&self.parts, ctx);
        self.publish_once_positioned(ctx);
    }
}

impl Handler<Forward> for ReplyRouter {
    type Result = ();
    fn handle(&mut self, forward: Forward, ctx: &mut Self::Context) {
        self.parts.progress.touch();
        self.route(forward, ctx);
    }
}

impl Handler<Forget> for ReplyRouter {
    type Result = ();
    fn handle(&mut self, Forget(id): Forget, _: &mut Self::Context) {
        if self.pending.remove(&id.low64()).is_none() {
            self.parked.retain(|forward| forward.id != id);
        }
        self.parts.metrics.router_entries.set(self.pending.len() as i64);
    }
}

impl StreamHandler<Vec<ReplyRecord>> for ReplyRouter {
    fn handle(&mut self, batch: Vec<ReplyRecord>, _: &mut Self::Context) {
        self.parts.progress.touch();
        for ReplyRecord { id, record } in batch {
            let key = id.low64();
            let ours = self.pending.get(&key).is_some_and(|waiting| waiting.id == id);
            if !(ours && self.end(key, Ok(record))) {
                self.parts.metrics.late_replies.inc();
            }
        }
        self.parts.metrics.router_entries.set(self.pending.len() as i64);
    }
    // finished(): the default stops the actor, which is right: no replies can come any more.
}

impl Handler<RequestLost> for ReplyRouter {
    type Result = ();
    fn handle(&mut self, lost: RequestLost, _: &mut Self::Context) {
        self.not_taken(lost.key, lost.why);
        self.parts.metrics.router_entries.set(self.pending.len() as i64);
    }
}

impl Handler<RequestTopicOpened> for ReplyRouter {
    type Result = ();
    fn handle(&mut self, opened: RequestTopicOpened, ctx: &mut Self::Context) {
        self.topics.request_opened(opened, ctx);
        self.unpark(ctx);
    }
}

impl Handler<ReplyTopicOpened> for ReplyRouter {
    type Result = ();
    fn handle(&mut self, opened: ReplyTopicOpened, ctx: &mut Self::Context) {
        self.topics.reply_opened(opened, &self.parts, ctx);
        self.unpark(ctx);
    }
}

impl Handler<TopicChanges> for ReplyRouter {
    type Result = ();
    fn handle(&mut self, changes: TopicChanges, ctx: &mut Self::Context) {
        for lost in self.topics.changed(changes, &self.parts, ctx) {
            self.lose_replies_of(&lost);
        }
        self.publish_once_positioned(ctx);
    }
}

impl Handler<Drain> for ReplyRouter {
    type Result = usize;
    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> usize {
        let left = self.pending.len() + self.parked.len();
        self.pending
            .drain()
            .for_each(|(_, waiting)| answer(waiting.reply_tx, Err(RequestError::ReplyLost)));
        self.parked
            .drain(..)
            .for_each(|forward| answer(forward.reply_tx, Err(RequestError::Draining)));
        self.parts.metrics.router_entries.set(0);
        left
    }
}

/// Err of the send: the client left meanwhile.
fn answer(reply_tx: oneshot::Sender<ReplyResult>, result: ReplyResult) {
    let _ = reply_tx.send(result);
}

/// What a client gets for a record that certainly was not sent.
fn refusal(code: RDKafkaErrorCode) -> RequestError {
    use RDKafkaErrorCode as Code;
    match code {
        Code::QueueFull => RequestError::Overloaded,
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => RequestError::BodyTooLarge,
        _ => RequestError::KafkaUnavailable,
    }
}
