//! A consumer of whole topics, or of partitions of them: no group, partitions assigned by hand at numeric offsets, read by a thread of its
//! own. A proxy reads reply topics so, and a processor control topics.
//!
//! - [`reader`]: the thread, which reads records and hands over those that a selection takes, in batches.
//! - [`own_replies`]: the selection of a proxy, the replies to it.
//! - [`open_topic`]: a reply topic that is being read, and what can happen to it.
//! - [`assignment`]: which partitions the consumer reads; adds and removes them.
//! - [`others`]: the partitions of a topic that are read only while a reply is searched for.
//!
//! Opening and checking a topic block for seconds. So they are called from blocking tasks, beside the thread, on the same consumer.

mod assignment;
mod open_topic;
mod others;
mod own_replies;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset};
use tokio::sync::mpsc;

pub use self::open_topic::choose;
use self::open_topic::is_same_by_description;
pub use self::open_topic::{OpenTopic, TopicChange};
pub use self::own_replies::{OwnReplies, ReplyRecord, StrangerCounters};
use self::reader::Reader;
pub use self::reader::Selection;
use crate::kafka::client::context::LogOnly;
use crate::kafka::cluster::admin::{TopicAdmin, TopicError};
use crate::kafka::cluster::describe::{self, Found};
use crate::kafka::cluster::questions::Questions;
use crate::kafka::codes::CodeClass;
use crate::kafka::config::{Purpose, ReplyPartition};
use crate::kafka::fetch_queue::FetchQueue;

/// Batches on their way to the router. The thread waits when the router is that far behind.
const BATCHES_UNDER_WAY: usize = 16;
/// One question about a partition's first and last offset may take this long.
const WATERMARK_TIMEOUT: Duration = Duration::from_secs(5);
/// How often that question is asked while the partition has no leader, as for a moment after its topic was created.
const WATERMARK_TRIES: u32 = 20;
/// How often the reader is looked at that is waited for.
const END_TURN: Duration = Duration::from_millis(50);

/// The consumer, on which topics are opened and checked. Clones share it; the last one dropped ends the reading thread.
#[derive(Clone)]
pub struct ReplyStream(Arc<Shared>);

struct Shared {
    /// Every partition's records come here.
    fetched: Arc<FetchQueue<LogOnly>>,
    consumer: Arc<BaseConsumer<LogOnly>>,
    /// Asks about topics, since the consumer's own connections are busy with fetches.
    questions: Arc<dyn Questions>,
    admin: TopicAdmin,
    /// What topics are created for.
    purpose: Purpose,
    /// Which partitions of a topic are read.
    choice: Box<dyn Fn(&str) -> ReplyPartition + Send + Sync>,
    /// Chooses the partition under `auto`.
    ordinal: u32,
    from_start: bool,
    stop: Arc<AtomicBool>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The records that a selection takes, in batches.
pub type Batches<S> = mpsc::Receiver<Vec<<S as Selection>::Item>>;

impl ReplyStream {
    /// Starts the consumer and its thread. `questions` asks about topics. What `selection` does not take is dropped.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn start<S: Selection>(
        config: &ClientConfig,
        questions: Arc<dyn Questions>,
        admin: TopicAdmin,
        choice: impl Fn(&str) -> ReplyPartition + Send + Sync + 'static,
        ordinal: u32,
        selection: S,
    ) -> Result<(Self, Batches<S>), KafkaError> {
        let consumer = Arc::new(BaseConsumer::from_config_and_context(config, LogOnly)?);
        let fetched = Arc::new(FetchQueue::new(consumer.clone()));
        let (batches, receiver) = mpsc::channel(BATCHES_UNDER_WAY);
        let stop = Arc::new(AtomicBool::new(false));
        let reader = Reader {
            consumer: consumer.clone(),
            stop: stop.clone(),
            selection,
            fetched: fetched.clone(),
            detours: HashMap::new(),
        };
        std::thread::Builder::new()
            .name(S::THREAD.into())
            .spawn(move || reader.run(&batches))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok((
            ReplyStream(Arc::new(Shared {
                fetched,
                consumer,
                questions,
                admin,
                purpose: S::PURPOSE,
                choice: Box::new(choice),
                ordinal,
                from_start: S::FROM_START,
                stop,
            })),
            receiver,
        ))
    }

