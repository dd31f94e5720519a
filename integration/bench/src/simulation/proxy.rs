//! A proxy: the service's own code, without HTTP and Kafka around it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_khp::kafka::config::ReplyPartition;
use actix_khp::kafka::reply_stream::choose;
use actix_khp::proxy::admission::in_flight::{Admission, Permit};
use actix_khp::proxy::admission::pace::Pace;
use actix_khp::proxy::instance::ordinal;
use actix_khp::proxy::metrics::ProxyMetrics;
use actix_khp::proxy::reply_router::messages::{Answer, Reply, ReplyResult};
use actix_khp::proxy::reply_router::pending::{Awaited, NotGiven, Pending, Waiting};
use actix_khp::proxy::routing::topics::{KnownTopic, KnownTopics};
use actix_khp::settings::{self, Settings};
use actix_khp::wire::{CorrelationId, RawRecord};
use tokio::sync::oneshot;

use super::script::MAX_PENDING;

/// One proxy, in one of its lives.
pub struct Proxy {
    pending: Pending,
    admission: Admission,
    paces: Vec<Pace>,
    topic: Arc<KnownTopic>,
    reply_topic: Arc<KnownTopic>,
    tag: u16,
    /// The partition that it reads, and that its requests name.
    pub partition: i32,
    /// What the handlers of its requests hold.
    handlers: HashMap<u64, (Permit, oneshot::Receiver<ReplyResult>)>,
    /// Its listener is open.
    pub listens: bool,
    /// It ends once nobody waits any more.
    pub drains: bool,
}

impl Proxy {
    /// The instance of this number, as a StatefulSet names it.
    pub fn new(number: usize, tag: u16, partitions: i32, settings: &Settings, metrics: &ProxyMetrics) -> Option<Self> {
        let topics = KnownTopics::new(&settings.proxy, &settings.create_topics, None, metrics.clone());
        let (_, named) = choose(ReplyPartition::Auto, ordinal(&format!("proxy-{number}"))?, partitions);
        Some(Proxy {
            pending: Pending::default(),
            admission: Admission::new(MAX_PENDING, MAX_PENDING / 2, metrics.pending.clone()),
            paces: Vec::new(),
            topic: topics.configured(&settings.proxy.request_topic)?,
            reply_topic: topics.configured(&settings.proxy.response_topic)?,
            tag,
            partition: named?,
            handlers: HashMap::new(),
            listens: true,
            drains: false,
        })
    }

    /// Takes a request in; `None`: it is refused.
    pub fn admit(&mut self, sent: Instant, timeout: Duration) -> Option<CorrelationId> {
        let permit = self.admission.admit(&self.topic.load, timeout)?;
        let (id, (reply_tx, reply_rx)) = (CorrelationId::new(self.tag), oneshot::channel());
        let waiting = Waiting {
            id,
            request_topic: self.topic.clone(),
            reply_topic: self.reply_topic.clone(),
            awaited: Awaited::OnPartition(self.partition),
            sent,
            deadline: sent + timeout,
            queue: permit.queue(),
            offer: None,
            reply_tx,
        };
        self.pending.register(waiting).ok()?;
        self.handlers.insert(id.low64(), (permit, reply_rx));
        Some(id)
    }

    /// Takes in a reply that was read on its partition. `Ok`: how long its client has waited. `Err(None)`: it is another proxy's.
    pub fn reply(&mut self, id: CorrelationId, partition: i32, now: Instant) -> Result<Duration, Option<NotGiven>> {
        if id.tag() != self.tag {
            return Err(None);
        }
        let record = RawRecord {
            topic: self.reply_topic.name.clone(),
            partition,
            offset: 0,
            timestamp: None,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        let (waiting, record) = self.pending.claim(id, record, |_, record| Some(record)).map_err(Some)?;
        let sent = waiting.sent;
        let took = now - sent;
        waiting.queue.answered(took);
        let answer = Answer::Whole(record);
        waiting.answer(Ok(Reply { sent, answer }));
        let handler = self.handlers.remove(&id.low64());
        // The client has its answer, and its permit goes back.
        handler
            .and_then(|(_, mut reply)| reply.try_recv().ok())
            .map(|_| took)
            .ok_or(None)
    }

    /// A second has passed: the estimates are brought up to date, and whoever waits past the deadline is let go. Returns how many.
    pub fn tick(&mut self, now: Instant) -> usize {
        self.topic.load.tick(&mut self.paces);
        let late = self.pending.extract(|waiting| now >= waiting.deadline);
        for waiting in &late {
            waiting.queue.waited_in_vain();
            self.handlers.remove(&waiting.id.low64());
        }
        late.len()
    }

    pub fn waiting(&self) -> usize {
        self.pending.len()
    }
}

/// The settings that all proxies share: the defaults.
pub fn settings() -> Result<Settings, settings::SettingsError> {
    settings::load(settings::Mode::Proxy, &[], &Default::default()).map(|loaded| loaded.settings)
}
