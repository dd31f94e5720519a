//! Finds out where intake begins in partitions that are assigned, before anything is taken in.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::commit_metadata::{CommitMetadata, DEFAULT_LIMIT};
use super::consumer::{GroupConsumer, add_commit, raw_metadata};
use super::done_set::DoneSet;
use super::handle::PumpHandle;
use super::plan::PumpPlan;
use super::positions::{Commit, Known, Position};
use super::rebalance::partitions_of;
use crate::kafka::cluster::describe::{self, TopicId};
use crate::kafka::config::Start;

/// One question to Kafka may take this long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries.
const RETRY: Duration = Duration::from_millis(200);
/// A broker that has just started, or has not heard of a new topic yet, denies it for a moment. For longer than this, it is gone.
const MAY_BE_UNKNOWN: Duration = Duration::from_secs(5);
/// How librdkafka's mock cluster begins its id (`rdkafka_mock.c`).
const MOCK: &str = "mockCluster";

/// What was found out for one assignment.
pub struct Positions {
    /// The topic that stood behind the name then. `None`: the brokers tell none.
    pub topic: Option<TopicId>,
    /// Before it was asked for.
    pub asked_at: Instant,
    pub positions: Vec<Position>,
}

/// Finds out where intake begins, on a thread of its own, since questions block.
pub struct Opening {
    list: TopicPartitionList,
    answers: Receiver<KafkaResult<Positions>>,
    /// Set by `end`.
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Opening {
    /// Begins to ask about the partitions of this assignment.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn begin(
        list: TopicPartitionList,
        consumer: Arc<GroupConsumer>,
        plan: &PumpPlan,
        handle: &PumpHandle,
    ) -> std::io::Result<Self> {
        let (sender, answers) = crossbeam_channel::unbounded();
        let ended = Arc::new(AtomicBool::new(false));
        let asked = Asked {
            partitions: partitions_of(&list).collect(),
            topic: plan.topic.clone(),
            start: plan.start,
            has_begun: plan.has_begun.clone(),
        };
        let (wake, end) = (handle.clone(), ended.clone());
        let thread = std::thread::Builder::new()
            .name("khp-positions".into())
            .spawn(move || asked.ask(consumer, &sender, &end, || wake.wake()))?;
        Ok(Opening {
            list,
            answers,
            ended,
            thread,
        })
    }

    /// What came so far: the positions, or an error after which they are asked for again.
    pub fn answer(&self) -> Option<KafkaResult<Positions>> {
        self.answers.try_recv().ok()
    }

    /// Waits until the thread has let go of the consumer, which may take as long as a question. Returns the assignment.
    pub fn end(self) -> TopicPartitionList {
        self.ended.store(true, Ordering::Release);
        // Err: it panicked, and has let go, too.
        let _ = self.thread.join();
        self.list
    }
}

/// What is asked, and of whom.
struct Asked {
    partitions: Vec<i32>,
    topic: Arc<str>,
    start: Start,
    has_begun: Arc<AtomicBool>,
}

impl Asked {
    /// Asks until it is known, or nobody wants to know.
    fn ask(
        &self,
        consumer: Arc<GroupConsumer>,
        answers: &Sender<KafkaResult<Positions>>,
        ended: &AtomicBool,
        wake: impl Fn(),
    ) {
        let began = Instant::now();
        let is_over = || ended.load(Ordering::Acquire);
        while !is_over() {
            let found = self.positions(&consumer, began.elapsed() > MAY_BE_UNKNOWN, is_over);
            let known = matches!(&found, Ok(Some(_)));
            // Err: the pump has ended.
            let sent = found.transpose().is_none_or(|found| answers.send(found).is_ok());
            wake();
            if known || !sent {
                return;
            }
            std::thread::sleep(RETRY);
        }
    }

    /// `None`: it cannot be known yet, or `is_over` says that nobody wants to know. Each question may take seconds, so it is asked between
    /// them. `may_be_gone`: a topic that no broker knows does not exist.
    fn positions(
        &self,
        consumer: &GroupConsumer,
        may_be_gone: bool,
        is_over: impl Fn() -> bool,
    ) -> KafkaResult<Option<Positions>> {
        let asked_at = Instant::now();
        let (topic, partitions) = match self.describe(consumer)? {
            Some(found) => found,
            None if may_be_gone => (None, 0),
            None => return Ok(None),
        };
        if is_over() {
            return Ok(None);
        }
        let commits = self.commits(consumer, partitions)?;
        if is_over() {
            return Ok(None);
        }
        let known = Known {
            start: self.start,
            has_begun: self.has_begun.load(Ordering::Acquire),
            topic,
            partitions,
            commits,
            ends: self.ends(consumer),
        };
        let positions = self.partitions.iter().map(|&partition| known.position(partition));
        let positions = match positions.collect::<Option<Vec<_>>>() {
            Some(positions) if !is_over() => positions,
            _ => return Ok(None),
        };
        self.commit(consumer, topic, &positions)?;
        Ok(Some(Positions {
            topic,
            asked_at,
            positions,
        }))
    }

