//! The actor: it registers each request, produces its record, and gives each reply to the request that waits for it.
//!
//! Owns: the table of requests in flight, the requests that wait for a topic to open, and the state of every topic in use. Sent to by: the
//! reader of reply topics (batches of replies), `proxy::handler` (`Forward`, `Forget`), the request producer (`RequestLost`), its own tasks
//! (`TopicEvent`), and the shutdown (`Drain`). Death: every waiting client gets
//! 502 `reply-lost` at once, because the entries' senders are dropped; the supervisor makes a new router.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::cadence::{Cadence, Tick};
use super::control::{ALIVE_EVERY, ControlTopics};
use super::control_trouble::MissingControl;
use super::liveness::Processors;
use super::messages::{Forward, TopicEvent};
use super::pending::{Awaited, Pending, Waiting};
use super::seal::seal;
use super::slot::{LostRequests, RouterHandle, RouterSlot};
use super::strays::Strays;
use super::streams::OpenStreams;
use super::topic_tasks::TopicTasks;
use super::topics::{Ready, TopicStates};
use crate::error::RequestError;
use crate::kafka::cluster::health::KafkaHealth;
use crate::kafka::cluster::record_limits::RecordLimits;
use crate::kafka::producer::Producer;
use crate::kafka::reply_stream::{ReplyRecord, ReplyStream};
use crate::process::progress::Progress;
use crate::proxy::admission::bytes::ByteBudget;
use crate::proxy::admission::span::TICK;
use crate::proxy::metrics::ProxyMetrics;
use crate::proxy::routing::topics::{KnownTopic, KnownTopics};
use crate::proxy::wanted::{SharedWanted, Wanted};
use crate::wire::beside::InstanceId;
use crate::wire::native::afterwards::{self, EncodedOffer};
use crate::wire::{Format, SharedSealing};

/// One turn of housekeeping: the pace of queues, parked requests without hope, gauges, and entries that the handler's `ForgetOnDrop` did
/// not remove, which are counted and expected to be none.
const HOUSEKEEPING_EVERY: Duration = TICK;
/// How long past its deadline an entry may live before the sweep removes it.
const SWEEP_GRACE: Duration = Duration::from_secs(2);
/// How often open topics are compared with what Kafka has.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// What a router is made of: what the process shares, and its generation's own stream and sign of life.
pub struct RouterParts {
    pub generation: u64,
    pub producer: Arc<Producer<LostRequests>>,
    pub limits: RecordLimits,
    pub stream: ReplyStream,
    pub known: Arc<KnownTopics>,
    /// The topics of the configuration.
    pub wanted: SharedWanted,
    pub slot: Arc<RouterSlot>,
    pub metrics: ProxyMetrics,
    pub sealing: SharedSealing,
    pub kafka: KafkaHealth,
    pub progress: Progress,
    pub streams: StreamParts,
}

/// What answers that come in pieces need.
pub struct StreamParts {
    /// This process.
    pub instance: InstanceId,
    /// Bytes of one answer that may be on their way.
    pub window: u64,
    /// Both of them, as requests have them.
    pub offer: EncodedOffer,
    /// Holds the bytes of answers.
    pub budget: ByteBudget,
    pub missing: MissingControl,
}

/// Pairs replies with the requests that wait.
pub struct ReplyRouter {
    pub(super) pending: Pending,
    pub(super) topics: TopicStates,
    pub(super) streams: OpenStreams,
    pub(super) controls: ControlTopics,
    pub(super) processors: Processors,
    pub(super) strays: Strays,
    /// Until then, silence is nobody's fault.
    pub(super) well_since: Instant,
    /// Requests whose topics are still opening; bounded by permits.
    pub(super) parked: Vec<Forward>,
    /// What is open, or is being opened.
    pub(super) wanted: Arc<Wanted>,
    /// The reply topics that readiness needs: those of the start. One that a reload adds holds up nothing: a mistake in a configuration
    /// that is changed everywhere at once must not take all proxies out of service.
    pub(super) warmup: Vec<Arc<KnownTopic>>,
    /// All of them are read. Shown by readiness.
    positioned: Arc<AtomicBool>,
    /// A reply that is not believed was logged.
    pub(super) unbelieved_logged: bool,
    /// This router is in the slot. It is published once.
    published: bool,
    /// Taken when the actor starts.
    replies: Option<mpsc::Receiver<Vec<ReplyRecord>>>,
    /// Signs of life of processors; as `replies`.
    alive: Option<mpsc::Receiver<InstanceId>>,
    pub(super) tasks: TopicTasks,
    pub(super) parts: RouterParts,
}

