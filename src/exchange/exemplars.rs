//! Requests that stand for a bucket of a histogram: the last one whose trace is kept, so that a slow bucket leads to a slow request.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::exchange::phase::Phase;
use crate::exchange::role::Role;
use crate::metrics::LATENCY_BUCKETS;
use crate::wire::clock::unix_ms;

/// A bucket gets another one after this time: whoever scrapes sees one of an interval.
const EVERY: Duration = Duration::from_secs(1);

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    pub trace: u128,
    /// In seconds.
    pub value: f64,
    pub at: SystemTime,
}

/// Those of one histogram: one for each bucket, and for what is beyond all.
#[derive(Debug)]
pub struct Buckets([Slot; LATENCY_BUCKETS.len() + 1]);

#[derive(Debug, Default)]
struct Slot {
    last: ArcSwapOption<Exemplar>,
    /// When, in ms since 1970.
    at: AtomicU64,
}

impl Default for Buckets {
    fn default() -> Self {
        Buckets(std::array::from_fn(|_| Slot::default()))
    }
}

impl Buckets {
    /// Notes a request of a trace.
    pub fn note(&self, trace: u128, value: f64, at: SystemTime) {
        let index = LATENCY_BUCKETS.partition_point(|bound| *bound < value);
        let slot = &self.0[index];
        let now = unix_ms(at) as u64;
        let last = slot.at.load(Ordering::Relaxed);
        let is_due = now.abs_diff(last) >= EVERY.as_millis() as u64;
        // Err: another thread notes one.
        let is_ours = is_due
            && slot
                .at
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_ours {
            slot.last.store(Some(Arc::new(Exemplar { trace, value, at })));
        }
    }

    /// The one of the bucket with this number; beyond all is the last.
    pub fn get(&self, bucket: usize) -> Option<Arc<Exemplar>> {
        self.0.get(bucket)?.last.load_full()
    }
}

/// Those of one topic: one histogram for each phase of a role.
#[derive(Debug)]
pub struct OfTopic([(Phase, Buckets); 4]);

impl OfTopic {
    /// Those of a phase, as metrics call it; `None`: the role has no such phase.
    pub fn get(&self, phase: &str) -> Option<&Buckets> {
        let found = self.0.iter().find(|(of, _)| of.as_str() == phase);
        found.map(|(_, buckets)| buckets)
    }

    /// Those of each phase, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Buckets> {
        self.0.iter().map(|(_, buckets)| buckets)
    }
}

/// Those of one role, by topic. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Exemplars(Arc<ArcSwap<HashMap<Arc<str>, Arc<OfTopic>>>>);

impl Exemplars {
    /// Those of a topic, which are made where there are none yet. Topics are few, and are met rarely.
    pub fn of(&self, topic: &str, role: Role) -> Arc<OfTopic> {
        if let Some(found) = self.get(topic) {
            return found;
        }
        let made = Arc::new(OfTopic(Phase::of(role).map(|phase| (phase, Buckets::default()))));
        let topic = Arc::from(topic);
        self.0.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.entry(Arc::clone(&topic)).or_insert_with(|| made.clone());
            known
        });
        self.get(&topic).unwrap_or(made)
    }

    /// Those of a topic; `None`: there are none.
    pub fn get(&self, topic: &str) -> Option<Arc<OfTopic>> {
        self.0.load().get(topic).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_bucket_has_the_last_request_but_no_more_than_one_a_second() {
        let exemplars = Exemplars::default();
        let topic = exemplars.of("orders", Role::Proxy);
        let buckets = topic.get("reply").unwrap();
        let at = UNIX_EPOCH + Duration::from_secs(1000);
        buckets.note(1, 0.0015, at);
        buckets.note(2, 0.0016, at + Duration::from_millis(10));
        buckets.note(3, 1000.0, at);
        let again = exemplars.of("orders", Role::Proxy);
        let again = again.get("reply").unwrap();
        assert_eq!(again.get(1).map(|found| found.trace), Some(1));
        assert_eq!(again.get(LATENCY_BUCKETS.len()).map(|found| found.trace), Some(3));
        assert_eq!((again.get(0), again.get(99)), (None, None));
        buckets.note(4, 0.0016, at + Duration::from_secs(2));
        assert_eq!(again.get(1).map(|found| found.trace), Some(4));
        assert!(topic.get("write").is_some() && topic.get("backend").is_none());
        assert!(exemplars.get("orders").is_some() && exemplars.get("others").is_none());
    }
}
