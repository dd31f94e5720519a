//! Reads the memory of a partition, before the first request with a key is decided there.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::Producer as _;
use tokio_util::sync::CancellationToken;

use crate::kafka::cluster::admin::{self, TopicAdmin, TopicError};
use crate::kafka::cluster::questions::Questions;
use crate::kafka::config::Purpose;
use crate::kafka::partitioner::partition_of;
use crate::kafka::producer::Producer;
use crate::kafka::record::Fetched;
use crate::processor::memory::index::{Entry, Index, KeyId};
use crate::processor::memory::reader::{Part, ReadError, read};
use crate::processor::memory::restores::Restores;
use crate::processor::record::outbox::Deliveries;
use crate::settings::Topic;
use crate::wire::idempotency::memory::{Mark, MarkReader};
use crate::wire::now_ms;

/// Between two tries to restore a partition.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// The same where all was read: reading it takes seconds, and nothing changes before an operator does something, or keys expire.
const TRY_AGAIN_WHEN_FULL: Duration = Duration::from_secs(60);
/// One question about a partition's ends may take this long.
const QUESTION: Duration = Duration::from_secs(5);

/// What was read.
pub struct Restored {
    pub index: Index,
    /// How many partitions the request topic has.
    pub partitions: i32,
}

/// Why a memory cannot be used yet. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("its reading panicked")]
    Panicked,
    #[error("topic {topic} cannot be read: {why}")]
    Unread { topic: Arc<str>, why: ReadError },
    #[error(
        "topic {topic} has {there} partitions, and {request_topic} has {needed}: keys have moved. Give it as many (kafka-topics.sh --alter --topic {topic} --partitions {needed})"
    )]
    TooFewPartitions {
        topic: Arc<str>,
        request_topic: Arc<str>,
        there: i32,
        needed: i32,
    },
    #[error(
        "partition {partition} of topic {topic} has more than {max} keys: raise max_idempotency_keys, or shorten idempotency_ttl"
    )]
    TooManyKeys {
        topic: Arc<str>,
        partition: i32,
        max: usize,
    },
}

impl RestoreError {
    /// It passes by itself, as a topic that was just created is not known everywhere.
    pub fn passes(&self) -> bool {
        match self {
            RestoreError::Topic(error) => error.passes(),
            RestoreError::Unread { why, .. } => why.passes(),
            RestoreError::Panicked | RestoreError::TooFewPartitions { .. } | RestoreError::TooManyKeys { .. } => false,
        }
    }

    /// How long to wait before the next try.
    pub fn try_again_after(&self) -> Duration {
        match self {
            RestoreError::TooManyKeys { .. } => TRY_AGAIN_WHEN_FULL,
            _ => TRY_AGAIN,
        }
    }
}

/// Reads the memory of one request topic.
pub struct Restorer {
    request_topic: Arc<str>,
    pub topic: Arc<str>,
    /// Where the bodies of answers go that are larger than a record.
    pub answers: Arc<str>,
    producer: Arc<Producer<Deliveries>>,
    admin: TopicAdmin,
    /// A consumer's.
    config: ClientConfig,
    /// How long a new topic keeps its records.
    kept: Duration,
    /// The same, of the topic of answers.
    answers_kept: Duration,
    max_keys: usize,
    /// Of the whole process.
    restores: Restores,
    /// With so many partitions, no key was found in another one than now. 0: that was not looked for.
    settled: AtomicI32,
}

impl Restorer {
    /// Of one topic. `config` is a consumer's.
    pub fn new(
        topic: &Topic,
        producer: &Arc<Producer<Deliveries>>,
        admin: &TopicAdmin,
        config: ClientConfig,
        restores: Restores,
    ) -> Self {
        Restorer {
            request_topic: Arc::from(topic.request_topic.as_str()),
            topic: Arc::from(topic.memory.topic.as_str()),
            answers: Arc::from(topic.memory.answers_topic.as_str()),
            producer: producer.clone(),
            admin: admin.clone(),
            config,
            kept: topic.memory.retention,
            answers_kept: topic.answers_kept(),
            max_keys: topic.memory.max_keys,
            restores,
            settled: AtomicI32::new(0),
        }
    }

    /// Reads what is known of the keys of a partition, as soon as there is a place. Dropped, it ends.
    ///
    /// # Errors
    /// The memory cannot be used yet.
    pub async fn restore(self: &Arc<Self>, partition: i32) -> Result<Restored, RestoreError> {
        let (restorer, dropped) = (self.clone(), CancellationToken::new());
        let _dropped = dropped.clone().drop_guard();
        let read = move || restorer.read(partition, || !dropped.is_cancelled());
        let read = self.restores.run(read).await.ok_or(RestoreError::Panicked)??;
        // None: never, somebody waits.
        read.ok_or(RestoreError::Panicked)
    }

