//! Pairs each reply record with the HTTP request that waits for it.
//!
//! Owns: `pending`, one entry per request in flight, and the state of every topic in use. Sent to by: `proxy::handler` (`Forward`,
//! `Forget`), the request producer (`RequestLost`), its own blocking tasks, and the supervisor. Death: every waiting client gets
//! 502 `reply-lost` at once, because the entries' senders are dropped; the supervisor makes a new one.

#[cfg(test)]
mod capacity_tests;
#[cfg(test)]
mod fault;
mod pending;
mod search;
mod slot;
mod topic_check;
mod topics;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, Message, StreamHandler};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

#[cfg(test)]
pub use self::fault::Fault;
pub use self::pending::{Pending, Waiting};
use self::search::OthersRead;
pub use self::slot::{LostRequests, RouterHandle, RouterSlot};
use self::topic_check::TopicChanges;
use self::topics::{ReplyTopicOpened, RequestTopicOpened, TopicStates};
use crate::error::RequestError;
use crate::kafka::cluster::health::KafkaHealth;
use crate::kafka::cluster::record_limits::RecordLimits;
use crate::kafka::codes::CodeClass;
use crate::kafka::producer::{Producer, Undelivered};
use crate::kafka::reply_stream::{ReplyRecord, ReplyStream};
use crate::process::progress::Progress;
use crate::proxy::admission::in_flight::Queue;
use crate::proxy::admission::pace::TICK;
use crate::proxy::metrics::ProxyMetrics;
use crate::proxy::routing::topics::Topic;
use crate::wire::{CorrelationId, RawRecord, Record, native};

/// The net under `ForgetOnDrop`: what it finds is counted, and expected to be nothing.
const SWEEP_EVERY: Duration = TICK;
/// How long past its deadline an entry may live before the sweep takes it.
const SWEEP_GRACE: Duration = Duration::from_secs(2);
/// How often open reply topics are looked after.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// What a waiting request gets: the reply record, or why there is none.
pub type ReplyResult = Result<RawRecord, RequestError>;

/// Registers a request and produces its record. Sent by `proxy::handler`. Never blocks: librdkafka queues the record.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Forward {
    pub id: CorrelationId,
    pub request_topic: Arc<Topic>,
    pub reply_topic: Arc<Topic>,
    /// Encoded, but for the reply partition, which the router knows.
    pub record: Record,
    pub deadline: Instant,
    /// Hears whether it was answered.
    pub queue: Arc<Queue>,
    pub reply_tx: oneshot::Sender<ReplyResult>,
}

/// Nobody waits for this request any more. Sent by `proxy::handler` when the client left or the deadline passed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Forget(pub CorrelationId);

/// Kafka did not take a request's record. Sent by the request producer.
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
    pub limits: RecordLimits,
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
    pending: Pending,
    topics: TopicStates,
    /// Requests whose topics are still opening; bounded by permits.
    parked: Vec<Forward>,
    /// Every warm-up topic is read. Shown by readiness.
    positioned: Arc<AtomicBool>,
    published: bool,
    replies: Option<mpsc::Receiver<Vec<ReplyRecord>>>,
    parts: RouterParts,
}

impl ReplyRouter {
    pub fn new(parts: RouterParts, replies: mpsc::Receiver<Vec<ReplyRecord>>) -> Self {
        parts.metrics.router_entries.set(0);
        ReplyRouter {
            pending: Pending::default(),
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
            queue,
            reply_tx,
        } = forward;
        if let Some(partition) = reply_partition {
            native::set_reply_partition(&mut record, partition);
        }
        if record.encoded_size() > self.parts.limits.of(&request_topic.name) {
            return answer(reply_tx, Err(RequestError::BodyTooLarge));
        }
        let (key, name) = (id.low64(), request_topic.name.clone());
        let waiting = Waiting {
            id,
            request_topic,
            reply_topic,
            sent: Instant::now(),
            deadline,
            queue,
            reply_tx,
        };
        if let Err(refused) = self.pending.register(waiting) {
            return refused.answer(Err(RequestError::Overloaded));
        }
        self.parts.producer.send(&name, None, &record, key as usize);
        self.parts.metrics.router_entries.set(self.pending.len() as i64);
    }

