//! How many retries all records of a topic may make together: a failing backend must not get twice the load because it fails.
//!
//! Each first attempt adds a share of a retry to the balance, each second of time adds a whole one, each retry takes one. An atomic, since workers
//! on several threads share it. Its callers pass the time, in ms of one monotonic clock.

use std::sync::atomic::{AtomicU64, Ordering};

/// One retry, in the unit of the balance.
const RETRY: u32 = 1_000;
/// The most that is saved up, and what there is at first: single failures are retried however rare requests are.
const MOST: u32 = 10 * RETRY;

/// A topic's balance.
pub struct RetryBudget {
    /// What a first attempt adds.
    share: u32,
    /// When the balance last grew with time (ms, wrapping at 2³²), and the balance itself, in one word.
    state: AtomicU64,
}

impl RetryBudget {
    /// `share` of a retry for each first attempt.
    pub fn new(share: f64, now: u64) -> Self {
        RetryBudget {
            share: (share * f64::from(RETRY)) as u32,
            state: AtomicU64::new(word(now as u32, MOST)),
        }
    }

    /// A first attempt was made.
    pub fn deposit(&self) {
        self.update(|(since, balance)| Some((since, (balance + self.share).min(MOST))));
    }

    /// Takes one retry out; false: there is none.
    pub fn withdraw(&self, now: u64) -> bool {
        let now = now as u32;
        self.update(|(since, balance)| {
            let grown = balance.saturating_add(now.wrapping_sub(since)).min(MOST);
            Some((now, grown.checked_sub(RETRY)?))
        })
    }

    /// Retries that may be made at once.
    pub fn balance(&self, now: u64) -> f64 {
        let state = self.state.load(Ordering::Relaxed);
        let (since, balance) = ((state >> 32) as u32, state as u32);
        let grown = balance.saturating_add((now as u32).wrapping_sub(since)).min(MOST);
        f64::from(grown) / f64::from(RETRY)
    }

    fn update(&self, change: impl Fn((u32, u32)) -> Option<(u32, u32)>) -> bool {
        let change =
            |state: u64| change(((state >> 32) as u32, state as u32)).map(|(since, balance)| word(since, balance));
        self.state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, change)
            .is_ok()
    }
}

fn word(since: u32, balance: u32) -> u64 {
    u64::from(since) << 32 | u64::from(balance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_saved_up_is_bounded_and_grows_by_one_a_second() {
        let budget = RetryBudget::new(0.0, 5_000);
        assert_eq!((0..20).filter(|_| budget.withdraw(5_000)).count(), 10);
        assert!(!budget.withdraw(5_999));
        assert_eq!(budget.balance(5_500), 0.5);
        assert!(budget.withdraw(6_000));
        assert_eq!((0..20).filter(|_| budget.withdraw(3_600_000)).count(), 10);
    }

    proptest! {
        /// Whatever comes when: no more retries than the share of first attempts, the time, and what was saved up at first.
        #[test]
        fn retries_stay_within_their_share(
            share in 0.0..=1.0f64,
            steps in prop::collection::vec((any::<bool>(), 0u64..50), 1..2000),
        ) {
            let budget = RetryBudget::new(share, 0);
            let (mut now, mut firsts, mut retries) = (0, 0, 0);
            for (first, later) in steps {
                now += later;
                if first {
                    firsts += 1;
                    budget.deposit();
                } else if budget.withdraw(now) {
                    retries += 1;
                }
                prop_assert!(f64::from(retries) <= 10.0 + f64::from(firsts) * share + now as f64 / 1000.0 + 0.001);
            }
        }
    }
}
