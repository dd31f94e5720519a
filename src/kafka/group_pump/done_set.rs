//! Which records beyond a committed offset are done, and how they travel in a commit's metadata.
//!
//! The lengths of runs, undone and done in turn, as Elias gamma codes: one bit for a length of 1, `2 ⌊log2 n⌋ + 1` bits for n. Rooms are
//! scarce: a broker takes 4,096 bytes of metadata by default (`offset.metadata.max.bytes`).

use std::ops::Range;

/// Offsets that are done beyond a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoneSet {
    /// In ascending order; no two touch.
    runs: Vec<Range<i64>>,
}

/// How many bits a record adds at most to the code of any set that it is in. `distance`: from the record before it, 1 or more.
///
/// A run's length is the sum of its records' distances, and the code of a sum is at most as long as the sum of these bounds: doubling the
/// longer part costs two bits, and each part brings them.
pub fn most_bits(distance: i64) -> usize {
    2 * distance.max(1).ilog2() as usize + 2
}

impl DoneSet {
    /// Adds the offsets of a record that is done, and of the gap before it. Ranges come in ascending order.
    pub fn push(&mut self, offsets: Range<i64>) {
        match self.runs.last_mut() {
            Some(last) if last.end >= offsets.start => last.end = last.end.max(offsets.end),
            _ => self.runs.push(offsets),
        }
    }

    /// The same without runs that reach beyond `end`.
    pub fn before(mut self, end: i64) -> Self {
        self.runs.retain(|run| run.end <= end);
        self
    }

    pub fn contains(&self, offset: i64) -> bool {
        let after = self.runs.partition_point(|run| run.end <= offset);
        self.runs.get(after).is_some_and(|run| run.contains(&offset))
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many offsets are in it.
    pub fn len(&self) -> i64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    /// The code of the runs beyond `base`, which is not done itself. Runs that no longer fit `limit` bytes are left out: they are done again.
    pub fn encode(&self, base: i64, limit: usize) -> Vec<u8> {
        let mut bits = Bits::default();
        let mut at = base;
        for run in self.runs.iter().filter(|run| run.start > base) {
            let kept = bits.length;
            bits.push_length(run.start - at);
            bits.push_length(run.end - run.start);
            at = run.end;
            if bits.length > limit * 8 {
                bits.truncate(kept);
                break;
            }
        }
        bits.bytes
    }

    /// The set that `encode` made; `None`: this is no such code.
    pub fn decode(base: i64, code: &[u8]) -> Option<Self> {
        let mut set = DoneSet::default();
        let (mut at, mut next) = (base, 0);
        while let Some(undone) = read_length(code, &mut next)? {
            let start = at.checked_add(undone)?;
            at = start.checked_add(read_length(code, &mut next)??)?;
            set.runs.push(start..at);
        }
        Some(set)
    }
}

/// Bits in a row, the highest of each byte first; what is left of the last byte is 0.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    length: usize,
}

impl Bits {
    fn push(&mut self, bit: bool) {
        if self.length.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (7 - self.length % 8);
        }
        self.length += 1;
    }

    /// As many zeros as the length has bits beyond its highest, then its bits.
    fn push_length(&mut self, length: i64) {
        let highest = length.max(1).ilog2();
        (0..highest).for_each(|_| self.push(false));
        (0..=highest).rev().for_each(|bit| self.push(length >> bit & 1 == 1));
    }

    fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length.div_ceil(8));
        if let (Some(last), used @ 1..) = (self.bytes.last_mut(), length % 8) {
            *last &= 0xff << (8 - used);
        }
        self.length = length;
    }
}

/// Reads a length at bit number `next`. `Some(None)`: only padding is left. `None`: this is no code of a length.
fn read_length(code: &[u8], next: &mut usize) -> Option<Option<i64>> {
    let bit = |at: usize| code.get(at / 8).map(|byte| byte >> (7 - at % 8) & 1 == 1);
    let mut highest = 0;
    loop {
        match bit(*next) {
            None => return Some(None),
            Some(true) => break,
            Some(false) => highest += 1,
        }
        *next += 1;
    }
    if highest > 62 {
        return None;
    }
    let mut length = 0;
    for _ in 0..=highest {
        length = length << 1 | i64::from(bit(*next)?);
        *next += 1;
    }
    Some(Some(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A set beyond `base` from distances: undone and done in turn.
    fn set(base: i64, lengths: &[(i64, i64)]) -> DoneSet {
        let mut set = DoneSet::default();
        let mut at = base;
        for (undone, done) in lengths {
            set.push(at + undone..at + undone + done);
            at += undone + done;
        }
        set
    }

    #[test]
    fn one_slow_record_before_ten_thousand_costs_four_bytes() {
        let set = set(100, &[(1, 10_000)]);
        assert!(!set.contains(100) && set.contains(101) && set.contains(10_100) && !set.contains(10_101));
        let code = set.encode(100, 4096);
        assert_eq!(code.len(), 4);
        assert_eq!(DoneSet::decode(100, &code), Some(set));
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let all = set(0, &[(1, 1); 100]);
        let code = all.encode(0, 4);
        assert_eq!(code.len(), 4);
        let some = DoneSet::decode(0, &code).unwrap();
        assert_eq!(some.len(), 16);
        assert!((0..1000).all(|offset| !some.contains(offset) || all.contains(offset)));
        assert!(all.encode(0, 0).is_empty());
    }

    proptest! {
        #[test]
        fn any_set_survives(base in 0i64..1 << 40, lengths in prop::collection::vec((1i64..5000, 1i64..5000), 0..300)) {
            let set = set(base, &lengths);
            prop_assert_eq!(DoneSet::decode(base, &set.encode(base, 1 << 20)), Some(set));
        }

        #[test]
        fn any_bytes_are_read_or_refused(base: i64, code in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(set) = DoneSet::decode(base.max(0), &code) {
                prop_assert!(set.runs.iter().all(|run| run.start > base && run.start < run.end));
            }
        }

        #[test]
        fn a_cut_off_code_never_adds_an_offset(lengths in prop::collection::vec((1i64..50, 1i64..50), 1..50), limit in 0usize..60) {
            let all = set(7, &lengths);
            let some = DoneSet::decode(7, &all.encode(7, limit)).unwrap();
            let end = lengths.iter().map(|(a, b)| a + b).sum::<i64>() + 8;
            prop_assert!((0..end).all(|offset| !some.contains(offset) || all.contains(offset)));
        }

        /// Whichever records are done: no code is longer than the sum of their bounds.
        #[test]
        fn the_bound_holds(records in prop::collection::vec((1i64..1000, any::<bool>()), 1..300)) {
            let (mut set, mut at, mut bound) = (DoneSet::default(), 0, 0);
            for (distance, done) in &records {
                if *done && at > 0 {
                    set.push(at..at + distance);
                }
                at += distance;
                bound += most_bits(*distance);
            }
            prop_assert!(set.encode(0, 1 << 20).len() <= bound.div_ceil(8));
        }
    }
}
