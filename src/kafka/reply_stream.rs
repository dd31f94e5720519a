//! The proxy's consumer of reply topics: no group, partitions assigned by hand at numeric offsets, read by a thread of its own.
//!
//! The thread drains librdkafka in batches and hands each batch over as one item; opening a topic and looking after it block for
//! seconds, so they are called from blocking tasks, beside the thread, on the same consumer.

mod reader;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::{IntCounter, IntGauge};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use self::reader::Reader;
use crate::kafka::admin::{self, TopicAdmin, TopicError};
use crate::kafka::client_context::LogOnly;
use crate::settings::ReplyPartition;
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
    /// Each with the offset it was positioned at.
    pub partitions: Vec<(i32, i64)>,
    /// What requests name in `kafka_replyPartition`; `None`: any partition will do.
    pub named_partition: Option<i32>,
}

/// What looking after an open topic found.
#[derive(Debug)]
pub enum TopicChange {
    /// It has partitions that were not read yet; now they are.
    Grown(OpenTopic),
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
    /// 1 while Kafka refuses to let us read replies.
    pub denied: IntGauge,
}

/// The consumer, to open and look after topics on. Clones share it; the last one dropped ends the reading thread.
#[derive(Clone)]
pub struct ReplyStream(Arc<Shared>);

struct Shared {
    consumer: Arc<BaseConsumer<LogOnly>>,
    admin: TopicAdmin,
    choice: ReplyPartition,
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
        choice: ReplyPartition,
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
                choice,
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
    /// See `TopicAdmin::ensure`.
    pub fn open(&self, name: &Arc<str>, may_create: bool) -> Result<OpenTopic, TopicError> {
        let shared = &self.0;
        let count = shared.admin.ensure(shared.consumer.client(), name, may_create)?;
        let topic = self.position(name, count, |(_low, high)| high)?;
        self.assign(name, &topic.partitions)?;
        Ok(topic)
    }

    /// The partitions this instance reads, each at the watermark that `pick` takes; nothing is assigned yet.
    fn position(&self, name: &Arc<str>, count: i32, pick: fn((i64, i64)) -> i64) -> Result<OpenTopic, TopicError> {
        let (numbers, named_partition) = choose(self.0.choice, self.0.ordinal, count);
        let at = |number| {
            self.watermarks(name, number)
                .map(|watermarks| (number, pick(watermarks)))
        };
        Ok(OpenTopic {
            name: name.clone(),
            partitions: numbers.into_iter().map(at).collect::<Result<_, _>>()?,
            named_partition,
        })
    }

    /// `TopicAdmin::ensure` for a request topic, with the producer's client.
    ///
    /// # Errors
    /// See there.
    pub fn ensure<C: rdkafka::ClientContext>(
        &self,
        client: &rdkafka::client::Client<C>,
        name: &str,
        may_create: bool,
    ) -> Result<i32, TopicError> {
        self.0.admin.ensure(client, name, may_create)
    }

    /// Whether a request topic is still there. Blocks.
    ///
    /// # Errors
    /// Kafka did not answer: nothing is known.
    pub fn exists(&self, name: &str) -> Result<bool, TopicError> {
        Ok(admin::describe(self.0.consumer.client(), name)?.is_some())
    }

    /// Looks whether the topic is still the one that was opened. One that is missing is given up only if `missing_before`: a broker that
    /// has just come back may not know its topics yet. Blocks.
    ///
    /// # Errors
    /// Kafka did not answer: nothing is known.
    pub fn check(&self, topic: &OpenTopic, missing_before: bool) -> Result<Option<TopicChange>, TopicError> {
        let consumer = &self.0.consumer;
        let Some(now) = admin::describe(consumer.client(), &topic.name)? else {
            if !missing_before {
                return Ok(Some(TopicChange::Missing(topic.name.clone())));
            }
            self.unassign(topic);
            return Ok(Some(TopicChange::Deleted(topic.name.clone())));
        };
        let positions = consumer.position().map_err(|error| unreachable(&topic.name, error))?;
        for &(number, start) in &topic.partitions {
            let position = match positions
                .find_partition(&topic.name, number)
                .map(|found| found.offset())
            {
                Some(Offset::Offset(next)) => next,
                _ => start,
            };
            if number >= now.partitions || self.watermarks(&topic.name, number)?.1 < position {
                return self.reopen_at_low(topic, now.partitions).map(Some);
            }
        }
        if self.0.choice == ReplyPartition::All && now.partitions > topic.partitions.len() as i32 {
            let mut grown = topic.clone();
            for number in topic.partitions.len() as i32..now.partitions {
                grown.partitions.push((number, self.watermarks(&topic.name, number)?.0));
            }
            self.assign(&topic.name, &grown.partitions[topic.partitions.len()..])?;
            return Ok(Some(TopicChange::Grown(grown)));
        }
        Ok(None)
    }

    /// Everything in a recreated topic was produced after what we knew: read it from the start. Whatever can fail comes before the old
    /// assignment is let go, or ends as a deletion: a topic that counts as open is read.
    fn reopen_at_low(&self, old: &OpenTopic, count: i32) -> Result<TopicChange, TopicError> {
        let topic = self.position(&old.name, count, |(low, _high)| low)?;
        self.unassign(old);
        if let Err(error) = self.assign(&topic.name, &topic.partitions) {
            tracing::debug!(%error, "recreated reply topic not assigned");
            return Ok(TopicChange::Deleted(topic.name));
        }
        Ok(TopicChange::Recreated(topic))
    }

    /// Adds to the assignment; `assign` of a longer list would restart every other partition.
    fn assign(&self, name: &str, partitions: &[(i32, i64)]) -> Result<(), TopicError> {
        let list = list(name, partitions)?;
        self.0
            .consumer
            .incremental_assign(&list)
            .map_err(|error| unreachable(name, error))
    }

    /// Err: it was not assigned any more, which is what is wanted.
    fn unassign(&self, topic: &OpenTopic) {
        let done = list(&topic.name, &topic.partitions).and_then(|list| {
            self.0
                .consumer
                .incremental_unassign(&list)
                .map_err(|error| unreachable(&topic.name, error))
        });
        if let Err(error) = done {
            tracing::debug!(%error, "reply topic not unassigned");
        }
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

fn list(name: &str, partitions: &[(i32, i64)]) -> Result<TopicPartitionList, TopicError> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for &(number, offset) in partitions {
        list.add_partition_offset(name, number, Offset::Offset(offset))
            .map_err(|error| unreachable(name, error))?;
    }
    Ok(list)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_chosen_by_ordinal_and_named_in_requests() {
        assert_eq!(choose(ReplyPartition::Auto, 14, 12), (vec![2], Some(2)));
        assert_eq!(choose(ReplyPartition::Number(13), 0, 12), (vec![1], Some(1)));
        assert_eq!(choose(ReplyPartition::All, 5, 3), (vec![0, 1, 2], None));
    }
}
