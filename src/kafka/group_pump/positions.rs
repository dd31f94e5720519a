//! Where intake begins in each partition that is assigned: found out before anything is taken in.
//!
//! From the group's commits, the topic's identity and the partitions' ends. A commit of another topic of the same name says nothing of
//! this one, so that one is read from its beginning.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::commit_metadata::{CommitMetadata, DEFAULT_LIMIT};
use super::consumer::{GroupConsumer, add_commit, raw_metadata};
use super::done_set::DoneSet;
use super::handle::PumpHandle;
use super::plan::PumpPlan;
use super::rebalance::partitions_of;
use crate::kafka::cluster::describe::{self, TopicId};
use crate::kafka::config::Start;

/// One question to Kafka may take this long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries.
const RETRY: Duration = Duration::from_millis(200);

/// What was found out for one assignment.
pub struct Positions {
    /// The topic that stood behind the name then. `None`: the brokers tell none.
    pub topic: Option<TopicId>,
    /// Before it was asked for.
    pub asked_at: Instant,
    pub positions: Vec<Position>,
}

/// Where intake begins in one partition.
#[derive(Debug, PartialEq, Eq)]
pub struct Position {
    pub partition: i32,
    /// `None`: at its beginning.
    pub offset: Option<i64>,
    /// The partition's end at that time, where it could be had. What lies before it was written before the assignment.
    pub end: Option<i64>,
    /// Goes into each commit: see `CommitMetadata`.
    pub began_with: i32,
    /// Beyond `offset`: these were executed already.
    pub done: DoneSet,
    /// The group begins here: the offset is committed before anything is taken in, so that what comes while nobody runs is not passed over.
    pub commit: bool,
}

/// A group's commit of one partition.
#[derive(Debug, Clone)]
struct Commit {
    offset: i64,
    /// Where it is ours.
    metadata: Option<CommitMetadata>,
}

/// What decides where intake begins.
struct Known {
    start: Start,
    topic: Option<TopicId>,
    /// The topic's partitions.
    partitions: i32,
    /// By partition: of those assigned, and with `Start::Latest` of all.
    commits: HashMap<i32, Commit>,
    /// By partition, where they could be had.
    ends: HashMap<i32, i64>,
}

impl Known {
    /// The commit is of another topic of this name.
    fn is_of_another_topic(&self, commit: &Commit) -> bool {
        let of = commit.metadata.as_ref().and_then(|metadata| metadata.topic);
        of.is_some() && self.topic.is_some() && of != self.topic
    }

    /// `None`: it cannot be known yet.
    fn position(&self, partition: i32) -> Option<Position> {
        let end = self.ends.get(&partition).copied();
        let at = |offset, began_with, done| Position {
            partition,
            offset,
            end,
            began_with,
            done,
            commit: false,
        };
        let beginning = at(None, 0, DoneSet::default());
        Some(match self.commits.get(&partition) {
            Some(commit) if self.is_of_another_topic(commit) => beginning,
            Some(Commit {
                offset,
                metadata: Some(metadata),
            }) if metadata.topic.is_some() => at(Some(*offset), metadata.began_with, metadata.done.clone()),
            // Nothing says of which topic it is, but the topic shows that it is not of this one.
            Some(commit) if end.is_some_and(|end| commit.offset > end) => beginning,
            Some(Commit { offset, metadata }) => {
                let metadata = metadata.clone();
                let (began_with, done) = metadata.map_or_else(Default::default, |known| (known.began_with, known.done));
                at(Some(*offset), began_with, done)
            }
            None if self.start == Start::Earliest => beginning,
            None => match self.group_began_with() {
                // This partition came later than the group.
                Some(began_with) if partition >= began_with => beginning,
                began => Position {
                    offset: Some(end?),
                    began_with: began.unwrap_or(self.partitions),
                    commit: true,
                    ..beginning
                },
            },
        })
    }

    /// How many partitions the topic had when the group began at their ends. `None`: the group has no commit, so it begins now.
    fn group_began_with(&self) -> Option<i32> {
        let began_with = |commit: &Commit| match &commit.metadata {
            Some(metadata) if !self.is_of_another_topic(commit) => metadata.began_with,
            _ => 0,
        };
        self.commits.values().map(began_with).max()
    }
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
        while !ended.load(Ordering::Acquire) {
            let found = self.positions(&consumer);
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

    /// `None`: it cannot be known yet.
    fn positions(&self, consumer: &GroupConsumer) -> KafkaResult<Option<Positions>> {
        let asked_at = Instant::now();
        let found = describe::topics(consumer.client(), [&*self.topic])?;
        let found = found.into_values().next().transpose()?.flatten();
        let topic = found.and_then(|found| found.id);
        let partitions = found.map_or(0, |found| found.partitions);
        let known = Known {
            start: self.start,
            topic,
            partitions,
            commits: self.commits(consumer, partitions)?,
            ends: self.ends(consumer),
        };
        let positions = self.partitions.iter().map(|&partition| known.position(partition));
        let Some(positions) = positions.collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        self.commit(consumer, topic, &positions)?;
        Ok(Some(Positions {
            topic,
            asked_at,
            positions,
        }))
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
        let end = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
            Offset::Offset(end) if element.error().is_ok() => Some((element.partition(), end)),
            _ => None,
        };
        elements.filter_map(end).collect()
    }

