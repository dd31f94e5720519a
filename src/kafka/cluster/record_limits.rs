//! How large a record each topic takes: Kafka's `max.message.bytes`, asked for off the request path.
//!
//! A record over that limit must not be sent: the broker refuses the whole batch it is in, and with it the records of others. A batch over
//! the limit is refused as well. Where the limit is not known (no right to ask, or a broker that cannot tell), the producer's own applies.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender};
use rdkafka::error::KafkaResult;

use crate::kafka::cluster::topic_config::{TopicConfig, topic_configs};
use crate::kafka::producer::{DeliveryListener, Producer};
use crate::process::periodic;

/// How often Kafka is asked about all topics in use.
const EVERY: Duration = Duration::from_secs(30);
/// How many topics are remembered while they are in use. Beyond, those that were not named since the last round go.
const MAX_IN_USE: usize = 1_000;
/// How many topics are remembered at most. Each has one or two hundred bytes here.
const MAX_TOPICS: usize = 10_000;
/// How many new names wait for the thread that asks. More than that are taken in when they are named again.
const MAX_NEW: usize = 1_000;

/// The producer whose records are limited.
pub trait LimitedProducer: Send + Sync {
    /// The largest record it sends, in bytes.
    fn max_record(&self) -> usize;
    /// Makes batches for this topic no larger than `limit` bytes. Blocks.
    fn limit_batches(&self, topic: &str, limit: usize);
    /// Asks Kafka about these topics. Blocks.
    ///
    /// # Errors
    /// Kafka did not answer.
    fn topic_configs(&self, topics: &[&str]) -> KafkaResult<HashMap<String, TopicConfig>>;
}

impl<L: DeliveryListener> LimitedProducer for Producer<L> {
    fn max_record(&self) -> usize {
        Producer::max_record(self)
    }

    fn limit_batches(&self, topic: &str, limit: usize) {
        Producer::limit_batches(self, topic, limit);
    }

    fn topic_configs(&self, topics: &[&str]) -> KafkaResult<HashMap<String, TopicConfig>> {
        use rdkafka::producer::Producer as _;
        topic_configs(self.client().client(), topics)
    }
}

/// What a topic carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicRole {
    Requests,
    /// Replies, or dead letters.
    Replies,
}

/// What is wrong with a compacted topic.
const COMPACTED: &str = "Kafka refuses records without a key there, and keeps only the newest record of each key; set its cleanup.policy to delete";

/// The limits of one producer's records. Clones share them.
#[derive(Clone)]
pub struct RecordLimits {
    shared: Arc<Shared>,
    /// The thread that asks Kafka; unparked, it takes in new names at once.
    asker: Thread,
}

struct Shared {
    producer: Arc<dyn LimitedProducer>,
    /// The producer's own limit, in bytes.
    own: usize,
    /// What the producer writes.
    written: TopicRole,
    /// Topics of the other role. Nothing is written to them, so their limits are of no use, but their settings can be wrong.
    read: HashSet<String>,
    /// Topics that are compacted on purpose.
    keyed: ArcSwap<HashSet<Arc<str>>>,
    topics: ArcSwap<HashMap<Arc<str>, Arc<Entry>>>,
    /// Names that are not in `topics` yet; bounded by `MAX_NEW`.
    new_names: (Sender<Arc<str>>, Receiver<Arc<str>>),
    /// Somebody needs all topics to be asked about before `EVERY` has passed.
    ask_all: AtomicBool,
}

/// What is known of one topic.
#[derive(Default)]
struct Entry {
    /// `None`: not known (yet).
    config: Option<TopicConfig>,
    /// Named since the last round of questions. Shared by the entries that follow each other.
    named: Arc<AtomicBool>,
}

impl RecordLimits {
    /// Starts the thread that asks. `written` is what the producer writes. `read` are topics of the other role: they are watched for settings
    /// that lose records.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(
        producer: Arc<dyn LimitedProducer>,
        written: TopicRole,
        read: impl IntoIterator<Item = String>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            own: producer.max_record(),
            producer,
            written,
            read: read.into_iter().collect(),
            keyed: ArcSwap::default(),
            topics: ArcSwap::default(),
            new_names: crossbeam_channel::bounded(MAX_NEW),
            ask_all: AtomicBool::new(false),
        });
        shared.add(shared.read.iter().map(|topic| Arc::from(topic.as_str())).collect());
        // The first turn asks about all topics.
        shared.ask_all.store(true, Ordering::Relaxed);
        let mut asked = Instant::now();
        let turn = move |shared: &Shared| {
            let due = shared.ask_all.swap(false, Ordering::Relaxed) || asked.elapsed() >= EVERY;
            let new = shared.take_in_new_names();
            if due {
                asked = Instant::now();
                shared.forget_unused();
                shared.ask(&shared.names());
            } else {
                shared.ask(&new);
            }
        };
        let asker = periodic::while_alive("khp-record-limits", EVERY, &shared, turn)?;
        Ok(RecordLimits { shared, asker })
    }

    /// The producer's own limit, in bytes: no record of any topic is larger.
    pub fn own(&self) -> usize {
        self.shared.own
    }

    /// The most bytes a record of this topic may have. A topic that is named for the first time is asked about soon. Never blocks.
    pub fn of(&self, topic: &str) -> usize {
        match self.shared.topics.load().get(topic) {
            Some(entry) => {
                if !entry.named.load(Ordering::Relaxed) {
                    entry.named.store(true, Ordering::Relaxed);
                }
                entry.limit().unwrap_or(self.shared.own).min(self.shared.own)
            }
            None => {
                // Err: too many wait already; it comes in when it is named again.
                if self.shared.new_names.0.try_send(Arc::from(topic)).is_ok() {
                    self.asker.unpark();
                }
                self.shared.own
            }
        }
    }

    /// Every record of this topic has a key, and only the newest of each counts: compaction loses nothing there. To be said before its limit
    /// is asked for.
    pub fn expect_compacted(&self, topic: &str) {
        let topic: Arc<str> = Arc::from(topic);
        self.shared.keyed.rcu(|keyed| {
            let mut keyed = HashSet::clone(keyed);
            keyed.insert(topic.clone());
            keyed
        });
    }

    /// The limit that Kafka gave for this topic, if it did.
    pub fn known(&self, topic: &str) -> Option<usize> {
        self.shared.topics.load().get(topic)?.limit()
    }

    /// Asks about one topic now. Blocks for seconds at worst: not for an Arbiter.
    pub fn learn(&self, topic: &str) {
        let topic: Arc<str> = Arc::from(topic);
        self.shared.add(HashSet::from([topic.clone()]));
        self.shared.ask(&[topic]);
    }

    /// Kafka refused a record that should have been small enough: all topics are asked about again, soon.
    pub fn ask_again(&self) {
        self.shared.ask_all.store(true, Ordering::Relaxed);
        self.asker.unpark();
    }
}