impl ReplyRouter {
    /// Made within its own context: tasks of the router report to its address.
    pub fn new(
        parts: RouterParts,
        (replies, alive): (mpsc::Receiver<Vec<ReplyRecord>>, mpsc::Receiver<InstanceId>),
        ctx: &mut Context<Self>,
    ) -> Self {
        parts.metrics.router_entries.set(0);
        let wanted = parts.wanted.load_full();
        ReplyRouter {
            warmup: wanted.warmup.clone(),
            wanted,
            pending: Pending::default(),
            topics: TopicStates::default(),
            streams: OpenStreams::default(),
            controls: ControlTopics::new(
                parts.streams.missing.clone(),
                parts.sealing.clone(),
                parts.metrics.streams.clone(),
            ),
            processors: Processors::default(),
            strays: Strays::default(),
            well_since: Instant::now(),
            parked: Vec::new(),
            positioned: Arc::default(),
            unbelieved_logged: false,
            published: false,
            replies: Some(replies),
            alive: Some(alive),
            tasks: TopicTasks {
                producer: parts.producer.clone(),
                stream: parts.stream.clone(),
                limits: parts.limits.clone(),
                router: ctx.address().recipient(),
            },
            parts,
        }
    }

    /// Sends a request on its way, or parks it while a topic opens, or refuses it.
    fn route(&mut self, mut forward: Forward) {
        if forward.reply_tx.is_closed() {
            return;
        }
        match self
            .topics
            .ready(&forward.request_topic, &forward.reply_topic, &self.tasks)
        {
            Ready::Yes(reply_partition) => {
                match self.may_stream(&forward) {
                    Some(true) => afterwards::set_offer(&mut forward.record, &self.parts.streams.offer),
                    Some(false) => forward.offer = None,
                    None => return self.parked.push(forward),
                }
                // Also where a name was forgotten, and comes again before its topic is let go.
                self.parts.known.opened(&forward.request_topic);
                self.parts.known.opened(&forward.reply_topic);
                self.produce(forward, reply_partition);
            }
            Ready::NotYet => self.parked.push(forward),
            Ready::No => forward.refuse(RequestError::KafkaUnavailable),
        }
    }

    /// Whether a request may be answered in pieces; `None`: that is not known yet.
    fn may_stream(&mut self, forward: &Forward) -> Option<bool> {
        match &forward.offer {
            Some(_) => self.controls.ready(&forward.request_topic, &self.tasks),
            None => Some(false),
        }
    }

    /// Registers, then produces, in one go: no reply can overtake its registration.
    fn produce(&mut self, mut forward: Forward, reply_partition: Option<i32>) {
        if let Some(partition) = reply_partition {
            afterwards::set_reply_partition(&mut forward.record, partition);
        }
        let awaited = match (forward.record.format(), reply_partition) {
            (Format::Json, _) => Awaited::Anywhere,
            (Format::Native, None) => Awaited::OnTopic,
            (Format::Native, Some(partition)) => Awaited::OnPartition(partition),
        };
        // Before it is sealed: the key of a sealed record depends on the secret.
        let key = forward.record.key.as_ref().filter(|_| forward.is_keyed);
        let partition = key.and_then(|key| self.topics.partition_of(&forward.request_topic.name, key));
        if let Err(error) = seal(&self.parts.sealing.load(), &mut forward) {
            tracing::error!(topic = %forward.request_topic.name, correlation_id = %forward.id, %error, "a request is not sent");
            return forward.refuse(RequestError::Overloaded);
        }
        if forward.record.encoded_size() > self.parts.limits.of(&forward.request_topic.name) {
            return forward.refuse(RequestError::BodyTooLarge);
        }
        let Forward { id, record, .. } = forward;
        let (key, topic) = (id.low64(), forward.request_topic.name.clone());
        let waiting = Waiting {
            id,
            request_topic: forward.request_topic,
            reply_topic: forward.reply_topic,
            awaited,
            sent: Instant::now(),
            deadline: forward.deadline,
            queue: forward.queue,
            offer: forward.offer,
            reply_tx: forward.reply_tx,
        };
        if let Err(refused) = self.pending.register(waiting) {
            return refused.answer(Err(RequestError::Overloaded));
        }
        self.parts.producer.send(&topic, partition, &record, key as usize);
        self.show_entries();
    }

    /// A topic opened or failed: the requests that waited for it go on.
    fn unpark(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        for mut forward in std::mem::take(&mut self.parked) {
            // The processor would take the wait for a clock that differs.
            afterwards::set_timeout(&mut forward.record, forward.deadline.saturating_duration_since(now));
            self.route(forward);
        }
        self.publish_once_positioned(ctx);
    }

    /// Readiness follows the warm-up topics; the router itself is published once, the first time all of them are read.
    pub(super) fn publish_once_positioned(&mut self, ctx: &mut Context<Self>) {
        let open = self.topics.open_replies();
        self.parts.metrics.active_consumers.set(open as i64);
        let positioned = self.warmup.iter().all(|topic| self.topics.is_open(&topic.name));
        self.positioned.store(positioned, Ordering::Release);
        if self.published || !positioned {
            return;
        }
        let (router, generation) = (ctx.address(), self.parts.generation);
        let handle = RouterHandle::new(router, generation, self.positioned.clone());
        self.published = self.parts.slot.publish(handle);
        if self.published {
            tracing::info!(event = "start", generation, "reply router positioned");
        }
    }