    /// Commits where the group begins.
    fn commit(&self, consumer: &GroupConsumer, topic: Option<TopicId>, positions: &[Position]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for position in positions.iter().filter(|position| position.commit) {
            let metadata = CommitMetadata {
                topic,
                began_with: position.began_with,
                done: DoneSet::default(),
            };
            if let Some(offset) = position.offset {
                let commit = (offset, metadata.encode(offset, DEFAULT_LIMIT));
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
        partitions.for_each(|partition| drop(list.add_partition(&self.topic, partition)));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(offset: i64, topic: i64, began_with: i32) -> Commit {
        let mut done = DoneSet::default();
        done.push(offset + 2..offset + 4);
        Commit {
            offset,
            metadata: Some(CommitMetadata {
                topic: Some(TopicId::of(topic)),
                began_with,
                done,
            }),
        }
    }

    fn foreign(offset: i64) -> Commit {
        Commit { offset, metadata: None }
    }

    fn known(start: Start, commits: &[(i32, Commit)]) -> Known {
        Known {
            start,
            topic: Some(TopicId::of(1)),
            partitions: 4,
            commits: commits.iter().cloned().collect(),
            ends: (0..4).map(|partition| (partition, 100)).collect(),
        }
    }

    /// Where partition 0 begins, and whether that is committed.
    fn begins(known: &Known) -> (Option<i64>, bool) {
        let position = known.position(0).unwrap();
        (position.offset, position.commit)
    }

    #[test]
    fn it_goes_on_at_the_commit_without_what_is_done() {
        for start in [Start::Earliest, Start::Latest] {
            let position = known(start, &[(0, commit(50, 1, 4))]).position(0).unwrap();
            assert_eq!(
                (position.offset, position.began_with, position.commit),
                (Some(50), 4, false)
            );
            assert!(position.done.contains(52) && !position.done.contains(50));
            assert_eq!(begins(&known(start, &[(0, foreign(50))])), (Some(50), false));
        }
    }

    #[test]
    fn a_commit_of_another_topic_says_nothing_of_this_one() {
        for start in [Start::Earliest, Start::Latest] {
            for offset in [5, 100, 500] {
                let known = known(start, &[(0, commit(offset, 2, 4)), (1, commit(offset, 2, 4))]);
                let position = known.position(0).unwrap();
                assert_eq!((position.offset, position.commit), (None, false));
                assert!(position.done.is_empty());
                assert_eq!(known.position(2).unwrap().offset, None, "it had no commit");
            }
        }
    }

    #[test]
    fn without_an_identity_a_commit_beyond_the_end_is_of_another_topic() {
        assert_eq!(begins(&known(Start::Earliest, &[(0, foreign(101))])), (None, false));
        let mut old_broker = known(Start::Earliest, &[(0, foreign(101))]);
        old_broker.topic = None;
        assert_eq!(begins(&old_broker), (None, false));
        old_broker.ends.clear();
        assert_eq!(begins(&old_broker), (Some(101), false), "nothing shows it");
        // A leader that has just been elected may tell an end below what was committed.
        assert_eq!(
            begins(&known(Start::Earliest, &[(0, commit(101, 1, 0))])),
            (Some(101), false)
        );
    }

    #[test]
    fn latest_is_where_a_new_group_begins() {
        assert_eq!(begins(&known(Start::Earliest, &[])), (None, false));
        assert_eq!(begins(&known(Start::Latest, &[])), (Some(100), true));
        assert_eq!(known(Start::Latest, &[]).position(0).unwrap().began_with, 4);
        // Another member was quicker with its own partitions.
        assert_eq!(
            begins(&known(Start::Latest, &[(1, commit(100, 1, 4))])),
            (Some(100), true)
        );
        // The group began before, and this partition came later.
        let mut more = known(Start::Latest, &[(0, commit(100, 1, 4))]);
        more.ends.insert(4, 3);
        more.partitions = 5;
        let position = more.position(4).unwrap();
        assert_eq!((position.offset, position.commit), (None, false));
        // A group of an earlier version, which kept no count.
        assert_eq!(begins(&known(Start::Latest, &[(1, foreign(9))])), (None, false));
        let mut leaderless = known(Start::Latest, &[]);
        leaderless.ends.clear();
        assert_eq!(leaderless.position(0), None);
    }
}