    /// `None`: nobody wants to know any more. Blocks.
    fn read(&self, partition: i32, is_wanted: impl Fn() -> bool) -> Result<Option<Restored>, RestoreError> {
        let partitions = self.ensure()?;
        let mut index = Index::default();
        // Asked before anything is read: what lies behind that was written by this process.
        let own = self.part(partition)?;
        let mut is_full = false;
        let own_read = read(&self.config, &self.topic, &[own], &is_wanted, |fetched| {
            if let Some(mark) = mark_of(&fetched) {
                let entry = Entry::new(&mark, partition, fetched.offset());
                index.set(KeyId::of(&mark.key), entry, now_ms());
                is_full = index.len() > self.max_keys;
            }
            go_on(!is_full)
        });
        if !own_read.map_err(|why| self.unread(why))? {
            return Ok(None);
        }
        if !is_full && self.settled.load(Ordering::Acquire) != partitions {
            match self.moved(partition, partitions, &mut index, &is_wanted)? {
                None => return Ok(None),
                Some(0) => self.settled.store(partitions, Ordering::Release),
                Some(moved) => {
                    tracing::info!(topic = %self.topic, partition, moved, "keys moved here when partitions were added")
                }
            }
        }
        match is_full || index.len() > self.max_keys {
            true => Err(RestoreError::TooManyKeys {
                topic: self.topic.clone(),
                partition,
                max: self.max_keys,
            }),
            false => Ok(Some(Restored { index, partitions })),
        }
    }

    /// Keys that belong to this partition now, and lay in others when the request topic had fewer. What is known of them is older than what
    /// their new partition knows. Returns how many records of such a time there are.
    fn moved(
        &self,
        partition: i32,
        partitions: i32,
        index: &mut Index,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Option<usize>, RestoreError> {
        let others = (0..self.there()?).filter(|other| *other != partition);
        let others = others.map(|other| self.part(other)).collect::<Result<Vec<_>, _>>()?;
        let (mut found, mut older) = (0, Index::default());
        let done = read(&self.config, &self.topic, &others, is_wanted, |fetched| {
            let Some(mark) = mark_of(&fetched) else {
                return ControlFlow::Continue(());
            };
            // Partitions are only ever added: all that follows is of the present, too.
            if mark.partitions == partitions {
                return ControlFlow::Break(());
            }
            found += 1;
            if partition_of(&mark.key, partitions) == Some(partition) {
                let entry = Entry::new(&mark, fetched.partition(), fetched.offset());
                older.set(KeyId::of(&mark.key), entry, now_ms());
            }
            go_on(older.len() + index.len() <= self.max_keys)
        });
        let done = done.map_err(|why| self.unread(why))?;
        index.take_older(older, now_ms());
        Ok(done.then_some(found))
    }

    /// How many partitions the request topic has. The memory must have as many, and is created so where it is missing. Blocks.
    ///
    /// # Errors
    /// The memory cannot be used yet.
    pub fn ensure(&self) -> Result<i32, RestoreError> {
        let needed = self.needed()?;
        let there = self.ensure_topic(&self.topic, Purpose::Memory { kept: self.kept }, needed)?;
        match there < needed {
            false => Ok(needed),
            true => Err(RestoreError::TooFewPartitions {
                topic: self.topic.clone(),
                request_topic: self.request_topic.clone(),
                there,
                needed,
            }),
        }
    }

    /// How many partitions the topic of answers has. It is created as the memory is. Blocks.
    ///
    /// # Errors
    /// It cannot be used yet.
    pub fn ensure_answers(&self) -> Result<i32, RestoreError> {
        let purpose = Purpose::Answers {
            kept: self.answers_kept,
        };
        self.ensure_topic(&self.answers, purpose, self.needed()?)
    }

    fn ensure_topic(&self, topic: &str, purpose: Purpose, partitions: i32) -> Result<i32, RestoreError> {
        let admin = self.admin.with_partitions(partitions);
        Ok(admin.ensure(self.producer.client().client(), topic, purpose, true)?)
    }

    /// How many partitions the request topic has.
    fn needed(&self) -> Result<i32, RestoreError> {
        let found = admin::describe(self.producer.client().client(), &self.request_topic)?;
        let missing = || TopicError::Missing {
            topic: self.request_topic.to_string(),
        };
        Ok(found.map(|found| found.partitions).ok_or_else(missing)?)
    }

    fn there(&self) -> Result<i32, RestoreError> {
        let found = admin::describe(self.producer.client().client(), &self.topic)?;
        Ok(found.map_or(0, |found| found.partitions))
    }

    fn part(&self, partition: i32) -> Result<Part, RestoreError> {
        let found = self.producer.watermarks(&self.topic, partition, QUESTION);
        let (first, end) = found.map_err(|error| self.unread(error.into()))?;
        Ok(Part { partition, first, end })
    }

    fn unread(&self, why: ReadError) -> RestoreError {
        RestoreError::Unread {
            topic: self.topic.clone(),
            why,
        }
    }
}

fn mark_of(fetched: &Fetched<'_>) -> Option<Mark> {
    let mut reader = MarkReader::default();
    fetched.visit_headers(|name, value| reader.take(name, value));
    reader.finish(fetched.key())
}

fn go_on(further: bool) -> ControlFlow<()> {
    match further {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

    #[test]
    fn what_reads_all_in_vain_is_not_tried_each_second() {
        let topic: Arc<str> = "orders-idempotency".into();
        let full = RestoreError::TooManyKeys {
            topic: topic.clone(),
            partition: 3,
            max: 10,
        };
        assert_eq!(full.try_again_after(), Duration::from_secs(60));
        assert!(
            full.to_string()
                .ends_with("raise max_idempotency_keys, or shorten idempotency_ttl")
        );
        let unread = |why| RestoreError::Unread {
            topic: topic.clone(),
            why,
        };
        assert_eq!(unread(ReadError::Silent).try_again_after(), TRY_AGAIN);
        let of_code = |code| unread(KafkaError::MetadataFetch(code).into());
        assert!(of_code(Code::UnknownTopicOrPartition).passes() && of_code(Code::LeaderNotAvailable).passes());
        assert!(!of_code(Code::TopicAuthorizationFailed).passes() && !full.passes());
    }
}
