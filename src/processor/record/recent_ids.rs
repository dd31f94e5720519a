//! The requests that were executed of late, by their ids. A record that repeats one at another offset was written twice: by a producer
//! that is not idempotent, or by whoever may read the topic and write to it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use prometheus::IntGauge;

use crate::wire::{RawRecord, redrive};

/// How long an id is remembered at least, unless too many come.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How many ids each half of the memory holds: 32 bytes each, about 4 MiB in all for a worker whose halves are full.
const HALF: usize = 1 << 16;

/// The ids of one worker, in two halves: when the newer is old or full, the older is forgotten and it takes its place.
pub struct RecentIds {
    halves: RefCell<Halves>,
    hasher: RandomState,
    /// How many ids all workers of the process remember.
    remembered: IntGauge,
}

/// By partition, id and round: the offset.
type Ids = HashMap<(i32, u64), i64>;

struct Halves {
    /// When the newer one was begun.
    since: Instant,
    newer: Ids,
    older: Ids,
}

impl RecentIds {
    pub fn new(remembered: IntGauge) -> Self {
        RecentIds {
            halves: RefCell::new(Halves {
                since: Instant::now(),
                newer: Ids::new(),
                older: Ids::new(),
            }),
            hasher: RandomState::new(),
            remembered,
        }
    }

    /// Notes a request that is about to be executed. True: one of the same partition and id was, from another record. The same record
    /// again is no repeat, nor is a dead letter that goes back.
    pub fn repeats(&self, record: &RawRecord, id: &[u8], now: Instant) -> bool {
        let key = (record.partition, self.hasher.hash_one((id, redrive::rounds(record))));
        let mut halves = self.halves.borrow_mut();
        if now.saturating_duration_since(halves.since) >= REMEMBERED || halves.newer.len() >= HALF {
            halves.since = now;
            let newer = std::mem::take(&mut halves.newer);
            let forgotten = std::mem::replace(&mut halves.older, newer);
            self.remembered.sub(forgotten.len() as i64);
        }
        let known = halves.newer.get(&key).or_else(|| halves.older.get(&key)).copied();
        if known.is_none() {
            halves.newer.insert(key, record.offset);
            self.remembered.inc();
        }
        known.is_some_and(|offset| offset != record.offset)
    }
}

impl Drop for RecentIds {
    fn drop(&mut self) {
        let halves = self.halves.get_mut();
        self.remembered.sub((halves.newer.len() + halves.older.len()) as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (RecentIds, IntGauge) {
        let gauge = IntGauge::new("a", "a").unwrap();
        (RecentIds::new(gauge.clone()), gauge)
    }

    fn record(partition: i32, offset: i64) -> RawRecord {
        RawRecord {
            partition,
            offset,
            ..RawRecord::empty(&"orders".into())
        }
    }

    #[test]
    fn an_id_at_another_offset_of_its_partition_is_a_repeat() {
        let (ids, _) = ids();
        let now = Instant::now();
        assert!(!ids.repeats(&record(0, 5), b"id", now));
        assert!(
            !ids.repeats(&record(0, 5), b"id", now),
            "the record itself, which came back"
        );
        assert!(!ids.repeats(&record(1, 6), b"id", now), "another partition");
        assert!(!ids.repeats(&record(0, 6), b"another", now));
        assert!(ids.repeats(&record(0, 7), b"id", now));
        let mut redriven = record(0, 8);
        redriven
            .headers
            .push((b"khp-redrive"[..].into(), Some(b"1"[..].into())));
        assert!(!ids.repeats(&redriven, b"id", now), "a dead letter that went back");
    }

    #[test]
    fn ids_are_forgotten_after_a_while_and_bounded() {
        let (ids, gauge) = ids();
        let start = Instant::now();
        ids.repeats(&record(0, 5), b"id", start);
        assert!(ids.repeats(&record(0, 6), b"id", start + REMEMBERED));
        assert!(
            !ids.repeats(&record(0, 7), b"id", start + REMEMBERED * 3),
            "forgotten, and new"
        );
        for number in 0..5 * HALF as i64 {
            ids.repeats(&record(0, number), &number.to_be_bytes(), start);
            assert!(gauge.get() <= 2 * HALF as i64);
        }
        assert!(gauge.get() > HALF as i64);
        drop(ids);
        assert_eq!(gauge.get(), 0);
    }
}
