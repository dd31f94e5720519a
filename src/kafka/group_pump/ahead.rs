//! At most once: a record goes to the worker only when Kafka has taken the commit of its offset.
//!
//! Records wait in offset order; one commit of a partition is under way at a time, for all that wait at its beginning.

use std::collections::VecDeque;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use rdkafka_sys as rdsys;
use tokio::sync::mpsc;

use super::context::PumpContext;
use super::{Pump, PumpError, rebalance};
use crate::kafka::group_pump::intake::Intake;

/// How many of a worker's records may be committed, or be about to be, before they are finished: no more than can begin at once, since what
/// has not begun when its partition or its process goes is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AheadLimits {
    /// In all partitions.
    pub in_all: usize,
    pub of_partition: usize,
    /// Of those in all partitions, the ones whose work has not begun.
    pub not_begun: usize,
}

impl AheadLimits {
    /// May another record of a partition be taken in?
    pub fn leave_room(self, in_all: usize, of_partition: usize, not_begun: usize) -> bool {
        in_all < self.in_all && of_partition < self.of_partition && not_begun < self.not_begun
    }
}

/// The records of one partition that wait for their commit.
#[derive(Default)]
pub struct CommitAhead {
    waiting: VecDeque<Intake>,
    /// The offset that Kafka was asked to take: one past the last record it covers.
    asked: Option<i64>,
}

impl CommitAhead {
    pub fn push(&mut self, intake: Intake) {
        self.waiting.push_back(intake);
    }

    /// The offset to be committed next, where records wait and no commit is under way.
    pub fn ask(&mut self) -> Option<i64> {
        if self.asked.is_none() {
            self.asked = self.waiting.back().map(|last| last.record.offset + 1);
            return self.asked;
        }
        None
    }

    /// Kafka did not take the commit: it is asked again.
    pub fn refused(&mut self) {
        self.asked = None;
    }

    /// Kafka took a commit up to `offset`; returns the records that may be worked on.
    pub fn committed(&mut self, offset: i64) -> impl Iterator<Item = Intake> + '_ {
        if self.asked.is_some_and(|asked| asked <= offset) {
            self.asked = None;
        }
        let covered = self.waiting.partition_point(|intake| intake.record.offset < offset);
        self.waiting.drain(..covered)
    }

    /// The partition is being taken away: what no commit covers is not ours any more. Returns those offsets.
    pub fn give_back(&mut self) -> impl Iterator<Item = i64> + '_ {
        let asked = self.asked.unwrap_or(i64::MIN);
        let kept = self.waiting.partition_point(|intake| intake.record.offset < asked);
        self.waiting.drain(kept..).map(|intake| intake.record.offset)
    }
}

impl Pump<'_> {
    /// Has Kafka take the offsets of what was taken in. Does not wait; the answer is read by `read_commits`.
    pub(super) fn ask_commits(&mut self) {
        let mut list = TopicPartitionList::new();
        for (&number, partition) in &mut self.partitions {
            if let Some(offset) = partition.ask_commit() {
                // Err: never, an offset of a record is not negative.
                let _ = list.add_partition_offset(&self.plan.topic, number, Offset::Offset(offset));
            }
        }
        if list.count() > 0
            && let Err(error) = begin_commit(&self.consumer, &list)
        {
            tracing::debug!(topic = %self.plan.topic, %error, "commit not begun; trying again");
            for number in rebalance::partitions_of(&list) {
                self.commit_answered(number, None);
            }
        }
    }

    pub(super) fn read_commits(&mut self) -> bool {
        let mut busy = false;
        while let Ok(answer) = self.commits.try_recv() {
            busy = true;
            for (number, offset) in answer {
                self.commit_answered(number, offset);
            }
        }
        busy
    }

    fn commit_answered(&mut self, number: i32, offset: Option<i64>) {
        if let Some(partition) = self.partitions.get_mut(&number) {
            self.committed.extend(partition.commit_answered(offset));
        }
    }

    pub(super) fn hand_over_committed(&mut self) -> Result<bool, PumpError> {
        let mut busy = false;
        while let Some(intake) = self.committed.pop_front() {
            match self.records.try_send(intake) {
                Ok(()) => busy = true,
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(PumpError::WorkerGone),
                Err(mpsc::error::TrySendError::Full(back)) => {
                    self.committed.push_front(back);
                    break;
                }
            }
        }
        Ok(busy)
    }
}

/// Begins a commit whose result comes through the consumer's own queue to `commit_callback`. rdkafka's asynchronous commit has none:
/// it reads events, and librdkafka tells the result of such a commit only to a callback (`rdkafka_cgrp.c:3873`).
fn begin_commit(consumer: &BaseConsumer<PumpContext>, list: &TopicPartitionList) -> Result<(), RDKafkaErrorCode> {
    let client = consumer.client().native_ptr();
    // SAFETY: client and list live through the calls; librdkafka copies the list, and the queue is counted: it is the consumer's own.
    let code = unsafe {
        let queue = rdsys::rd_kafka_queue_get_consumer(client);
        let code = rdsys::rd_kafka_commit_queue(client, list.ptr(), queue, None, std::ptr::null_mut());
        rdsys::rd_kafka_queue_destroy(queue);
        code
    };
    match code {
        rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(code.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::group_pump::intake::Lease;
    use crate::wire::RawRecord;

    fn intake(offset: i64) -> Intake {
        Intake {
            record: RawRecord {
                offset,
                ..RawRecord::empty(&"t".into())
            },
            lease: Lease::default(),
            epoch: 1,
            caught_up: None,
            ahead: None,
        }
    }

    fn offsets(records: impl Iterator<Item = Intake>) -> Vec<i64> {
        records.map(|intake| intake.record.offset).collect()
    }

    #[test]
    fn a_record_waits_for_a_commit_that_covers_it() {
        let mut ahead = CommitAhead::default();
        assert_eq!(ahead.ask(), None);
        [3, 4].into_iter().for_each(|offset| ahead.push(intake(offset)));
        assert_eq!(ahead.ask(), Some(5));
        ahead.push(intake(7));
        assert_eq!(ahead.ask(), None, "one commit at a time");
        assert_eq!(offsets(ahead.committed(3)), [0i64; 0], "an older one");
        assert_eq!(offsets(ahead.committed(5)), [3, 4]);
        assert_eq!(ahead.ask(), Some(8));
        ahead.refused();
        assert_eq!(ahead.ask(), Some(8), "asked again");
    }

    #[test]
    fn what_no_commit_covers_is_given_back() {
        let mut ahead = CommitAhead::default();
        [1, 2].into_iter().for_each(|offset| ahead.push(intake(offset)));
        assert_eq!(ahead.ask(), Some(3));
        ahead.push(intake(3));
        assert_eq!(ahead.give_back().collect::<Vec<_>>(), [3]);
        assert_eq!(offsets(ahead.committed(3)), [1, 2]);
        ahead.push(intake(4));
        assert_eq!(ahead.give_back().collect::<Vec<_>>(), [4]);
    }
}
