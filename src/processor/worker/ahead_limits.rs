//! At most once: how many records of a worker may be committed before their work ends.

use crate::kafka::group_pump::{AheadLimits, CanBegin};
use crate::settings::Ordering;

/// With `ordering: key` the records of one key wait for each other, and only the worker knows which records have the same key.
const WITH_KEYS: usize = 16;
/// With a rate limit, the records that begin within this time may be committed. It is longer than a commit takes.
const RATED_AHEAD_S: f64 = 0.1;

/// For a worker that makes so many calls at once; `can_begin` counts the places that are free for them now.
pub fn ahead_limits(
    concurrency: usize,
    ordering: Ordering,
    rate_limit: Option<f64>,
    can_begin: CanBegin,
) -> AheadLimits {
    let of_partition = match ordering {
        Ordering::Partition => 1,
        Ordering::Unordered | Ordering::Key => concurrency,
    };
    let with_keys = match ordering {
        Ordering::Key => WITH_KEYS,
        Ordering::Unordered | Ordering::Partition => concurrency,
    };
    let rated = rate_limit.map_or(concurrency, |rate| (rate * RATED_AHEAD_S).ceil().max(1.0) as usize);
    AheadLimits {
        in_all: concurrency,
        of_partition,
        not_begun: rated.min(with_keys).min(concurrency),
        can_begin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn no_more_is_committed_than_can_begin() {
        for (ordering, rate, expected) in [
            (Ordering::Unordered, None, (100, 100, 100)),
            (Ordering::Partition, None, (100, 1, 100)),
            (Ordering::Key, None, (100, 100, 16)),
            (Ordering::Unordered, Some(0.5), (100, 100, 1)),
            (Ordering::Key, Some(95.0), (100, 100, 10)),
            (Ordering::Unordered, Some(1e6), (100, 100, 100)),
        ] {
            let limits = ahead_limits(100, ordering, rate, Arc::new(|| 1_000));
            let (in_all, of_partition, not_begun) = expected;
            let found = (limits.in_all, limits.of_partition, limits.not_begun);
            assert_eq!(found, expected, "{ordering:?} {rate:?}");
            assert!(limits.leave_room(in_all - 1, of_partition - 1, not_begun - 1));
            assert!(!limits.leave_room(in_all, 0, 0) && !limits.leave_room(0, of_partition, 0));
            assert!(!limits.leave_room(0, 0, not_begun));
        }
    }

    #[test]
    fn no_more_is_committed_than_there_are_free_places() {
        for (free, most) in [(7, 7), (0, 1), (1_000, 100)] {
            let limits = ahead_limits(100, Ordering::Unordered, None, Arc::new(move || free));
            assert!(limits.leave_room(0, 0, most - 1), "{free}");
            assert!(!limits.leave_room(0, 0, most), "{free}");
        }
    }
}
