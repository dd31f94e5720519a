//! The proxy's consumer of reply topics: no group, partitions assigned by hand at numeric offsets, read by a thread of its own.
//!
//! The thread drains librdkafka in batches and hands each batch over as one item; opening a topic and looking after it block for
//! seconds, so they are called from blocking tasks, beside the thread, on the same consumer.

mod assignment;
mod others;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::IntCounter;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset};
use tokio::sync::mpsc;

use self::reader::Reader;
use crate::kafka::client::context::LogOnly;
use crate::kafka::cluster::admin::{TopicAdmin, TopicError};
use crate::kafka::cluster::describe::{self, Found, TopicId};
use crate::kafka::config::ReplyPartition;
use crate::wire::{CorrelationId, RawRecord};

/// Batches on the way to the router; the thread waits when it is that far behind.
const BATCHES_UNDER_WAY: usize = 16;
const WATERMARK_TIMEOUT: Duration = Duration::from_secs(5);
/// A leader can be unknown for a moment after a topic is created.
const WATERMARK_TRIES: u32 = 20;
/// A reply to a request of this instance.
#[derive(Debug)]
pub struct ReplyRecord {
    pub id: CorrelationId,
    pub record: RawRecord,
}

/// A reply topic that is being read.
#[derive(Debug, Clone)]
pub struct OpenTopic {
    pub name: Arc<str>,
    id: Option<TopicId>,
    /// The setting's, or `All` once a replier turned out to ignore the partition that requests name.
    choice: ReplyPartition,
    /// Each with the offset it was positioned at.
    pub partitions: Vec<(i32, i64)>,
    /// What requests name in `kafka_replyPartition`; `None`: any partition will do.
    pub named_partition: Option<i32>,
}

impl OpenTopic {
    /// Has it partitions that are not read, because requests name one?
    pub fn leaves_others_out(&self) -> bool {
        self.choice != ReplyPartition::All
    }

    /// Is this one of the partitions that are read for good?
    pub fn reads(&self, partition: i32) -> bool {
        self.partitions.iter().any(|(number, _)| *number == partition)
    }

    /// From now on, another topic of that name is told by this.
    pub fn identify(&mut self, id: TopicId) {
        self.id = Some(id);
    }

    /// The topic with these others read for good, too; requests no longer name a partition.
    pub fn with(mut self, others: Vec<(i32, i64)>) -> Self {
        self.choice = ReplyPartition::All;
        self.named_partition = None;
        self.partitions.extend(others);
        self.partitions.sort_unstable();
        self
    }
}

/// What looking after an open topic found.
#[derive(Debug)]
pub enum TopicChange {
    /// It has partitions that were not read yet; now they are.
    Grown(OpenTopic),
    /// Its identity could not be had when it was opened.
    Identified(Arc<str>, TopicId),
    /// It was deleted and created again: replies under way in the old one are gone.
    Recreated(OpenTopic),
    /// Kafka does not know it, for the first time.
    Missing(Arc<str>),
    /// It is gone.
    Deleted(Arc<str>),
}

/// Counts of replies that are not ours to give.
#[derive(Clone)]
pub struct StrangerCounters {
    /// Another instance's: normal where a partition is shared.
    pub foreign: IntCounter,
    /// Without a readable correlation id.
    pub unmatched: IntCounter,
}

/// The consumer, to open and look after topics on. Clones share it; the last one dropped ends the reading thread.
#[derive(Clone)]
pub struct ReplyStream(Arc<Shared>);

