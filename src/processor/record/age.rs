//! How long a request has waited, by the clock of whoever sent it.
//!
//! A clock that is wrong shifts all of a sender's requests alike; waiting shifts only those that waited. So each sender's least lateness
//! of late is what its clock and the way here account for, and a request's age is its own lateness beyond that.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::wire::correlation::CorrelationId;

/// How long a least lateness counts at least: a sender's clock that is set back makes its requests look old for up to twice as long.
const RECENT: Duration = Duration::from_secs(60);

/// Who sent a request: the tag in a correlation id of ours. All others share `None`. That bounds the memory: 65,537 senders.
type Sender = Option<u16>;

/// The least lateness of each sender that this worker has seen.
#[derive(Default)]
pub struct Ages(RefCell<HashMap<Sender, Least>>);

/// The least lateness of two spans, in milliseconds.
struct Least {
    since: Instant,
    current: i64,
    before: i64,
}

impl Ages {
    /// The age of a request in milliseconds, from its lateness: this clock when it was taken in, minus its sender's when it was sent.
    ///
    /// `fresh`: nothing waited before it in Kafka, as far as the consumer saw. That is believed of a sender that nothing is known of, and
    /// lets a sender's least lateness grow. Otherwise nothing shows that the clock is wrong, and the lateness is the age.
    pub fn age(&self, correlation_id: &[u8], lateness_ms: i64, fresh: bool, now: Instant) -> i64 {
        let sender = CorrelationId::from_bytes(correlation_id).map(CorrelationId::tag);
        let mut senders = self.0.borrow_mut();
        let Some(least) = senders.get_mut(&sender) else {
            if fresh {
                senders.insert(
                    sender,
                    Least {
                        since: now,
                        current: lateness_ms,
                        before: lateness_ms,
                    },
                );
                return 0;
            }
            return lateness_ms;
        };
        if fresh && now.duration_since(least.since) > RECENT {
            *least = Least {
                since: now,
                current: lateness_ms,
                before: least.current,
            };
        }
        least.current = least.current.min(lateness_ms);
        lateness_ms.saturating_sub(least.current.min(least.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(tag: u16) -> [u8; 16] {
        CorrelationId::new(tag).to_bytes()
    }

    #[test]
    fn waiting_counts_and_a_wrong_clock_does_not() {
        for clock in [-60_000, 0, 60_000] {
            let (ages, now) = (Ages::default(), Instant::now());
            assert_eq!(ages.age(&id(1), clock + 5, true, now), 0);
            assert_eq!(
                ages.age(&id(1), clock + 3500, true, now),
                3495,
                "it waited, however fresh it looks"
            );
            assert_eq!(ages.age(&id(1), clock + 3, false, now), 0);
            assert_eq!(ages.age(&id(1), clock + 10_000, false, now), 9997);
        }
    }

    #[test]
    fn of_a_stranger_in_a_backlog_the_lateness_is_the_age() {
        let (ages, now) = (Ages::default(), Instant::now());
        for lateness in [60_000, 59_000, 100] {
            assert_eq!(ages.age(&id(1), lateness, false, now), lateness, "and teaches nothing");
        }
        assert_eq!(ages.age(b"another's id", 7000, true, now), 0);
        assert_eq!(ages.age(b"another's, too", 8000, false, now), 1000, "they share one");
        assert_eq!(ages.age(&id(1), 100, false, now), 100);
    }

    #[test]
    fn a_clock_that_was_set_back_is_learnt_again_but_a_backlog_never() {
        let (ages, start) = (Ages::default(), Instant::now());
        ages.age(&id(1), 5, true, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        // A backlog of an hour.
        assert!((0..3600).all(|second| ages.age(&id(1), 10_000, false, at(second)) == 9995));
        // Set back by a minute.
        let learnt = (3600..3800).find(|second| ages.age(&id(1), 60_005, true, at(*second)) == 0);
        assert_eq!(learnt, Some(3661));
        assert_eq!(ages.age(&id(1), 4, false, at(3800)), 0);
    }

    proptest! {
        /// Whatever came before: no age is negative or beyond what the sender's clock, which is constant, allows.
        #[test]
        fn no_age_is_more_than_what_was_waited(
            clock in -100_000i64..100_000,
            waits in prop::collection::vec((0i64..20_000, any::<bool>(), 0u64..30), 1..200),
        ) {
            let (ages, mut now) = (Ages::default(), Instant::now());
            let mut least = i64::MAX;
            ages.age(&id(1), clock, true, now);
            for (wait, fresh, seconds) in waits {
                now += Duration::from_secs(seconds);
                let age = ages.age(&id(1), clock + wait, fresh, now);
                least = least.min(wait);
                prop_assert!((0..=wait).contains(&age), "{age} of {wait}");
            }
        }
    }
}
