//! The producers: one per role, owned by the process, whose clients are replaced when librdkafka declares one dead.
//!
//! - [`delivery`]: what becomes of a record, and the listener that hears it.
//! - [`outgoing`]: a record in the form that librdkafka takes.
//! - [`gate`]: forms batches, by holding records back while a batch is under way.
//! - [`gated_client`]: one librdkafka client with its polling thread and its gate.
//! - [`linger`]: whether batches wait for more records.
//! - [`reports`]: wakes that thread.
//! - [`lane`]: a client that is replaced when it is dead.
//! - [`mod@batch_size`]: which topics need a client with smaller batches.

mod batch_size;
pub mod delivery;
mod gate;
mod gated_client;
mod lane;
pub mod linger;
pub mod outgoing;
mod reports;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};

use self::batch_size::batch_size;
use self::delivery::not_sent;
pub use self::delivery::{Context, Delivered, DeliveryListener, Undelivered};
use self::gated_client::Feed;
use self::lane::Lane;
use crate::kafka::client::properties;
use crate::kafka::cluster::admin::{TopicAdmin, TopicError};
use crate::kafka::cluster::describe::{self, Answer};
use crate::kafka::cluster::health::Probe;
use crate::kafka::cluster::questions::Questions;
use crate::kafka::config::Purpose;
use crate::kafka::producer::outgoing::Outgoing;
use crate::wire::Record;
use crate::wire::dead_letter::DeadLetter;

/// A producer that can be shared. Most topics share one client; topics that take only small batches have further ones.
pub struct Producer<L: DeliveryListener> {
    config: ClientConfig,
    listener: Arc<L>,
    shared: Lane<L>,
    small: ArcSwap<SmallLanes<L>>,
}

/// The clients with smaller batches. Once started they stay: there are nine at most.
struct SmallLanes<L: DeliveryListener> {
    by_batch_size: BTreeMap<usize, Arc<Lane<L>>>,
    by_topic: HashMap<Arc<str>, Arc<Lane<L>>>,
}

impl<L: DeliveryListener> Clone for SmallLanes<L> {
    fn clone(&self) -> Self {
        SmallLanes {
            by_batch_size: self.by_batch_size.clone(),
            by_topic: self.by_topic.clone(),
        }
    }
}

