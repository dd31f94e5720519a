//! How large a record each topic takes: Kafka's `max.message.bytes`, asked for off the request path.
//!
//! A record over that limit must not be sent: the broker refuses the whole batch it is in, and with it the records of others. A batch over
//! the limit is refused as well. Where the limit is not known (no right to ask, or a broker that cannot tell), the producer's own applies.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::config::FromClientConfigAndContext;

use crate::kafka::client::context::LogOnly;
use crate::kafka::client::properties;
use crate::process::periodic;

/// How often Kafka is asked about all topics in use.
const EVERY: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// How many topics are asked about: records can name any number of reply topics.
const MAX_TOPICS: usize = 1_000;
/// A topic's setting (<https://kafka.apache.org/documentation/#topicconfigs_max.message.bytes>): of a batch, thus of a record alone in it.
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// The limits of one producer's records. Clones share them.
#[derive(Clone)]
pub struct RecordLimits {
    shared: Arc<Shared>,
    /// The thread that asks Kafka; unparked, it asks at once.
    asker: Thread,
}

struct Shared {
    /// Of the client that asks.
    config: ClientConfig,
    /// The producer's own limit, in bytes.
    own: usize,
    /// Called when a topic takes less than the producer's batches may hold.
    limit_batches: Box<dyn Fn(usize) + Send + Sync>,
    /// The most bytes that the producer's batches may hold.
    batch: AtomicUsize,
    /// The limit of each topic in use; `None`: not known (yet).
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
        let asker = periodic::while_alive("khp-record-limits", EVERY, &shared, Shared::ask_all)?;
        Ok(RecordLimits { shared, asker })
    }

    /// The producer's own limit, in bytes: no record of any topic is larger.
    pub fn own(&self) -> usize {
        self.shared.own
    }

    /// The most bytes a record of this topic may have. A topic that is named for the first time is asked about soon.
    pub fn of(&self, topic: &str) -> usize {
        match self.shared.topics.load().get(topic) {
            Some(limit) => limit.unwrap_or(self.shared.own).min(self.shared.own),
            None => {
                if self.shared.note(topic) {
                    self.asker.unpark();
                }
                self.shared.own
            }
        }
    }

    /// The limit that Kafka gave for this topic, if it did.
    pub fn known(&self, topic: &str) -> Option<usize> {
        self.shared.topics.load().get(topic).copied().flatten()
    }

    /// Asks about one topic now. Blocks for seconds at worst: not for an Arbiter.
    pub fn learn(&self, topic: &str) {
        self.shared.note(topic);
        self.shared.ask(&[Arc::from(topic)]);
    }

    /// Kafka refused a record that should have been small enough: all topics are asked about again, soon.
    pub fn ask_again(&self) {
        self.asker.unpark();
    }
}

impl Shared {
    /// Asks about every topic in use.
    fn ask_all(&self) {
        let topics: Vec<Arc<str>> = self.topics.load().keys().cloned().collect();
        self.ask(&topics);
    }

    /// Takes a topic into use. False: there are too many.
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

    /// Asks Kafka about these topics. Where it does not answer, the last known limit stays. Blocks.
    fn ask(&self, topics: &[Arc<str>]) {
        if topics.is_empty() {
            return;
        }
        // Made anew each time: a client that stays would ask for metadata every few seconds as well.
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
