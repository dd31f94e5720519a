//! Which offset of a partition may be committed, and which records beyond it are done.
//!
//! Kafka takes a committed offset for "everything before is done", so with many records under way only the contiguous prefix counts. What
//! is done beyond it travels in the commit's metadata. Offsets may have gaps (compaction, transaction markers): order is kept, not
//! arithmetic.

use std::collections::VecDeque;

use super::done_set::{DoneSet, most_bits};

/// The records of one partition between intake and commit.
#[derive(Debug, Default)]
pub struct Tracker {
    /// In offset order, from the oldest that blocks the commit.
    window: VecDeque<Tracked>,
    /// The offset to commit: where intake began, then one past the last of the finished run. `None` before the first record, where its offset
    /// is not known beforehand.
    next: Option<i64>,
    /// Counts records that were finished: what is to be committed changes with each.
    version: u64,
    /// Entries of `window` still being worked on.
    outstanding: usize,
    /// The sum of the entries' bytes.
    bytes: usize,
    /// The sum of the entries' bounds in the code of a done set.
    bits: usize,
}

#[derive(Debug)]
struct Tracked {
    offset: i64,
    bytes: usize,
    bits: usize,
    state: RecordState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RecordState {
    /// The worker has it.
    Outstanding,
    /// Answered, and the answer acknowledged.
    Done,
    /// Given back unanswered: the partition's next owner must run it, so it blocks the commit for good.
    Released,
}

impl Tracker {
    /// `next`: where intake begins, if that is known.
    pub fn new(next: Option<i64>) -> Self {
        Tracker {
            next,
            ..Tracker::default()
        }
    }

    /// A record was taken in. Offsets must ascend; one that does not (a rewind after a leader change) is not taken.
    pub fn start(&mut self, offset: i64, bytes: usize) -> bool {
        let next = *self.next.get_or_insert(offset);
        let before = self.window.back().map_or(next - 1, |last| last.offset);
        if before >= offset {
            return false;
        }
        let bits = most_bits(offset - before);
        self.window.push_back(Tracked {
            offset,
            bytes,
            bits,
            state: RecordState::Outstanding,
        });
        self.outstanding += 1;
        self.bytes += bytes;
        self.bits += bits;
        true
    }

    /// A record is answered. Returns the offset to commit, which is one past the last of the finished run, where the run grew.
    /// An offset that is not in the window changes nothing: it is a completion after a reassignment.
    pub fn finish(&mut self, offset: i64) -> Option<i64> {
        self.settle(offset, RecordState::Done);
        let mut grown = None;
        while self
            .window
            .front()
            .is_some_and(|oldest| oldest.state == RecordState::Done)
        {
            // Proven by the condition above.
            let Some(oldest) = self.window.pop_front() else { break };
            self.bytes -= oldest.bytes;
            self.bits -= oldest.bits;
            grown = Some(oldest.offset + 1);
        }
        self.next = grown.or(self.next);
        grown
    }

    /// A record was given back unanswered, because its partition is being taken away.
    pub fn release(&mut self, offset: i64) {
        self.settle(offset, RecordState::Released);
    }

    fn settle(&mut self, offset: i64, state: RecordState) {
        if let Ok(index) = self.window.binary_search_by_key(&offset, |tracked| tracked.offset)
            && self.window[index].state == RecordState::Outstanding
        {
            self.window[index].state = state;
            self.outstanding -= 1;
            self.version += u64::from(state == RecordState::Done);
        }
    }

    /// The offset to commit, if one is known.
    pub fn next(&self) -> Option<i64> {
        self.next
    }

    /// Differs when there is something new to commit.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The records that are done beyond the offset to commit.
    pub fn done_beyond(&self) -> DoneSet {
        let mut done = DoneSet::default();
        let mut from = self.next.unwrap_or_default();
        for tracked in &self.window {
            if tracked.state == RecordState::Done {
                done.push(from..tracked.offset + 1);
            }
            from = tracked.offset + 1;
        }
        done
    }

