//! At most once: a record goes to the worker only when Kafka has taken the commit of its offset.
//!
//! Records wait in offset order. One commit of a partition is under way at a time, for all records that wait when it begins.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::handle::PumpHandle;
use super::intake::{Ahead, Counted, Intake};

/// How many of a worker's records may be committed, or be about to be, before they are finished: no more than can begin at once. A record
/// that has not begun when its partition or its process goes is lost.
#[derive(Clone)]
pub struct AheadLimits {
    /// Unfinished records in all partitions.
    pub in_all: usize,
    /// Unfinished records of one partition.
    pub of_partition: usize,
    /// Records in all partitions whose work has not begun.
    pub not_begun: usize,
    /// How many records could begin now. The first is always taken in, whatever this says.
    pub can_begin: CanBegin,
}

/// Asked at each intake, so it must be quick.
pub type CanBegin = Arc<dyn Fn() -> usize + Send + Sync>;

impl AheadLimits {
    /// May another record of a partition be taken in?
    pub fn leave_room(&self, in_all: usize, of_partition: usize, not_begun: usize) -> bool {
        let can_begin = || (self.can_begin)().max(1);
        in_all < self.in_all
            && of_partition < self.of_partition
            && not_begun < self.not_begun
            && not_begun < can_begin()
    }
}

/// The limits of one pump, and what counts towards them.
pub struct AheadCounts {
    limits: AheadLimits,
    /// Records that were taken in and whose work has not begun.
    not_begun: Arc<AtomicUsize>,
    /// Records that were taken in and whose outcome is not decided.
    unfinished: Arc<AtomicUsize>,
}

impl AheadCounts {
    pub fn new(limits: AheadLimits) -> Self {
        AheadCounts {
            limits,
            not_begun: Arc::default(),
            unfinished: Arc::default(),
        }
    }

    /// May another record be taken in, of a partition with so many unfinished ones?
    pub fn leave_room(&self, of_partition: usize) -> bool {
        let [in_all, not_begun] = [&self.unfinished, &self.not_begun].map(|count| count.load(Ordering::Acquire));
        self.limits.leave_room(in_all, of_partition, not_begun)
    }

    /// Counts a record that is taken in; `of_partition` is the count of its partition's unfinished records.
    pub fn count(&self, of_partition: &Arc<AtomicUsize>, pump: &PumpHandle) -> Ahead {
        Ahead {
            not_begun: Counted::new(vec![self.not_begun.clone()], pump),
            unfinished: Counted::new(vec![self.unfinished.clone(), of_partition.clone()], pump),
        }
    }
}

/// The records of one partition that wait for their commit.
#[derive(Default)]
pub struct AwaitingCommit {
    /// In offset order.
    waiting: VecDeque<Intake>,
    /// Set while a commit is under way: its offset, one past the last record that it covers.
    asked: Option<i64>,
}

impl AwaitingCommit {
    pub fn push(&mut self, intake: Intake) {
        self.waiting.push_back(intake);
    }

    /// The offset to commit next, where records wait and no commit is under way.
    pub fn ask(&mut self) -> Option<i64> {
        if self.asked.is_none() {
            self.asked = self.waiting.back().map(|last| last.record.offset + 1);
            return self.asked;
        }
        None
    }

    /// Records wait, and no commit is under way.
    pub fn wants_commit(&self) -> bool {
        self.asked.is_none() && !self.waiting.is_empty()
    }

    /// Kafka did not take the commit: `ask` asks again.
    pub fn refused(&mut self) {
        self.asked = None;
    }

    /// Kafka took a commit up to `offset`. Returns the records that may be worked on.
    pub fn committed(&mut self, offset: i64) -> impl Iterator<Item = Intake> + '_ {
        if self.asked.is_some_and(|asked| asked <= offset) {
            self.asked = None;
        }
        let covered = self.waiting.partition_point(|intake| intake.record.offset < offset);
        self.waiting.drain(..covered)
    }

    /// The partition is about to go: drops the records that no commit under way covers. Returns their offsets.
    pub fn give_back(&mut self) -> impl Iterator<Item = i64> + '_ {
        let asked = self.asked.unwrap_or(i64::MIN);
        let kept = self.waiting.partition_point(|intake| intake.record.offset < asked);
        self.waiting.drain(kept..).map(|intake| intake.record.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::super::intake::Lease;
    use super::super::window::HeldBytes;
    use super::*;
    use crate::wire::RawRecord;

    fn intake(offset: i64) -> Intake {
        Intake {
            record: RawRecord {
                offset,
                ..RawRecord::empty(&"t".into())
            },
            oversized: None,
            lease: Lease::default(),
            epoch: 1,
            fresh: false,
            ahead: None,
            held: HeldBytes::none(),
        }
    }

    fn offsets(records: impl Iterator<Item = Intake>) -> Vec<i64> {
        records.map(|intake| intake.record.offset).collect()
    }

    #[test]
    fn a_record_waits_for_a_commit_that_covers_it() {
        let mut ahead = AwaitingCommit::default();
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
        let mut ahead = AwaitingCommit::default();
        [1, 2].into_iter().for_each(|offset| ahead.push(intake(offset)));
        assert_eq!(ahead.ask(), Some(3));
        ahead.push(intake(3));
        assert_eq!(ahead.give_back().collect::<Vec<_>>(), [3]);
        assert_eq!(offsets(ahead.committed(3)), [1, 2]);
        ahead.push(intake(4));
        assert_eq!(ahead.give_back().collect::<Vec<_>>(), [4]);
    }
}
