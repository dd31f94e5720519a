//! How large a record each topic takes: Kafka's `max.message.bytes`, asked for off the request path.
//!
//! A record over that limit must not be sent: the broker refuses the whole batch it is in, and with it the records of others. So it does
//! with a batch over the limit. What is not known (no right to ask, or a broker that cannot tell) is bounded by the producer's own limit.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::Thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::config::FromClientConfigAndContext;

use crate::kafka::client::context::LogOnly;
use crate::kafka::client::properties;

/// How often all topics in use are looked at again.
const EVERY: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Topics looked at; records can name many reply topics.
const MAX_TOPICS: usize = 1_000;
/// A topic's setting (<https://kafka.apache.org/documentation/#topicconfigs_max.message.bytes>): of a batch, thus of a record alone in it.
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// The limits of one producer's records. Clones share them.
#[derive(Clone)]
pub struct RecordLimits {
    shared: Arc<Shared>,
    looker: Thread,
}

struct Shared {
    config: ClientConfig,
    own: usize,
    /// Told when a topic takes less than the batches of its producer may hold.
    limit_batches: Box<dyn Fn(usize) + Send + Sync>,
    /// What they may hold.
    batch: AtomicUsize,
    /// `None`: not known yet, or not to be known.
    topics: ArcSwap<HashMap<Arc<str>, Option<usize>>>,
}

impl RecordLimits {
    /// Starts the thread that asks. `producer` is the configuration of the client whose records these are; `limit_batches` makes that
    /// client's batches smaller, and may block.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(producer: ClientConfig, limit_batches: impl Fn(usize) + Send + Sync + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            own: properties::max_record(&producer),
            limit_batches: Box::new(limit_batches),
            batch: AtomicUsize::new(properties::max_batch(&producer)),
            config: producer,
            topics: ArcSwap::default(),
        });
        let weak = Arc::downgrade(&shared);
        let looking = std::thread::Builder::new()
            .name("khp-record-limits".into())
            .spawn(move || look(&weak))?;
        Ok(RecordLimits {
            shared,
            looker: looking.thread().clone(),
        })
    }

    /// The producer's own limit, in bytes: no record of any topic is larger.
    pub fn own(&self) -> usize {
        self.shared.own
    }

    /// The most bytes a record of this topic may have. One that is asked for the first time is looked at soon.
    pub fn of(&self, topic: &str) -> usize {
        match self.shared.topics.load().get(topic) {
            Some(limit) => limit.unwrap_or(self.shared.own).min(self.shared.own),
            None => {
                if self.shared.note(topic) {
                    self.looker.unpark();
                }
                self.shared.own
            }
        }
    }

    /// What Kafka said of this topic, if it has.
    pub fn known(&self, topic: &str) -> Option<usize> {
        self.shared.topics.load().get(topic).copied().flatten()
    }

    /// Asks about one topic now. Blocks for seconds at worst: not for an Arbiter.
    pub fn learn(&self, topic: &str) {
        self.shared.note(topic);
        self.shared.ask(&[Arc::from(topic)]);
    }

    /// Kafka refused what should have been small enough: all topics are looked at again, soon.
    pub fn look_again(&self) {
        self.looker.unpark();
    }
}

/// Looks at all topics, again and again, until nobody needs it any more.
fn look(shared: &Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        let topics: Vec<Arc<str>> = shared.topics.load().keys().cloned().collect();
        shared.ask(&topics);
        drop(shared);
        std::thread::park_timeout(EVERY);
    }
}

impl Shared {
    /// False: there are too many.
    fn note(&self, topic: &str) -> bool {
        let topic: Arc<str> = Arc::from(topic);
        self.topics.rcu(|topics| {
            let mut topics = HashMap::clone(topics);
            if topics.len() < MAX_TOPICS {
                topics.entry(topic.clone()).or_default();
            }
            topics
        });
        self.topics.load().contains_key(&topic)
    }

    /// Asks Kafka about these topics; what it does not tell stays as it was. Blocks.
    fn ask(&self, topics: &[Arc<str>]) {
        if topics.is_empty() {
            return;
        }
        // Made anew each time: a client that stays would ask for metadata every few seconds, too.
        let admin = match AdminClient::from_config_and_context(&self.config, LogOnly) {
            Ok(admin) => admin,
            Err(error) => return tracing::debug!(%error, "record limits not looked at"),
        };
        let resources: Vec<ResourceSpecifier<'_>> =
            topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
        let described = match futures_executor::block_on(admin.describe_configs(&resources, &options)) {
            Ok(described) => described,
            Err(error) => return tracing::debug!(%error, "record limits not looked at"),
        };
        for topic in described {
            match topic {
                Ok(topic) => {
                    let limit = topic
                        .get(MAX_MESSAGE_BYTES)
                        .and_then(|entry| entry.value.as_ref()?.parse().ok());
                    if let (OwnedResourceSpecifier::Topic(name), Some(limit)) = (&topic.specifier, limit) {
                        self.learned(name, limit);
                    }
                }
                // No right to ask, or no such topic.
                Err(code) => tracing::debug!(%code, "record limit of a topic not known"),
            }
        }
    }

    fn learned(&self, name: &str, limit: usize) {
        if self.topics.load().get(name).copied().flatten() == Some(limit) {
            return;
        }
        self.topics.rcu(|topics| {
            let mut topics = HashMap::clone(topics);
            topics.insert(Arc::from(name), Some(limit));
            topics
        });
        // A batch is measured as a record is.
        if limit < self.batch.fetch_min(limit, Ordering::Relaxed) {
            tracing::info!(
                topic = name,
                limit,
                "batches are made smaller: this topic takes no larger ones ({MAX_MESSAGE_BYTES})"
            );
            (self.limit_batches)(limit);
        }
    }
}