    /// Makes sure that the topic exists, resolves positions to numbers and starts to read there: a record produced after this returns
    /// is never skipped. Blocks.
    ///
    /// # Errors
    /// See `TopicAdmin::ensure`; `Denied` also where the topic may not be read.
    pub fn open(&self, name: &Arc<str>, may_create: bool) -> Result<OpenTopic, TopicError> {
        let shared = &self.0;
        let partitions = shared
            .questions
            .ensure(&shared.admin, name, shared.purpose, may_create)?;
        // The identity is asked for before the positions: if the topic is recreated in between, the next check sees another identity.
        let described = self
            .describe([&**name])
            .ok()
            .and_then(|mut found| found.remove(&**name));
        let known = described.and_then(|answer| answer.ok().flatten());
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
            writable: true,
        };
        let pick = match shared.from_start {
            true => |(low, _high)| low,
            false => |(_low, high)| high,
        };
        let topic = self.position(name, found, (shared.choice)(name), pick)?;
        // Partitions left assigned from an earlier opening would make librdkafka refuse the assignment.
        self.unassign(name);
        self.assign(name, &topic.partitions)?;
        Ok(topic)
    }

    /// Reads a topic no more. Blocks.
    pub fn close(&self, name: &str) {
        self.unassign(name);
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

    /// `TopicAdmin::ensure` for a topic that is written to, with the producer's client; describes the topic, where Kafka does. Blocks.
    ///
    /// # Errors
    /// See there.
    pub fn ensure<C: rdkafka::ClientContext>(
        &self,
        client: &rdkafka::client::Client<C>,
        name: &str,
        purpose: Purpose,
        may_create: bool,
    ) -> Result<Option<Found>, TopicError> {
        self.0.admin.ensure(client, name, purpose, may_create)?;
        Ok(describe::topic(client, name))
    }

    /// Whether everything of a partition was read that was there when this was called, within `patience`. False also where Kafka does not
    /// tell. Blocks.
    pub fn is_at_end(&self, name: &str, partition: i32, patience: Duration) -> bool {
        self.reads_to_end(name, (partition, i64::MAX), patience)
    }

    /// The same for all partitions of an open topic.
    pub fn is_at_all_ends(&self, topic: &OpenTopic, patience: Duration) -> bool {
        let mut partitions = topic.partitions.iter();
        partitions.all(|partition| self.reads_to_end(&topic.name, *partition, patience))
    }

    /// How many offsets lie between where an open topic began to be read and its end. Blocks.
    ///
    /// # Errors
    /// Kafka did not answer.
    pub fn length(&self, topic: &OpenTopic) -> Result<i64, TopicError> {
        let partitions = topic.partitions.iter();
        let lengths = partitions.map(|(number, start)| Ok(self.watermarks(&topic.name, *number)?.1 - start));
        lengths.sum()
    }

    /// `start`: where the partition began to be read. There is no position before the first record.
    fn reads_to_end(&self, name: &str, (partition, start): (i32, i64), patience: Duration) -> bool {
        let Ok((_, end)) = self.0.questions.watermarks(name, partition, WATERMARK_TIMEOUT) else {
            return false;
        };
        let is_there = || {
            let positions = self.0.consumer.position().ok()?;
            match positions.find_partition(name, partition)?.offset() {
                Offset::Offset(next) => Some(next >= end),
                _ if start == i64::MAX => None,
                _ => Some(start >= end),
            }
        };
        let until = Instant::now() + patience;
        loop {
            match is_there() {
                Some(true) => return true,
                Some(false) if Instant::now() < until => std::thread::sleep(END_TURN),
                _ => return false,
            }
        }
    }

    /// Describes these topics. Blocks.
    ///
    /// # Errors
    /// Kafka did not answer: nothing is known.
    pub fn describe<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<HashMap<&'a str, describe::Answer>, KafkaError> {
        self.0.questions.describe(&names.into_iter().collect::<Vec<_>>())
    }

    /// Asks what Kafka has now, and compares an open topic with it. Blocks.
    ///
    /// # Errors
    /// As `check`.
    pub fn check_now(&self, open: &OpenTopic, missing_before: bool) -> Result<Option<TopicChange>, TopicError> {
        let failed = |error| unreachable(&open.name, error);
        let answer = self.describe([&*open.name]).map_err(failed)?.remove(&*open.name);
        self.check(open, answer.transpose().map_err(failed)?.flatten(), missing_before)
    }

    /// Compares an open topic with `now`, its present description. A missing topic is given up only if it was `missing_before`: a broker
    /// that has just started may not know its topics yet. Blocks.
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

    /// Compares descriptions. Where they do not decide, positions beyond the end of the log show that it is another topic.
    fn is_the_same(&self, topic: &OpenTopic, now: Found) -> Result<bool, TopicError> {
        if let Some(same) = is_same_by_description(topic, now) {
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

    /// Reads a recreated topic from its start, since all its records are new to us. The positions are resolved before the old assignment is
    /// removed, and a failure after that counts as a deletion: so a topic that counts as open is always read.
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
            match self.0.questions.watermarks(name, partition, WATERMARK_TIMEOUT) {
                Ok(watermarks) => return Ok(watermarks),
                Err(error) if tries < WATERMARK_TRIES && CodeClass::of(&error).may_settle() => {
                    tries += 1;
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(error) => return Err(unreachable(name, error)),
            }
        }
    }
}

fn unreachable(name: &str, source: KafkaError) -> TopicError {
    TopicError::Unreachable {
        topic: name.into(),
        source,
    }
}