    /// How long the code of `done_beyond` can become in bytes, whatever of the window is finished next.
    pub fn most_done_bytes(&self) -> usize {
        self.bits.div_ceil(8)
    }

    /// The record that blocks the commit.
    pub fn oldest(&self) -> Option<i64> {
        self.window.front().map(|oldest| oldest.offset)
    }

    /// Records taken in and not yet committable, finished ones behind a slow one included. The intake window bounds this number.
    pub fn len(&self) -> usize {
        self.window.len()
    }

    /// Records still being worked on.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Bytes of the records in the window.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_contiguous_prefix_is_stored() {
        let mut tracker = Tracker::default();
        for offset in [10, 11, 15] {
            assert!(tracker.start(offset, 1));
        }
        assert_eq!(tracker.finish(11), None);
        assert_eq!(tracker.oldest(), Some(10));
        assert_eq!(tracker.finish(10), Some(12));
        assert_eq!(tracker.finish(15), Some(16));
        assert_eq!((tracker.len(), tracker.oldest()), (0, None));
    }

    #[test]
    fn a_released_record_blocks_the_commit_but_not_the_hand_over() {
        let mut tracker = Tracker::default();
        tracker.start(1, 1);
        tracker.start(2, 1);
        tracker.release(1);
        assert_eq!(tracker.finish(2), None);
        assert_eq!(tracker.outstanding(), 0);
        assert_eq!(tracker.len(), 2);
    }

    #[test]
    fn strangers_and_rewinds_change_nothing() {
        let mut tracker = Tracker::default();
        tracker.start(5, 1);
        assert_eq!(tracker.finish(4), None);
        assert!(!tracker.start(5, 1));
        assert!(!tracker.start(3, 1));
        assert_eq!((tracker.finish(5), tracker.finish(5)), (Some(6), None));
    }

    #[test]
    fn what_is_done_behind_a_slow_record_is_told_with_its_version() {
        let mut tracker = Tracker::new(Some(8));
        assert_eq!((tracker.next(), tracker.version()), (Some(8), 0));
        for offset in [10, 11, 15, 16] {
            assert!(tracker.start(offset, 1));
        }
        tracker.finish(15);
        tracker.release(16);
        assert_eq!((tracker.next(), tracker.version()), (Some(8), 1));
        let done = tracker.done_beyond();
        let all: Vec<i64> = (0..20).filter(|offset| done.contains(*offset)).collect();
        // 12 to 14 are a gap: there is nothing to be done.
        assert_eq!(all, [12, 13, 14, 15]);
        tracker.finish(10);
        assert_eq!((tracker.next(), tracker.version()), (Some(11), 2));
        assert!(tracker.done_beyond().contains(15));
    }

    proptest! {
        /// Whatever the order of completion: never past an unfinished record, and in the end past them all.
        #[test]
        fn never_past_an_unfinished_record(gaps in prop::collection::vec(1i64..5, 1..200), seed in any::<u64>()) {
            let offsets: Vec<i64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let mut tracker = Tracker::default();
            for offset in &offsets { tracker.start(*offset, 3); }
            let mut order = offsets.clone();
            let mut random = seed;
            for i in (1..order.len()).rev() {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                order.swap(i, (random >> 33) as usize % (i + 1));
            }
            let mut finished = std::collections::BTreeSet::new();
            let mut stored = 0;
            let bound = tracker.most_done_bytes();
            for offset in order {
                finished.insert(offset);
                if let Some(next) = tracker.finish(offset) {
                    prop_assert!(next > stored);
                    stored = next;
                }
                prop_assert!(offsets.iter().all(|o| *o >= stored || finished.contains(o)));
                let done = tracker.done_beyond();
                prop_assert!(offsets.iter().all(|o| (*o < stored || done.contains(*o)) == finished.contains(o)));
                let base = tracker.next().unwrap();
                prop_assert!(done.encode(base, 1 << 20).len() <= bound);
            }
            prop_assert_eq!(stored, offsets[offsets.len() - 1] + 1);
            prop_assert_eq!((tracker.len(), tracker.bytes(), tracker.outstanding()), (0, 0, 0));
        }
    }
}
