//! At most once, for all partitions of a pump: has Kafka take commits, and hands over the records that they cover.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crossbeam_channel::Receiver;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::ahead::{AheadCounts, AheadLimits};
use super::assignment::Assignment;
use super::consumer::{GroupConsumer, begin_commit};
use super::context::CommitAnswer;
use super::handle::PumpHandle;
use super::intake::{Ahead, Intake};
use super::rebalance::partitions_of;

/// The commits of one pump. Owned by its loop.
pub struct Commits {
    /// Set for at-most-once delivery; all else is idle otherwise.
    ahead: Option<AheadCounts>,
    /// Kafka's answers, sent by `PumpContext`.
    answers: Receiver<CommitAnswer>,
    /// Records whose commit Kafka took, on their way to the worker.
    committed: VecDeque<Intake>,
}

/// How a hand-over to the worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOver {
    /// Nothing waits any more. `busy`: something was handed over.
    Complete { busy: bool },
    /// The worker's channel is full.
    Congested,
    /// The worker no longer takes records.
    WorkerGone,
}

impl Commits {
    pub fn new(limits: Option<AheadLimits>, answers: Receiver<CommitAnswer>) -> Self {
        Commits {
            ahead: limits.map(AheadCounts::new),
            answers,
            committed: VecDeque::new(),
        }
    }

    /// May another record be taken in, of a partition with so many unfinished ones?
    pub fn leave_room(&self, of_partition: usize) -> bool {
        self.ahead.as_ref().is_none_or(|counts| counts.leave_room(of_partition))
    }

    /// Counts a record that is taken in; `of_partition` is the count of its partition's unfinished records.
    pub fn count(&self, of_partition: &Arc<AtomicUsize>, pump: &PumpHandle) -> Option<Ahead> {
        self.ahead.as_ref().map(|counts| counts.count(of_partition, pump))
    }

    /// Begins commits of the offsets that were taken in. Does not wait; `read` reads the answer.
    pub fn ask(&mut self, assignment: &mut Assignment<'_>, consumer: &GroupConsumer, topic: &str) {
        let mut list = TopicPartitionList::new();
        for (number, partition) in assignment.partitions_mut() {
            if let Some(offset) = partition.ask_commit() {
                // Err: never, an offset of a record is not negative.
                let _ = list.add_partition_offset(topic, number, Offset::Offset(offset));
            }
        }
        if list.count() > 0
            && let Err(error) = begin_commit(consumer, &list)
        {
            tracing::debug!(topic, %error, "commit not begun; trying again");
            for number in partitions_of(&list) {
                self.answered(assignment, number, None);
            }
        }
    }

    /// Reads Kafka's answers. True: there were some.
    pub fn read(&mut self, assignment: &mut Assignment<'_>) -> bool {
        let mut busy = false;
        while let Ok(answer) = self.answers.try_recv() {
            busy = true;
            for (number, offset) in answer {
                self.answered(assignment, number, offset);
            }
        }
        busy
    }

    fn answered(&mut self, assignment: &mut Assignment<'_>, number: i32, offset: Option<i64>) {
        if let Some(partition) = assignment.get_mut(number) {
            self.committed.extend(partition.commit_answered(offset));
        }
    }

    /// Hands the committed records to the worker, as far as its channel has room.
    pub fn hand_over(&mut self, records: &mpsc::Sender<Intake>) -> HandOver {
        let mut busy = false;
        while let Some(intake) = self.committed.pop_front() {
            match records.try_send(intake) {
                Ok(()) => busy = true,
                Err(mpsc::error::TrySendError::Closed(_)) => return HandOver::WorkerGone,
                Err(mpsc::error::TrySendError::Full(back)) => {
                    self.committed.push_front(back);
                    return HandOver::Congested;
                }
            }
        }
        HandOver::Complete { busy }
    }
}