    /// The topic's identity, where the brokers tell it, and its partition count. `None`: the broker that was asked does not know it.
    fn describe(&self, consumer: &GroupConsumer) -> KafkaResult<Option<(Option<TopicId>, i32)>> {
        match describe::topics(consumer.client(), [&*self.topic]) {
            Ok(found) => {
                let found = found.into_values().next().transpose()?.flatten();
                Ok(found.map(|found| (found.id, found.partitions)))
            }
            Err(error) if answers_no_descriptions(consumer, &error) => {
                let metadata = consumer.fetch_metadata(Some(&self.topic), PATIENCE)?;
                let known = metadata.topics().first().filter(|topic| topic.error().is_none());
                Ok(known.map(|topic| (None, topic.partitions().len() as i32)))
            }
            // Without its identity, a commit of a topic that was deleted would count for this one.
            Err(error) => Err(error),
        }
    }

    fn commits(&self, consumer: &GroupConsumer, partitions: i32) -> KafkaResult<HashMap<i32, Commit>> {
        let mut list = self.list(self.partitions.iter().copied());
        if self.start == Start::Latest {
            let others = (0..partitions).filter(|partition| !self.partitions.contains(partition));
            for partition in others {
                list.add_partition(&self.topic, partition);
            }
        }
        let list = consumer.committed_offsets(list, PATIENCE)?;
        let metadata = raw_metadata(&list);
        let mut commits = HashMap::new();
        for (element, metadata) in list.elements().iter().zip(metadata) {
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                let metadata = CommitMetadata::decode(offset, &metadata);
                commits.insert(element.partition(), Commit { offset, metadata });
            }
        }
        Ok(commits)
    }

    /// A partition without a leader has none: its records come later, and keep nobody waiting.
    fn ends(&self, consumer: &GroupConsumer) -> HashMap<i32, i64> {
        let mut list = self.list(self.partitions.iter().copied());
        // As a timestamp, the end stands for the end. Err: never, for a logical offset.
        let _ = list.set_all_offsets(Offset::End);
        let found = consumer.offsets_for_times(list, PATIENCE);
        let found = found
            .inspect_err(|error| tracing::debug!(topic = %self.topic, %error, "the partitions' ends are not known"));
        let elements = found.iter().flat_map(TopicPartitionList::elements);
        let end = |element: TopicPartitionListElem<'_>| match element.offset() {
            Offset::Offset(end) if element.error().is_ok() => Some((element.partition(), end)),
            _ => None,
        };
        elements.filter_map(end).collect()
    }

    /// Commits where the group begins. A broker that takes next to no metadata gets none.
    fn commit(&self, consumer: &GroupConsumer, topic: Option<TopicId>, positions: &[Position]) -> KafkaResult<()> {
        let commit = |limit| self.commit_within(limit, consumer, topic, positions);
        match commit(DEFAULT_LIMIT) {
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OffsetMetadataTooLarge) => commit(0),
            done => done,
        }
    }

    fn commit_within(
        &self,
        limit: usize,
        consumer: &GroupConsumer,
        topic: Option<TopicId>,
        positions: &[Position],
    ) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for position in positions.iter().filter(|position| position.commit) {
            let metadata = CommitMetadata {
                topic,
                began_with: position.began_with,
                done: DoneSet::default(),
            };
            if let Some(offset) = position.offset {
                let commit = (offset, metadata.encode(offset, limit));
                add_commit(&mut list, &self.topic, position.partition, commit);
            }
        }
        match list.count() {
            0 => Ok(()),
            _ => consumer.commit(&list, CommitMode::Sync),
        }
    }

    fn list(&self, partitions: impl Iterator<Item = i32>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        list
    }
}

/// Brokers before 2.3 and librdkafka's mock cluster describe no topics: their metadata has to do. Any other error may pass.
fn answers_no_descriptions(consumer: &GroupConsumer, error: &KafkaError) -> bool {
    matches!(error, KafkaError::AdminOp(RDKafkaErrorCode::UnsupportedFeature))
        || consumer
            .client()
            .fetch_cluster_id(PATIENCE)
            .is_some_and(|id| id.starts_with(MOCK))
}