struct Shared {
    consumer: Arc<BaseConsumer<LogOnly>>,
    admin: TopicAdmin,
    /// Which partitions of a topic are read.
    choice: Box<dyn Fn(&str) -> ReplyPartition + Send + Sync>,
    /// Chooses the partition under `auto`.
    ordinal: u32,
    stop: Arc<AtomicBool>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl ReplyStream {
    /// Starts the consumer and its thread. Replies whose id does not carry `tag` are counted and dropped.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn start(
        config: &ClientConfig,
        admin: TopicAdmin,
        choice: impl Fn(&str) -> ReplyPartition + Send + Sync + 'static,
        ordinal: u32,
        tag: u16,
        strangers: StrangerCounters,
    ) -> Result<(Self, mpsc::Receiver<Vec<ReplyRecord>>), KafkaError> {
        let consumer = Arc::new(BaseConsumer::from_config_and_context(config, LogOnly)?);
        let (batches, receiver) = mpsc::channel(BATCHES_UNDER_WAY);
        let stop = Arc::new(AtomicBool::new(false));
        let reader = Reader {
            consumer: consumer.clone(),
            stop: stop.clone(),
            tag,
            strangers,
            topic: Arc::from(""),
        };
        std::thread::Builder::new()
            .name("khp-replies".into())
            .spawn(move || reader.run(&batches))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok((
            ReplyStream(Arc::new(Shared {
                consumer,
                admin,
                choice: Box::new(choice),
                ordinal,
                stop,
            })),
            receiver,
        ))
    }

    /// Makes sure that the topic exists, resolves positions to numbers and starts to read there: a reply produced after this returns
    /// is never skipped. Blocks.
    ///
    /// # Errors
    /// See `TopicAdmin::ensure`; `Denied` also where the topic may not be read.
    pub fn open(&self, name: &Arc<str>, may_create: bool) -> Result<OpenTopic, TopicError> {
        let shared = &self.0;
        let partitions = shared.admin.ensure(shared.consumer.client(), name, may_create)?;
        // Before the positions: if it is recreated in between, the next look sees another one.
        let known = describe::topic(shared.consumer.client(), name);
        if known.is_some_and(|known| !known.readable) {
            return Err(TopicError::Denied {
                topic: (**name).into(),
                code: RDKafkaErrorCode::TopicAuthorizationFailed,
            });
        }
        let found = Found {
            id: known.and_then(|known| known.id),
            partitions,
            readable: true,
        };
        let topic = self.position(name, found, (shared.choice)(name), |(_low, high)| high)?;
        // What is left of an earlier one would be refused a second time.
        self.unassign(name);
        self.assign(name, &topic.partitions)?;
        Ok(topic)
    }

    /// The partitions this instance reads, each at the watermark that `pick` takes; nothing is assigned yet.
    fn position(
        &self,
        name: &Arc<str>,
        found: Found,
        choice: ReplyPartition,
        pick: fn((i64, i64)) -> i64,
    ) -> Result<OpenTopic, TopicError> {
        let (numbers, named_partition) = choose(choice, self.0.ordinal, found.partitions);
        let at = |number| {
            self.watermarks(name, number)
                .map(|watermarks| (number, pick(watermarks)))
        };
        Ok(OpenTopic {
            name: name.clone(),
            id: found.id,
            choice,
            partitions: numbers.into_iter().map(at).collect::<Result<_, _>>()?,
            named_partition,
        })
    }

    /// `TopicAdmin::ensure` for a request topic, with the producer's client; returns the topic's identity. Blocks.
    ///
    /// # Errors
    /// See there.
    pub fn ensure<C: rdkafka::ClientContext>(
        &self,
        client: &rdkafka::client::Client<C>,
        name: &str,
        may_create: bool,
    ) -> Result<Option<TopicId>, TopicError> {
        self.0.admin.ensure(client, name, may_create)?;
        Ok(describe::topic(client, name).and_then(|found| found.id))
    }

