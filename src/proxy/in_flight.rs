//! Admission: how many requests may be in flight, in all and per request topic, so that memory is bounded by what was admitted and
//! one slow topic cannot take the others' places.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

/// The limits and how far they are used up. Clones share them.
#[derive(Clone)]
pub struct Admission(Arc<Limits>);

struct Limits {
    total: AtomicUsize,
    max_total: usize,
    max_per_topic: usize,
    gauge: IntGauge,
}

/// One request topic's share.
#[derive(Debug, Default)]
pub struct TopicLoad(AtomicUsize);

/// The right to be in flight; given back on drop.
pub struct Permit {
    limits: Arc<Limits>,
    load: Arc<TopicLoad>,
}

impl Admission {
    /// `gauge` shows the requests in flight.
    pub fn new(max_total: usize, max_per_topic: usize, gauge: IntGauge) -> Self {
        Admission(Arc::new(Limits {
            total: AtomicUsize::new(0),
            max_total,
            max_per_topic,
            gauge,
        }))
    }

    /// A permit, or `None` where either limit is reached; never waits.
    pub fn admit(&self, load: &Arc<TopicLoad>) -> Option<Permit> {
        take(&load.0, self.0.max_per_topic)?;
        if take(&self.0.total, self.0.max_total).is_none() {
            load.0.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.0.gauge.inc();
        Some(Permit {
            limits: self.0.clone(),
            load: load.clone(),
        })
    }
}

fn take(count: &AtomicUsize, limit: usize) -> Option<usize> {
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            (taken < limit).then_some(taken + 1)
        })
        .ok()
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.load.0.fetch_sub(1, Ordering::Relaxed);
        self.limits.total.fetch_sub(1, Ordering::Relaxed);
        self.limits.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_topic_cannot_take_the_others_places() {
        let gauge = IntGauge::new("g", "g").unwrap();
        let admission = Admission::new(3, 2, gauge.clone());
        let (slow, quick) = (Arc::new(TopicLoad::default()), Arc::new(TopicLoad::default()));
        let held: Vec<_> = (0..2).map(|_| admission.admit(&slow).unwrap()).collect();
        assert!(admission.admit(&slow).is_none());
        let third = admission.admit(&quick).unwrap();
        assert!(admission.admit(&quick).is_none(), "the total is reached");
        assert_eq!(gauge.get(), 3);
        drop((held, third));
        assert_eq!(gauge.get(), 0);
        assert!(admission.admit(&slow).is_some());
    }
}