    /// Lets go the topics that are known no more.
    fn let_go(&mut self) {
        let (pending, parked, streams) = (&self.pending, &self.parked, &self.streams);
        let is_used = |name: &str| {
            pending.any(|waiting| *waiting.reply_topic.name == *name)
                || streams.0.values().any(|stream| *stream.reply_topic.name == *name)
                || parked.iter().any(|forward| *forward.reply_topic.name == *name)
        };
        self.topics.let_go(&self.parts.known, is_used, &self.tasks);
        self.controls.upkeep(&self.parts.known, &self.tasks);
    }

    fn sweep(&mut self, tick: Tick, now: Instant) {
        self.parts.progress.touch();
        match tick {
            Tick::Repeated => return,
            // The handlers of requests that are past their deadline have not run yet.
            Tick::Late => {
                self.topics.skip_pace();
                self.excuse_silence(now);
            }
            Tick::OnTime => {
                self.topics.keep_pace();
                let outlived = |waiting: &Waiting| now >= waiting.deadline + SWEEP_GRACE;
                let swept = self.pending.extract(outlived).len();
                self.parts.metrics.swept.inc_by(swept as u64);
            }
        }
        self.refuse_hopeless(now);
        self.watch_streams(now);
        self.show_entries();
        let queued = self.parts.producer.queued();
        self.parts.metrics.producer_queue.set(queued as i64);
    }

    /// Refuses parked requests that will not be sent in time. They were not sent, so their clients may try again: they hear that while
    /// they still wait, instead of a 504 at the deadline.
    fn refuse_hopeless(&mut self, now: Instant) {
        let kafka_is_down = self.parts.kafka.is_down();
        let hopeless = |forward: &mut Forward| kafka_is_down || now + HOUSEKEEPING_EVERY >= forward.deadline;
        for forward in self.parked.extract_if(.., hopeless) {
            forward.refuse(RequestError::KafkaUnavailable);
        }
        self.parked.retain(|forward| !forward.reply_tx.is_closed());
    }

    pub(super) fn show_entries(&self) {
        self.parts.metrics.router_entries.set(self.pending.len() as i64);
    }
}

impl Actor for ReplyRouter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(replies) = self.replies.take() {
            ctx.add_stream(ReceiverStream::new(replies));
        }
        if let Some(alive) = self.alive.take() {
            ctx.add_stream(ReceiverStream::new(alive));
        }
        let (mut sweeps, mut checks) = (
            Cadence::new(HOUSEKEEPING_EVERY, Instant::now()),
            Cadence::new(CHECK_EVERY, Instant::now()),
        );
        ctx.run_interval(HOUSEKEEPING_EVERY, move |router, ctx| {
            router.take_wanted(ctx);
            let now = Instant::now();
            router.sweep(sweeps.tick(now), now);
        });
        ctx.run_interval(CHECK_EVERY, move |router, _| {
            // A topic that is missing at two checks in a row is gone: they must not come together.
            if checks.tick(Instant::now()) != Tick::Repeated {
                router.topics.end_searches(&router.tasks);
                router.let_go();
                router.topics.check(router.controls.usable(), &router.tasks);
            }
        });
        ctx.run_interval(ALIVE_EVERY, |router, _| router.show_life());
        self.open_wanted();
        self.publish_once_positioned(ctx);
    }
}

impl Handler<Forward> for ReplyRouter {
    type Result = ();
    fn handle(&mut self, forward: Forward, _: &mut Self::Context) {
        self.parts.progress.touch();
        self.route(forward);
    }
}

impl Handler<TopicEvent> for ReplyRouter {
    type Result = ();
    fn handle(&mut self, event: TopicEvent, ctx: &mut Self::Context) {
        let (configured, wanted, tasks) = (&self.wanted.request_topics, &self.wanted.warmup, &self.tasks);
        match event {
            TopicEvent::RequestTopicOpened { topic, result } => {
                self.topics.request_opened(topic, result, configured, tasks);
                self.unpark(ctx);
            }
            TopicEvent::ReplyTopicOpened { topic, result } => {
                self.topics.reply_opened(topic, result, wanted, tasks);
                self.unpark(ctx);
            }
            TopicEvent::ReplyTopicClosed(name) => {
                self.topics.replies.remove(&name);
                self.unpark(ctx);
            }
            TopicEvent::RetryRequestTopic(topic) => self.topics.retry_request(&topic, tasks),
            TopicEvent::RetryReplyTopic(topic) => self.topics.retry_reply(&topic, tasks),
            TopicEvent::ControlTopicOpened { topic, result } => {
                self.controls.opened(&topic, result);
                self.unpark(ctx);
            }
            TopicEvent::WasRead { instance, all } => self.processors.was_read(instance, all, Instant::now()),
            TopicEvent::Checked(mut changes) => {
                for (topic, now) in changes.controls.drain(..) {
                    self.controls.checked(&topic, now);
                }
                let lost = self.topics.checked(changes, wanted, tasks);
                let denied = self.warmup.iter().any(|topic| self.topics.is_denied(&topic.name));
                self.parts.metrics.replies_denied.set(denied.into());
                lost.iter().for_each(|topic| self.lose_replies_of(topic));
                self.publish_once_positioned(ctx);
            }
            TopicEvent::SearchBegan { topic, result } => self.topics.search_began(topic, result, tasks),
        }
    }
}