    /// What the cluster says of these topics. Blocks.
    ///
    /// # Errors
    /// Kafka did not answer: nothing is known.
    pub fn look<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<HashMap<&'a str, describe::Topic>, KafkaError> {
        describe::topics(self.0.consumer.client(), names)
    }

    /// Compares a topic that was opened with what `look` found of it now. One that is missing is given up only if `missing_before`: a
    /// broker that has just come back may not know its topics yet. Blocks.
    ///
    /// # Errors
    /// Kafka did not answer: nothing is known.
    pub fn check(
        &self,
        topic: &OpenTopic,
        now: Option<Found>,
        missing_before: bool,
    ) -> Result<Option<TopicChange>, TopicError> {
        let Some(now) = now else {
            if !missing_before {
                return Ok(Some(TopicChange::Missing(topic.name.clone())));
            }
            self.unassign(&topic.name);
            return Ok(Some(TopicChange::Deleted(topic.name.clone())));
        };
        if !self.is_the_same(topic, now)? {
            return self.reopen_at_low(topic, now).map(Some);
        }
        if topic.choice == ReplyPartition::All && now.partitions > topic.partitions.len() as i32 {
            let mut grown = topic.clone();
            grown.id = topic.id.or(now.id);
            for number in topic.partitions.len() as i32..now.partitions {
                grown.partitions.push((number, self.watermarks(&topic.name, number)?.0));
            }
            self.assign(&topic.name, &grown.partitions[topic.partitions.len()..])?;
            return Ok(Some(TopicChange::Grown(grown)));
        }
        let learned = now.id.filter(|_| topic.id.is_none());
        Ok(learned.map(|id| TopicChange::Identified(topic.name.clone(), id)))
    }

    /// Told by its description; where that does not tell, by positions that lie behind the end of the log.
    fn is_the_same(&self, topic: &OpenTopic, now: Found) -> Result<bool, TopicError> {
        if let Some(same) = told_by_description(topic, now) {
            return Ok(same);
        }
        let positions = self
            .0
            .consumer
            .position()
            .map_err(|error| unreachable(&topic.name, error))?;
        for &(number, start) in &topic.partitions {
            let position = match positions
                .find_partition(&topic.name, number)
                .map(|found| found.offset())
            {
                Some(Offset::Offset(next)) => next,
                _ => start,
            };
            if self.watermarks(&topic.name, number)?.1 < position {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Everything in a recreated topic was produced after what we knew: read it from the start. Whatever can fail comes before the old
    /// assignment is let go, or ends as a deletion: a topic that counts as open is read.
    fn reopen_at_low(&self, old: &OpenTopic, now: Found) -> Result<TopicChange, TopicError> {
        let topic = self.position(&old.name, now, old.choice, |(low, _high)| low)?;
        self.unassign(&old.name);
        if let Err(error) = self.assign(&topic.name, &topic.partitions) {
            tracing::debug!(%error, "recreated reply topic not assigned");
            return Ok(TopicChange::Deleted(topic.name));
        }
        Ok(TopicChange::Recreated(topic))
    }

    fn watermarks(&self, name: &str, partition: i32) -> Result<(i64, i64), TopicError> {
        let mut tries = 0;
        loop {
            match self.0.consumer.fetch_watermarks(name, partition, WATERMARK_TIMEOUT) {
                Ok(watermarks) => return Ok(watermarks),
                Err(error) if tries < WATERMARK_TRIES && leader_is_moving(&error) => {
                    tries += 1;
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(error) => return Err(unreachable(name, error)),
            }
        }
    }
}

/// Whether a topic is the one that was opened. Its identity goes before its size: a broker that is behind the others may not have heard
/// of partitions that were added. `None`: neither tells.
fn told_by_description(topic: &OpenTopic, now: Found) -> Option<bool> {
    match (topic.id, now.id) {
        (Some(before), Some(now)) => Some(before == now),
        // A topic never has fewer than before.
        _ if topic.partitions.iter().any(|(number, _)| *number >= now.partitions) => Some(false),
        _ => None,
    }
}

fn unreachable(name: &str, source: KafkaError) -> TopicError {
    TopicError::Unreachable {
        topic: name.into(),
        source,
    }
}

fn leader_is_moving(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::UnknownPartition
                | Code::UnknownTopicOrPartition
        )
    )
}

/// The partitions to read and the one to name in requests.
fn choose(choice: ReplyPartition, ordinal: u32, count: i32) -> (Vec<i32>, Option<i32>) {
    let count = count.max(1);
    match choice {
        ReplyPartition::All => ((0..count).collect(), None),
        ReplyPartition::Auto => single((ordinal % count as u32) as i32),
        ReplyPartition::Number(number) => single(number.rem_euclid(count)),
    }
}

fn single(partition: i32) -> (Vec<i32>, Option<i32>) {
    (vec![partition], Some(partition))
}
