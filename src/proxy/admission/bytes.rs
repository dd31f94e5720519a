//! How many bytes of request bodies and answers are held: a bound for memory, whatever the number of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

/// The bytes that may be held. Clones share them.
#[derive(Clone)]
pub struct ByteBudget(Arc<Budget>);

struct Budget {
    held: AtomicUsize,
    max: AtomicUsize,
    gauge: IntGauge,
}

/// The bytes of one request, or of its answer; given back on drop.
pub struct HeldBytes {
    budget: Arc<Budget>,
    bytes: usize,
}

impl ByteBudget {
    /// `gauge` shows the bytes held.
    pub fn new(max: usize, gauge: IntGauge) -> Self {
        let held = AtomicUsize::new(0);
        let max = max.into();
        ByteBudget(Arc::new(Budget { held, max, gauge }))
    }

    /// From now on this is the limit. What is held beyond it stays.
    pub fn set_max(&self, max: usize) {
        self.0.max.store(max, Ordering::Relaxed);
    }

    /// Begins to hold a body. Its bytes count as they come: a length that is only told costs nothing. `None`: `expected` bytes do not fit
    /// now.
    pub fn begin(&self, expected: usize) -> Option<HeldBytes> {
        let held = self.0.held.load(Ordering::Relaxed);
        (held.saturating_add(expected) <= self.0.max.load(Ordering::Relaxed)).then(|| HeldBytes {
            budget: self.0.clone(),
            bytes: 0,
        })
    }

    /// Holds bytes that are here. `None`: they do not fit now.
    pub fn take(&self, bytes: usize) -> Option<HeldBytes> {
        let mut held = self.begin(0)?;
        held.grow(bytes).then_some(held)
    }

    /// Holds bytes of an answer that comes in pieces. They have come: what is too much is felt by the next request.
    pub fn hold(&self, bytes: usize) {
        self.0.held.fetch_add(bytes, Ordering::Relaxed);
        self.0.gauge.add(bytes as i64);
    }

    /// Gives back bytes that `hold` took.
    pub fn give_back(&self, bytes: usize) {
        self.0.held.fetch_sub(bytes, Ordering::Relaxed);
        self.0.gauge.sub(bytes as i64);
    }
}

impl HeldBytes {
    /// Holds more. False: they do not fit.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let max = self.budget.max.load(Ordering::Relaxed);
        let fits = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= max);
        let grown = self
            .budget
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok();
        if grown {
            self.bytes += bytes;
            self.budget.gauge.add(bytes as i64);
        }
        grown
    }

    /// Holds so much less, of what it holds.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.budget.held.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes -= bytes;
        self.budget.gauge.sub(bytes as i64);
    }

    /// Holds an answer instead. It has come, and is held in any case: what is too much is felt by the next request.
    pub fn replace(&mut self, bytes: usize) {
        self.budget.held.fetch_add(bytes, Ordering::Relaxed);
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.gauge.add(bytes as i64 - self.bytes as i64);
        self.bytes = bytes;
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.replace(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_an_answer_never_is() {
        let gauge = IntGauge::new("g", "g").unwrap();
        let budget = ByteBudget::new(100, gauge.clone());
        let mut one = budget.begin(100).unwrap();
        assert!(one.grow(60) && !one.grow(41));
        assert!(budget.begin(41).is_none());
        let mut other = budget.begin(0).unwrap();
        assert!(other.grow(40) && !other.grow(1));
        one.shrink(20);
        assert!(one.grow(20) && !one.grow(1));
        one.replace(500);
        assert_eq!(gauge.get(), 540);
        assert!(!other.grow(1));
        drop(one);
        assert!(other.grow(60));
        drop(other);
        assert_eq!(gauge.get(), 0);
        let taken = budget.take(70).unwrap();
        assert!(budget.take(31).is_none());
        assert_eq!(gauge.get(), 70);
        drop(taken);
        assert!(budget.begin(100).is_some());
    }
}
