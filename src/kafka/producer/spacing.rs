//! How far apart batches are handed over, from how many records are under way on their whole way, and how fast they come.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The share of a record's whole way that it may wait for others: Little's law tells the way, records in flight / records a second.
const SHARE: f64 = 1.0 / 8.0;
/// The longest distance. Beyond it batches grow, and nothing gets cheaper.
const LONGEST: Duration = Duration::from_micros(2500);
/// A distance that does not bring so many records together is none: they would wait for nothing.
const WORTH: f64 = 8.0;
/// How long a measured rate is remembered.
const MEMORY: f64 = 0.2;

/// Measures, and decides. Written by one thread at a time: the one that hands over.
#[derive(Default)]
pub(super) struct Spacing {
    /// `f64` bits: records a second.
    rate: AtomicU64,
    /// `f64` bits: records in flight.
    in_flight: AtomicU64,
    /// Microseconds.
    distance: AtomicU64,
}

impl Spacing {
    /// So many records were handed over, `since_last` after those before, while so many were in flight.
    pub(super) fn handed_over(&self, records: usize, since_last: Duration, in_flight: usize) {
        let past = since_last.as_secs_f64();
        let rate = (get(&self.rate) * MEMORY + records as f64) / (MEMORY + past);
        let flight = (get(&self.in_flight) * MEMORY + in_flight as f64 * past) / (MEMORY + past);
        set(&self.rate, rate);
        set(&self.in_flight, flight);
        static E: std::sync::OnceLock<[f64; 3]> = std::sync::OnceLock::new();
        let [share, longest, worth] = *E.get_or_init(|| {
            [("EXP_SHARE", SHARE), ("EXP_LONGEST", LONGEST.as_secs_f64()), ("EXP_WORTH", WORTH)]
                .map(|(name, or)| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(or))
        });
        let distance = (flight / rate * share).min(longest);
        let worth = rate * distance >= worth;
        let distance = if worth { (distance * 1e6) as u64 } else { 0 };
        self.distance.store(distance, Ordering::Relaxed);
    }

    /// The least time between two batches, in microseconds; 0: none.
    pub(super) fn distance(&self) -> u64 {
        self.distance.load(Ordering::Relaxed)
    }
}

fn get(bits: &AtomicU64) -> f64 {
    f64::from_bits(bits.load(Ordering::Relaxed))
}

fn set(bits: &AtomicU64, value: f64) {
    bits.store(value.to_bits(), Ordering::Relaxed);
}
