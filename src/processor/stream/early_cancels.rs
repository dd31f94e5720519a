//! Cancels whose request is not there yet: it waits in its topic, and is not to be begun.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prometheus::IntGauge;

/// How long a cancel is kept at least: as long as a request whose result is fetched later has by default. The deadline ends a request by
/// itself.
const KEPT: Duration = Duration::from_secs(3600);
/// How many each half of the memory holds.
pub const HALF: usize = 4096;
/// Longer ids are nobody's.
const LONGEST_ID: usize = 256;

/// The ids, in two halves: when the newer is old or full, the older is forgotten and it takes its place.
pub struct EarlyCancels {
    since: Instant,
    newer: HashSet<Bytes>,
    older: HashSet<Bytes>,
    /// How many all workers of the process keep.
    kept: IntGauge,
}

impl EarlyCancels {
    pub fn new(kept: IntGauge) -> Self {
        EarlyCancels {
            since: Instant::now(),
            newer: HashSet::new(),
            older: HashSet::new(),
            kept,
        }
    }

    pub fn insert(&mut self, id: &Bytes, now: Instant) {
        self.forget_old(now);
        if id.len() <= LONGEST_ID && !self.older.contains(id) && self.newer.insert(Bytes::copy_from_slice(id)) {
            self.kept.inc();
        }
    }

    /// True: it was cancelled.
    pub fn remove(&mut self, id: &[u8], now: Instant) -> bool {
        // Nearly always.
        if self.newer.is_empty() && self.older.is_empty() {
            return false;
        }
        self.forget_old(now);
        let removed = self.newer.remove(id) || self.older.remove(id);
        if removed {
            self.kept.dec();
        }
        removed
    }

    fn forget_old(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= KEPT || self.newer.len() >= HALF {
            self.since = now;
            let newer = std::mem::take(&mut self.newer);
            let forgotten = std::mem::replace(&mut self.older, newer);
            self.kept.sub(forgotten.len() as i64);
        }
    }
}

impl Drop for EarlyCancels {
    fn drop(&mut self) {
        self.kept.sub((self.newer.len() + self.older.len()) as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancels_are_kept_for_a_while_and_bounded() {
        let gauge = IntGauge::new("kept", "kept").unwrap();
        let (mut early, start) = (EarlyCancels::new(gauge.clone()), Instant::now());
        let id = |number: usize| Bytes::from(number.to_string());
        early.insert(&id(1), start);
        early.insert(&id(1), start);
        assert_eq!(gauge.get(), 1);
        assert!(!early.remove(b"2", start));
        assert!(early.remove(b"1", start + KEPT), "for one more span at most");
        assert!(!early.remove(b"1", start + KEPT), "once");
        early.insert(&id(1), start + KEPT);
        assert!(!early.remove(b"1", start + KEPT * 3) || gauge.get() == 0);
        for number in 0..5 * HALF {
            early.insert(&id(number), start + KEPT * 3);
            assert!(gauge.get() <= 2 * HALF as i64);
        }
        drop(early);
        assert_eq!(gauge.get(), 0);
    }
}
