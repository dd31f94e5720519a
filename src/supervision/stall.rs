//! Tells an actor that stands still from a process that stood still (SIGSTOP, a paused or migrated machine).
//!
//! After a standstill of the process everybody's last sign of life is old, and late timer ticks come in one burst: an actor looked at
//! twice within microseconds had no turn in between. So only time counts that the supervisor itself has seen pass, and a gap between two
//! of its looks counts as little more than a period, however long it was.

use std::time::{Duration, Instant};

use crate::process::progress::Progress;

/// How often the supervisor looks.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// An actor or a pump that shows no sign of life for this long is replaced.
pub const STALLED_AFTER: Duration = Duration::from_secs(15);
/// Whoever touches its progress once a second is never still for so long.
const LIVELY: Duration = Duration::from_secs(4);
/// What a gap between two looks counts for at most.
const MOST_OF_A_GAP: Duration = Duration::from_secs(2);

/// The supervisor's own sense of time.
pub struct Looks {
    last: Instant,
}

impl Looks {
    pub fn new(now: Instant) -> Self {
        Looks { last: now }
    }

    /// Another look; returns how much time it counts for.
    pub fn look(&mut self, now: Instant) -> Duration {
        let gap = now.saturating_duration_since(std::mem::replace(&mut self.last, now));
        gap.min(MOST_OF_A_GAP)
    }
}

/// Somebody who must make progress, as the supervisor sees it.
pub struct Watched {
    progress: Progress,
    /// The last sign of life that a look found.
    seen: u64,
    /// How long there has been no newer one.
    still_for: Duration,
}

impl Watched {
    pub fn new(progress: Progress) -> Self {
        Watched {
            seen: progress.touched_at(),
            progress,
            still_for: Duration::ZERO,
        }
    }

    /// Looks for a sign of life after `passed`; true when there has been none for too long.
    pub fn is_stalled(&mut self, passed: Duration) -> bool {
        let touched_at = self.progress.touched_at();
        match touched_at == self.seen {
            true => self.still_for += passed,
            false => (self.seen, self.still_for) = (touched_at, Duration::ZERO),
        }
        self.still_for > STALLED_AFTER
    }

    /// There was a sign of life lately.
    pub fn is_lively(&self) -> bool {
        self.still_for < LIVELY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks after each of these gaps, at somebody who shows no sign of life; the verdicts.
    fn verdicts(gaps: &[Duration]) -> Vec<bool> {
        let mut now = Instant::now();
        let (mut looks, mut watched) = (Looks::new(now), Watched::new(Progress::default()));
        let verdict = |gap: &Duration| {
            now += *gap;
            watched.is_stalled(looks.look(now))
        };
        gaps.iter().map(verdict).collect()
    }

    #[test]
    fn who_shows_no_sign_of_life_is_stalled_after_a_while() {
        let verdicts = verdicts(&[LOOK_EVERY; 20]);
        let first = verdicts.iter().position(|stalled| *stalled);
        assert_eq!(first, Some(15), "{verdicts:?}");
    }

    #[test]
    fn late_ticks_in_one_burst_are_no_verdict() {
        for standstill in [16, 17, 60, 86_400] {
            let mut gaps = vec![Duration::from_secs(standstill)];
            gaps.extend([Duration::from_micros(3); 100]);
            assert!(!verdicts(&gaps).contains(&true), "{standstill} s");
        }
    }

    #[test]
    fn several_standstills_in_a_row_are_no_verdict() {
        let gaps = [Duration::from_secs(20), Duration::from_millis(1)].repeat(7);
        assert!(!verdicts(&gaps).contains(&true));
    }

    #[test]
    fn a_sign_of_life_begins_anew() {
        let (progress, mut now) = (Progress::default(), Instant::now());
        let (mut looks, mut watched) = (Looks::new(now), Watched::new(progress.clone()));
        for look in 0..40 {
            now += LOOK_EVERY;
            if look % 10 == 9 {
                std::thread::sleep(Duration::from_millis(2));
                progress.touch();
            }
            assert!(!watched.is_stalled(looks.look(now)), "look {look}");
        }
    }
}
