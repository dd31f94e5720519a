//! The way around a batch that cannot be unpacked: finds the first offset behind it. Pure; time is given.
//!
//! An error names the batch's first offset, and nothing names its last. Reading at an offset inside of the batch brings the error again,
//! and reading behind it brings a record. So the end is searched for: in steps that double, then by halves. A batch of one record, as
//! every producer here writes it, takes one step.

use std::ops::Range;
use std::time::{Duration, Instant};

/// How often a batch is read before it is given up: once might be a fault of the connection.
const READS: u32 = 2;
/// Nothing comes for so long: what was read is no part of the batch, or the error would have come. Where Kafka was away instead, the
/// error comes again, and with it the search.
const SILENCE: Duration = Duration::from_secs(5);

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Read on.
    Wait,
    /// Read from this offset.
    Seek(i64),
    /// These offsets are passed over: read from their end.
    Pass(Range<i64>),
}

/// One batch, from its first error until it is passed over.
#[derive(Debug)]
pub struct Detour {
    /// Its first offset.
    first: i64,
    /// How often it was read in vain.
    reads: u32,
    /// The last offset that is known to be inside.
    inside: i64,
    /// An offset that is known to be behind it.
    behind: Option<i64>,
    /// How far the next step goes.
    stride: i64,
    /// What is being read, and since when.
    probe: Option<(i64, Instant)>,
}

impl Detour {
    /// The batch that begins here could not be unpacked.
    pub fn begin(first: i64) -> Self {
        Detour {
            first,
            reads: 1,
            inside: first,
            behind: None,
            stride: 1,
            probe: None,
        }
    }

    /// The batch that begins at `first` could not be unpacked. `end`: the partition's, where it is known.
    pub fn failed(&mut self, first: i64, end: Option<i64>, now: Instant) -> Step {
        match self.probe {
            None if first != self.first => {
                *self = Detour::begin(first);
                return Step::Wait;
            }
            None => {
                self.reads += 1;
                if self.reads < READS {
                    return Step::Wait;
                }
            }
            // Another batch begins there.
            Some(_) if first > self.inside && first != self.first => self.behind_at(first),
            Some((probe, _)) => self.inside = self.inside.max(probe),
        }
        self.next(end, now)
    }

    /// The search is under way: records that come only tell where the batch ends, and are read again once it is over.
    pub fn is_searching(&self) -> bool {
        self.probe.is_some()
    }

    /// A record came while the search is under way.
    pub fn record(&mut self, now: Instant) -> Step {
        let Some((probe, _)) = self.probe else {
            return Step::Wait;
        };
        self.behind_at(probe);
        self.next(None, now)
    }

    /// Nothing came.
    pub fn nothing(&mut self, now: Instant) -> Step {
        match self.probe {
            Some((_, since)) if now.saturating_duration_since(since) >= SILENCE => self.record(now),
            _ => Step::Wait,
        }
    }

    fn behind_at(&mut self, offset: i64) {
        self.behind = Some(self.behind.map_or(offset, |known| known.min(offset)));
    }

    fn next(&mut self, end: Option<i64>, now: Instant) -> Step {
        let probe = match self.behind {
            Some(behind) if behind - self.inside <= 1 => return Step::Pass(self.first..behind),
            Some(behind) => self.inside + (behind - self.inside) / 2,
            None => {
                // Beyond the end, the consumer would begin anew at the log's beginning.
                let Some(end) = end else { return Step::Wait };
                let probe = self.inside.saturating_add(self.stride);
                self.stride = self.stride.saturating_mul(2);
                if probe >= end {
                    self.behind = Some(end.max(self.inside + 1));
                    return self.next(None, now);
                }
                probe
            }
        };
        self.probe = Some((probe, now));
        Step::Seek(probe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_batch_of_one_record_takes_one_step() {
        let now = Instant::now();
        let mut detour = Detour::begin(7);
        assert!(!detour.is_searching());
        assert_eq!(detour.failed(7, Some(100), now), Step::Seek(8));
        assert_eq!(detour.record(now), Step::Pass(7..8));
        let mut last = Detour::begin(7);
        assert_eq!(last.failed(7, Some(8), now), Step::Pass(7..8));
    }

    #[test]
    fn one_error_is_no_reason_and_an_unknown_end_none_to_leave() {
        let now = Instant::now();
        let mut detour = Detour::begin(7);
        assert_eq!(detour.failed(9, Some(100), now), Step::Wait, "another batch");
        assert_eq!(detour.failed(9, None, now), Step::Wait);
        assert_eq!(detour.failed(9, Some(11), now), Step::Seek(10));
    }

    #[test]
    fn silence_counts_as_no_error() {
        let now = Instant::now();
        let mut detour = Detour::begin(0);
        assert_eq!(detour.failed(0, Some(100), now), Step::Seek(1));
        assert_eq!(detour.nothing(now + SILENCE / 2), Step::Wait);
        assert_eq!(detour.nothing(now + SILENCE), Step::Pass(0..1));
    }

    proptest! {
        /// Of any log, exactly the batches that cannot be unpacked are passed over, each in few steps.
        #[test]
        fn exactly_the_batch_is_passed_over(batches in prop::collection::vec((1i64..5000, any::<bool>()), 1..12)) {
            let mut log = Vec::new();
            let mut end = 0;
            for (size, bad) in batches {
                log.push((end..end + size, bad));
                end += size;
            }
            let now = Instant::now();
            let (mut at, mut passed, mut detour, mut steps) = (0, Vec::new(), None::<Detour>, 0);
            while at < end {
                let (batch, bad) = log.iter().find(|(batch, _)| batch.contains(&at)).unwrap();
                let step = match (&mut detour, bad) {
                    (None, false) => { at = batch.end; continue; }
                    (None, true) => { detour = Some(Detour::begin(batch.start)); Step::Wait }
                    (Some(detour), true) => detour.failed(batch.start, Some(end), now),
                    (Some(detour), false) => detour.record(now),
                };
                steps += 1;
                prop_assert!(steps < 40 * log.len(), "{detour:?}");
                match step {
                    Step::Wait => {}
                    Step::Seek(offset) => { prop_assert!(offset < end); at = offset }
                    Step::Pass(range) => { at = range.end; passed.push(range); detour = None }
                }
            }
            let bad: Vec<Range<i64>> = log.into_iter().filter(|(_, bad)| *bad).map(|(batch, _)| batch).collect();
            prop_assert_eq!(passed, bad);
        }
    }
}
