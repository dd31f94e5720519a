//! What all workers of the process share of streamed answers, and what one worker has of its own.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::kafka::cluster::health::KafkaHealth;
use crate::processor::metrics::TopicMetrics;
use crate::processor::record::outbox::Outbox;
use crate::processor::record::reply_topics::Destination;
use crate::processor::stream::calls::Calls;
use crate::processor::stream::control::ControlTopic;
use crate::settings::{self, Settings, Streaming};
use crate::wire::Record;
use crate::wire::beside::InstanceId;
use crate::wire::control::Control;

/// How often a process shows that it lives where it streams to.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// Kept back of a drain for the last pieces of streams that are cut off, and for the producer's flush.
const LAST_PIECES: Duration = Duration::from_secs(1);
/// How often a drain looks whether all streams have ended.
const DRAIN_TURN: Duration = Duration::from_millis(20);

/// Of the whole process. Clones share it.
#[derive(Clone)]
pub struct Streams {
    /// One place for each stream that may be open.
    pub places: Arc<Semaphore>,
    most: usize,
    /// This process, as requesters know it.
    pub instance: InstanceId,
    /// Cancelled when the time of a drain is nearly over.
    pub ending: CancellationToken,
    /// Written by a reload.
    controls: Arc<ArcSwap<Controls>>,
}

/// The control topics of the process, by name.
type Controls = BTreeMap<String, Arc<ControlTopic>>;

/// The control topics of these request topics. Those of `before` are taken over that are the same.
fn controls(topics: &[settings::Topic], before: &Controls) -> Controls {
    let mut required = BTreeMap::<&String, bool>::new();
    for topic in topics.iter().filter(|topic| topic.streams.streaming != Streaming::Off) {
        let is_required = topic.streams.streaming == Streaming::Required;
        *required.entry(&topic.streams.control_topic).or_default() |= is_required;
    }
    let control = |(name, is_required): (&String, bool)| {
        let topic = before.get(name).cloned();
        let topic = topic.unwrap_or_else(|| Arc::new(ControlTopic::new(name, is_required)));
        topic.set_required(is_required);
        (name.clone(), topic)
    };
    required.into_iter().map(control).collect()
}

impl Streams {
    pub fn new(settings: &Settings) -> Self {
        let most = settings.max_streams.min(Semaphore::MAX_PERMITS);
        let controls = controls(&settings.processor.topics, &Controls::new());
        Streams {
            places: Arc::new(Semaphore::new(most)),
            most,
            instance: InstanceId::new(),
            ending: CancellationToken::new(),
            controls: Arc::new(ArcSwap::from_pointee(controls)),
        }
    }

    /// The control topics of the process.
    pub fn controls(&self) -> Vec<Arc<ControlTopic>> {
        self.controls.load().values().cloned().collect()
    }

    /// From now on there are the control topics of these request topics.
    pub fn replace_controls(&self, topics: &[settings::Topic]) {
        self.controls.store(Arc::new(controls(topics, &self.controls.load())));
    }

    /// The control topic of a request topic; `None`: its answers are not streamed.
    pub fn control_of(&self, topic: &settings::Topic) -> Option<Arc<ControlTopic>> {
        let name = &topic.streams.control_topic;
        let is_on = topic.streams.streaming != Streaming::Off;
        self.controls.load().get(name).filter(|_| is_on).cloned()
    }

    /// Lets streams go on until shortly before `limit` is over, then ends them. `begun` comes when no further one begins. True: none was
    /// cut off.
    pub async fn drain(&self, limit: Duration, begun: &CancellationToken) -> bool {
        let ended = async |limit| {
            let all = async {
                begun.cancelled().await;
                // Places are not waited for: who does so keeps those that come free from the streams that still begin.
                while self.places.available_permits() < self.most {
                    tokio::time::sleep(DRAIN_TURN).await;
                }
            };
            tokio::time::timeout(limit, all).await.is_ok()
        };
        let reserve = LAST_PIECES.min(limit / 2);
        if ended(limit - reserve).await {
            return true;
        }
        let streams = self.most - self.places.available_permits();
        self.ending.cancel();
        if streams > 0 {
            tracing::warn!(
                streams,
                "streamed answers were still under way at the drain limit and are cut off; raise drain_timeout"
            );
        }
        ended(reserve / 2).await;
        streams == 0
    }
}

/// One worker's part. Lives on its Arbiter.
pub struct WorkerStreams {
    pub calls: Calls,
    pub control: Arc<ControlTopic>,
    pub shared: Streams,
}

impl WorkerStreams {
    /// `None`: answers of this topic are not streamed.
    pub fn new(shared: &Streams, topic: &settings::Topic, metrics: &TopicMetrics) -> Option<Self> {
        Some(WorkerStreams {
            control: shared.control_of(topic)?,
            calls: Calls::new(metrics.cancels.clone(), metrics.early_cancels.clone()),
            shared: shared.clone(),
        })
    }
}

/// What a worker does once a second for its streams.
pub struct Upkeep {
    alive: Instant,
}

impl Upkeep {
    pub fn new() -> Self {
        Upkeep { alive: Instant::now() }
    }

    /// Looks for requesters that are gone, and shows from time to time that this process lives.
    pub fn tick(&mut self, streams: &WorkerStreams, outbox: &Outbox, kafka: &KafkaHealth) {
        let well = kafka.is_up() && streams.control.is_read() && !outbox.is_stuck();
        for silent in streams.calls.tick(well) {
            streams.control.suspect(silent);
        }
        if self.alive.elapsed() < ALIVE_EVERY {
            return;
        }
        self.alive = Instant::now();
        let mut told: HashSet<(Arc<str>, Option<i32>, bool)> = HashSet::new();
        for stream in streams.calls.streams() {
            let Destination { topic, partition, .. } = &stream.destination;
            // Without a partition each has its own, by its key.
            if partition.is_none() || told.insert((topic.clone(), *partition, stream.is_sealed)) {
                let instance = streams.shared.instance;
                let alive = Record {
                    key: stream.key,
                    ..Control::Alive { instance }.encode()
                };
                if let Some(alive) = outbox.seal.seal_alive(stream.is_sealed, alive, topic) {
                    outbox.send_unheeded(&stream.destination, &alive);
                }
            }
        }
    }
}

impl Default for Upkeep {
    fn default() -> Self {
        Upkeep::new()
    }
}
