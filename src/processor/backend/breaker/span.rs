//! The recent attempts of one backend, and how many of them failed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Attempts are counted over spans of this length.
const SPAN_MS: u64 = 10_000;

/// Attempts and failures of the current span, in one word: span number (32 bits), attempts, failures (16 each, saturating).
#[derive(Default)]
pub(super) struct Span(AtomicU64);

impl Span {
    /// Adds an attempt; returns attempts and failures of this span.
    pub(super) fn count(&self, failed: bool, now: u64) -> (u32, u32) {
        let span = (now / SPAN_MS) as u32;
        let mut counted = (0, 0);
        let add = |word: u64| {
            let (attempts, failures) = match (word >> 32) as u32 == span {
                true => ((word >> 16) as u16, word as u16),
                false => (0, 0),
            };
            // The counters are full: neither counts on, so that their ratio stays true.
            counted = match attempts {
                u16::MAX => (attempts, failures),
                _ => (attempts + 1, failures + u16::from(failed)),
            };
            Some(u64::from(span) << 32 | u64::from(counted.0) << 16 | u64::from(counted.1))
        };
        // Err: never, `add` always has a value.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        (counted.0.into(), counted.1.into())
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