impl<L: DeliveryListener> Producer<L> {
    /// Starts a client and its polling thread.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn new(config: ClientConfig, listener: L) -> Result<Self, KafkaError> {
        let listener = Arc::new(listener);
        Ok(Producer {
            shared: Lane::start(config.clone(), listener.clone())?,
            config,
            listener,
            small: ArcSwap::from_pointee(SmallLanes {
                by_batch_size: BTreeMap::new(),
                by_topic: HashMap::new(),
            }),
        })
    }

    /// Queues a record; never blocks. `partition` `None`: by key, else any. The listener hears the outcome in any case, also when nothing was
    /// sent: the queue is full, the record is too large, the topic or partition is not known, or the client is dead (`heal` replaces it
    /// within a second).
    pub fn send(&self, topic: &str, partition: Option<i32>, record: &Record, ticket: L::Ticket) {
        self.queue(topic, Outgoing::record(topic, partition, record, ticket));
    }

    /// `send` for a record whose header names and nulls are kept as they were read.
    pub fn send_dead_letter(&self, topic: &str, letter: &DeadLetter, ticket: L::Ticket) {
        self.queue(topic, Outgoing::dead_letter(topic, letter, ticket));
    }

    fn queue(&self, topic: &str, record: Result<Outgoing<L::Ticket>, L::Ticket>) {
        match record {
            Ok(record) => {
                let small = self.small.load();
                small
                    .by_topic
                    .get(topic)
                    .map_or(&self.shared, |lane| &**lane)
                    .send(record);
            }
            Err(ticket) => self
                .listener
                .delivered(ticket, not_sent(RDKafkaErrorCode::UnknownTopic)),
        }
    }

    /// Kafka takes nothing of what is under way, be it well otherwise: a broker that hangs answers nobody, and what others take waits for it
    /// as well, until they count it out. Then nothing is heard of other processes either.
    pub fn is_stuck(&self) -> bool {
        self.shared.is_stuck() || self.small.load().by_batch_size.values().any(|lane| lane.is_stuck())
    }

    /// Asks the cluster with the shared client. Blocks.
    ///
    /// # Errors
    /// See `Probe::ask`.
    pub fn probe(&self, probe: &mut Probe) -> KafkaResult<()> {
        probe.ask(self.client().client())
    }

    /// Asks for the offset one past a partition's last. Blocks.
    ///
    /// # Errors
    /// Kafka did not answer within `timeout`.
    pub fn end(&self, topic: &str, partition: i32, timeout: Duration) -> KafkaResult<i64> {
        self.watermarks(topic, partition, timeout).map(|(_, end)| end)
    }

    /// The shared client, as it is now.
    pub fn client(&self) -> Arc<BaseProducer<Context<Feed<L>>>> {
        self.shared.client().client.clone()
    }

    /// The largest record it sends, in bytes.
    pub fn max_record(&self) -> usize {
        properties::max_record(&self.config)
    }

    /// Replaces clients that met a fatal error; the records they held are reported as failed. Blocks for half a second then. Called by one
    /// thread, again and again.
    pub fn heal(&self) {
        self.shared.heal();
        self.small.load().by_batch_size.values().for_each(|lane| lane.heal());
    }

    /// Why nothing can be sent: the fatal error that a client has met, or that Kafka refused its predecessor with. `heal` replaces such
    /// clients, so a right that is granted is noticed.
    pub fn refusal(&self) -> Option<RDKafkaErrorCode> {
        let small = self.small.load();
        let of_small = || small.by_batch_size.values().find_map(|lane| lane.refusal());
        self.shared.refusal().or_else(of_small)
    }

    /// From now on, batches for this topic have at most `limit` bytes. A topic that takes less than the shared client sends gets another
    /// client, and one that takes more again goes back. Records of the topic that are on their way are not waited for: a record sent now
    /// may overtake them. Blocks while a client starts.
    pub fn limit_batches(&self, topic: &str, limit: usize) {
        let lane = match batch_size(limit, properties::max_batch(&self.config)).map(|size| self.lane(size)) {
            None => None,
            Some(Ok(lane)) => Some(lane),
            Some(Err(error)) => {
                return tracing::error!(topic, limit, %error, "no client for smaller batches: under load Kafka refuses this topic's batches");
            }
        };
        if lane.is_some() {
            tracing::info!(
                topic,
                limit,
                "this topic takes only small batches (max.message.bytes): it gets a client with smaller ones"
            );
        }
        let topic: Arc<str> = Arc::from(topic);
        self.small.rcu(|small| {
            let mut small = (**small).clone();
            match &lane {
                Some(lane) => small.by_topic.insert(topic.clone(), lane.clone()),
                None => small.by_topic.remove(&topic),
            };
            small
        });
    }

    /// The client with batches of this size; starts it if there is none.
    fn lane(&self, batch_size: usize) -> KafkaResult<Arc<Lane<L>>> {
        if let Some(lane) = self.small.load().by_batch_size.get(&batch_size) {
            return Ok(lane.clone());
        }
        let config = properties::with_max_batch(&self.config, batch_size);
        let fresh = Arc::new(Lane::start(config, self.listener.clone())?);
        // Another thread may have started one meanwhile: then that one is used, and ours is dropped before it had a record.
        let mut lane = fresh.clone();
        self.small.rcu(|small| {
            let mut small = (**small).clone();
            lane = small.by_batch_size.entry(batch_size).or_insert(fresh.clone()).clone();
            small
        });
        Ok(lane)
    }

    /// Records queued or under way.
    pub fn queued(&self) -> usize {
        let small = self.small.load();
        self.shared.queued() + small.by_batch_size.values().map(|lane| lane.queued()).sum::<usize>()
    }

    /// Waits until all is delivered; false when `timeout` passed first. Blocks.
    pub fn flush(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let small = self.small.load_full();
        let flushed = self.shared.flush(until);
        small
            .by_batch_size
            .values()
            .fold(flushed, |flushed, lane| lane.flush(until) && flushed)
    }
}

/// Asked with the shared client.
impl<L: DeliveryListener> Questions for Producer<L> {
    fn ensure(&self, admin: &TopicAdmin, topic: &str, purpose: Purpose, may_create: bool) -> Result<i32, TopicError> {
        admin.ensure(self.client().client(), topic, purpose, may_create)
    }

    fn describe<'a>(&self, topics: &[&'a str]) -> KafkaResult<HashMap<&'a str, Answer>> {
        describe::topics(self.client().client(), topics.iter().copied())
    }

    fn watermarks(&self, topic: &str, partition: i32, timeout: Duration) -> KafkaResult<(i64, i64)> {
        self.client().client().fetch_watermarks(topic, partition, timeout)
    }
}
