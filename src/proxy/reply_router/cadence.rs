//! When to judge by what happened since the last time. Pure; time is given.
//!
//! After a standstill of the process, actix runs all late ticks of an interval in one go. Most of them then look back on nothing, and the
//! first one on a time in which this process alone did nothing.

use std::time::{Duration, Instant};

/// One interval's.
pub(super) struct Cadence {
    period: Duration,
    /// The last tick that was no repetition.
    last: Instant,
    /// That one was late.
    was_late: bool,
}

/// What a tick is good for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tick {
    /// About a period has passed.
    OnTime,
    /// The process stood still meanwhile, or before the last tick: what is due then becomes known only now.
    Late,
    /// Hardly any time has passed.
    Repeated,
}

impl Cadence {
    pub(super) fn new(period: Duration, now: Instant) -> Self {
        Cadence {
            period,
            last: now,
            was_late: false,
        }
    }

    pub(super) fn tick(&mut self, now: Instant) -> Tick {
        let passed = now.saturating_duration_since(self.last);
        if passed < self.period / 2 {
            return Tick::Repeated;
        }
        self.last = now;
        let is_late = passed > 3 * self.period;
        match std::mem::replace(&mut self.was_late, is_late) || is_late {
            true => Tick::Late,
            false => Tick::OnTime,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_standstill_nothing_is_judged_until_a_whole_period_has_passed() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut cadence = Cadence::new(second, start);
        let mut at = |millis| cadence.tick(start + Duration::from_millis(millis));
        assert_eq!((at(1_000), at(2_100)), (Tick::OnTime, Tick::OnTime));
        // Stood still for 20 s: the late ticks come at once, and the next one when it would have come.
        assert_eq!(at(22_400), Tick::Late);
        for _ in 0..19 {
            assert_eq!(at(22_400), Tick::Repeated);
        }
        assert_eq!(at(22_800), Tick::Repeated);
        assert_eq!(
            at(23_800),
            Tick::Late,
            "what ran out meanwhile was told after the first"
        );
        assert_eq!((at(24_800), at(25_800)), (Tick::OnTime, Tick::OnTime));
    }
}