impl Entry {
    fn limit(&self) -> Option<usize> {
        self.config?.max_message_bytes
    }
}

impl Shared {
    fn names(&self) -> Vec<Arc<str>> {
        self.topics.load().keys().cloned().collect()
    }

    /// Adds the names that came since the last turn, as far as there is room. Returns those that were added.
    fn take_in_new_names(&self) -> Vec<Arc<str>> {
        self.add(self.new_names.1.try_iter().collect())
    }

    fn add(&self, mut new: HashSet<Arc<str>>) -> Vec<Arc<str>> {
        let known = self.topics.load();
        new.retain(|topic| !known.contains_key(topic));
        let room = MAX_TOPICS.saturating_sub(known.len());
        let new: Vec<Arc<str>> = new.into_iter().take(room).collect();
        if !new.is_empty() {
            self.topics.rcu(|topics| {
                let mut topics = HashMap::clone(topics);
                for topic in &new {
                    let entry = topics.entry(topic.clone()).or_default();
                    entry.named.store(true, Ordering::Relaxed);
                }
                topics
            });
        }
        new
    }

    /// Forgets what was not named since the last round, where there are more than `MAX_IN_USE`.
    fn forget_unused(&self) {
        if self.topics.load().len() <= MAX_IN_USE {
            return;
        }
        self.topics.rcu(|topics| {
            let mut topics = HashMap::clone(topics);
            topics.retain(|name, entry| entry.named.load(Ordering::Relaxed) || self.read.contains(&**name));
            topics
        });
        let kept = self.topics.load();
        kept.values()
            .for_each(|entry| entry.named.store(false, Ordering::Relaxed));
    }

    /// Asks Kafka about these topics. Where it does not answer, the last known limit stays. Blocks.
    fn ask(&self, topics: &[Arc<str>]) {
        if topics.is_empty() {
            return;
        }
        let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
        let configs = match self.producer.topic_configs(&names) {
            Ok(configs) => configs,
            Err(error) => return tracing::debug!(%error, "record limits not asked for"),
        };
        let before = self.topics.load_full();
        let config_before = |name: &str| before.get(name).and_then(|entry| entry.config);
        let changed: Vec<(&str, TopicConfig)> = topics
            .iter()
            .filter_map(|name| Some((&**name, *configs.get(&**name)?)))
            .filter(|(name, config)| config_before(name) != Some(*config))
            .collect();
        if changed.is_empty() {
            return;
        }
        self.topics.rcu(|topics| {
            let mut topics = HashMap::clone(topics);
            for (name, config) in &changed {
                if let Some(entry) = topics.get_mut(*name) {
                    *entry = Arc::new(Entry {
                        config: Some(*config),
                        named: entry.named.clone(),
                    });
                }
            }
            topics
        });
        for (name, config) in changed {
            self.apply(name, config_before(name), config);
        }
    }

    fn apply(&self, topic: &str, before: Option<TopicConfig>, now: TopicConfig) {
        let role = self.role_of(topic);
        let limit_before = before.and_then(|before| before.max_message_bytes);
        if let Some(limit) = now.max_message_bytes
            && limit_before != Some(limit)
            && role == self.written
        {
            self.producer.limit_batches(topic, limit);
        }
        self.warn_of_packed(topic, before, now);
        if now.compacted && !before.is_some_and(|before| before.compacted) {
            match self.loses_by_compaction(topic) {
                None => {}
                Some(TopicRole::Requests) => tracing::error!(
                    topic,
                    "this request topic is compacted, so requests are lost: {COMPACTED}"
                ),
                Some(TopicRole::Replies) => tracing::warn!(
                    topic,
                    "this reply topic is compacted, so replies can be lost: {COMPACTED}"
                ),
            }
        }
    }

    /// What is lost where this topic is compacted; `None`: nothing.
    fn loses_by_compaction(&self, topic: &str) -> Option<TopicRole> {
        (!self.keyed.load().contains(topic)).then(|| self.role_of(topic))
    }

    fn warn_of_packed(&self, topic: &str, before: Option<TopicConfig>, now: TopicConfig) {
        if now.packed && !before.is_some_and(|before| before.packed) {
            tracing::warn!(
                topic,
                "this topic takes compressed batches, and a small one may unpack to any size; set its compression.type to uncompressed"
            );
        }
    }

    fn role_of(&self, topic: &str) -> TopicRole {
        match (self.read.contains(topic), self.written) {
            (false, written) => written,
            (true, TopicRole::Requests) => TopicRole::Replies,
            (true, TopicRole::Replies) => TopicRole::Requests,
        }
    }
}