    /// Kafka did not take a request's record.
    fn not_taken(&mut self, key: u64, why: Undelivered) {
        let Some(waiting) = self.pending.remove(key) else {
            return;
        };
        let topic = &waiting.request_topic.name;
        tracing::warn!(%topic, code = %why.code, not_persisted = why.not_persisted, "Kafka did not take a request");
        let class = CodeClass::from(why.code);
        if class.is_not_found() {
            self.topics.request_topic_is_gone(topic);
        }
        if class == CodeClass::TooLarge {
            self.parts.limits.ask_again();
        }
        waiting.answer(Err(if why.not_persisted {
            refusal(class)
        } else {
            RequestError::ReplyLost
        }));
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

    /// Nobody waits any more: at the deadline, or because the client left before.
    fn given_up(&mut self, waiting: &Waiting, ctx: &mut Context<Self>) {
        let now = Instant::now();
        if now >= waiting.deadline {
            waiting.queue.waited_in_vain();
        }
        self.topics.unanswered(waiting, now, &self.parts, ctx);
    }

    /// Ends what waits for a reply on a topic that is no longer what it was.
    fn lose_replies_of(&mut self, topic: &str) {
        let lost = self.pending.extract(|waiting| &*waiting.reply_topic.name == topic);
        let count = lost.len();
        lost.into_iter()
            .for_each(|waiting| waiting.answer(Err(RequestError::ReplyLost)));
        if count > 0 {
            tracing::warn!(topic, count, "requests in flight lost their replies");
        }
    }

    fn sweep(&mut self) {
        self.parts.progress.touch();
        self.topics.keep_pace();
        let now = Instant::now();
        let outlived = |waiting: &Waiting| now >= waiting.deadline + SWEEP_GRACE;
        self.parts
            .metrics
            .swept
            .inc_by(self.pending.extract(outlived).len() as u64);
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
    fn handle(&mut self, Forget(id): Forget, ctx: &mut Self::Context) {
        match self.pending.remove(id.low64()) {
            Some(waiting) => self.given_up(&waiting, ctx),
            None => self.parked.retain(|forward| forward.id != id),
        }
        self.parts.metrics.router_entries.set(self.pending.len() as i64);
    }
}

impl StreamHandler<Vec<ReplyRecord>> for ReplyRouter {
    fn handle(&mut self, batch: Vec<ReplyRecord>, _: &mut Self::Context) {
        self.parts.progress.touch();
        for run in batch.chunk_by(|a, b| a.record.partition == b.record.partition && a.record.topic == b.record.topic) {
            self.topics.heard(&run[0].record.topic, run[0].record.partition);
        }
        for ReplyRecord { id, record } in batch {
            if !self.pending.complete(id, record) {
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
        self.topics.request_opened(opened, &self.parts, ctx);
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

impl Handler<OthersRead> for ReplyRouter {
    type Result = ();
    fn handle(&mut self, read: OthersRead, _: &mut Self::Context) {
        self.topics.others_read(read, &self.parts);
    }
}

impl Handler<Drain> for ReplyRouter {
    type Result = usize;
    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> usize {
        let left = self.pending.len() + self.parked.len();
        self.pending
            .extract(|_| true)
            .into_iter()
            .for_each(|waiting| waiting.answer(Err(RequestError::ReplyLost)));
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
fn refusal(class: CodeClass) -> RequestError {
    match class {
        CodeClass::QueueFull => RequestError::Overloaded,
        CodeClass::TooLarge => RequestError::BodyTooLarge,
        _ => RequestError::KafkaUnavailable,
    }
}
