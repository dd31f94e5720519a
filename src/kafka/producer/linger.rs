//! Whether batches wait a millisecond for more records, which is worth it where that is little beside a record's whole way.
//!
//! A batch that lingers enters librdkafka as a whole, and more records come together in it: half of what a record costs is for its batch,
//! in this process as in the broker. At 256 connections on two cores, a fifth less CPU time and a fifth more requests (docs/performance.md).
//! For few records, or fast ones, it would only be a wait.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long a batch lingers. The least that librdkafka sleeps through: it spins through less.
pub const LINGER: Duration = Duration::from_millis(1);

/// Batches begin to linger where a record's way takes so many lingers, and where so many records come in one of them.
const BEGIN: Worth = Worth {
    lingers_in_way: 8.0,
    records_in_linger: 4.0,
};
/// Below either of these they linger no more. Well below `BEGIN`: the way is longer by what it lingers itself.
const END: Worth = Worth {
    lingers_in_way: 5.0,
    records_in_linger: 2.0,
};
/// How long what was measured counts, in seconds: batches come in bursts.
const MEMORY: f64 = 0.2;

struct Worth {
    lingers_in_way: f64,
    records_in_linger: f64,
}

/// Measures, and decides. Written by one thread at a time: the one that hands over.
#[derive(Default)]
pub(super) struct Linger {
    /// `f64` bits: records a second.
    rate: AtomicU64,
    /// `f64` bits: records in flight.
    in_flight: AtomicU64,
    is_worth_it: AtomicBool,
}

impl Linger {
    /// So many records are handed over, `since_last` after those before, while so many are in flight.
    pub(super) fn handed_over(&self, records: usize, since_last: Duration, in_flight: usize) {
        let past = since_last.as_secs_f64();
        let rate = (get(&self.rate) * MEMORY + records as f64) / (MEMORY + past);
        let flight = (get(&self.in_flight) * MEMORY + in_flight as f64 * past) / (MEMORY + past);
        set(&self.rate, rate);
        set(&self.in_flight, flight);
        let least = if self.is_worth_it() { END } else { BEGIN };
        let linger = LINGER.as_secs_f64();
        // Little's law: the way is records in flight / records a second.
        let is_worth_it = flight >= least.lingers_in_way * linger * rate && rate * linger >= least.records_in_linger;
        self.is_worth_it.store(is_worth_it, Ordering::Relaxed);
    }

    /// What the next batch should do.
    pub(super) fn is_worth_it(&self) -> bool {
        self.is_worth_it.load(Ordering::Relaxed)
    }
}

fn get(bits: &AtomicU64) -> f64 {
    f64::from_bits(bits.load(Ordering::Relaxed))
}

fn set(bits: &AtomicU64, value: f64) {
    bits.store(value.to_bits(), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second of batches, 1 ms apart.
    fn second(linger: &Linger, per_second: usize, in_flight: usize) {
        for _ in 0..1000 {
            linger.handed_over(per_second / 1000, Duration::from_millis(1), in_flight);
        }
    }

    #[test]
    fn few_records_and_fast_ones_do_not_linger() {
        let linger = Linger::default();
        // One after the other, a millisecond each.
        second(&linger, 1000, 1);
        assert!(!linger.is_worth_it());
        // 64 at once, 6.4 ms each.
        second(&linger, 10_000, 64);
        assert!(!linger.is_worth_it());
        let linger = Linger::default();
        // Many that wait for a slow backend, and hardly any that comes.
        second(&linger, 3000, 10_000);
        assert!(!linger.is_worth_it());
    }

    #[test]
    fn many_linger_until_they_are_few_or_fast() {
        let linger = Linger::default();
        second(&linger, 12_000, 256);
        assert!(linger.is_worth_it());
        // Between the two bounds it stays as it is.
        second(&linger, 12_000, 80);
        assert!(linger.is_worth_it());
        second(&linger, 12_000, 48);
        assert!(!linger.is_worth_it());
        second(&linger, 12_000, 80);
        assert!(!linger.is_worth_it());
    }

    #[test]
    fn what_comes_after_the_load_goes_at_once() {
        let linger = Linger::default();
        second(&linger, 12_000, 256);
        linger.handed_over(1, Duration::from_secs(10), 1);
        assert!(!linger.is_worth_it());
    }

    #[test]
    fn a_burst_is_no_load() {
        let linger = Linger::default();
        linger.handed_over(200, Duration::from_secs(1), 200);
        assert!(!linger.is_worth_it());
    }
}
