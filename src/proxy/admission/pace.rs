//! How fast the queue of a request topic's requests of one timeout moves: whether a request that joins it now would still be answered in
//! time. Pure; time is given.
//!
//! The expected wait is Little's law, requests in flight over answers per second. Alone it would refuse too much: when a topic is new,
//! idle or used little, few answers mean few requests, not a queue. So it counts only while there is a standing queue: even the
//! quickest of the latest answers took more than half of its time, and either that grew, or requests have timed out. A topic whose
//! every answer takes long, but no longer than before, has none.

use std::collections::VecDeque;
use std::time::Duration;

/// From one tick to the next.
pub const TICK: Duration = Duration::from_secs(1);
/// Ticks remembered at most: longer timeouts are judged by the last minute.
const REMEMBERED: usize = 60;
/// A request is refused from this share of its timeout on: the rate is of the past, and what is admitted has to make it.
const MARGIN: f64 = 0.9;
/// An answer within this share of the timeout means that there is no standing queue.
const QUICK: f64 = 0.5;
/// The latest answers are those of this part of a timeout: the interval of CoDel (RFC 8289, 3.2), to our scale.
const INTERVALS: u32 = 4;
/// The quickest of them takes this much longer than the quickest of all that are remembered: the queue grows.
const GROWTH: f64 = 1.25;

/// What happened on a topic since the last tick.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    pub answered: u64,
    /// The shortest time from producing a request to its reply.
    pub quickest: Option<Duration>,
    /// Requests that waited until their deadline.
    pub in_vain: u64,
    /// Requests refused because of the estimate.
    pub refused: u64,
    /// The timeout of the requests that came; `None`: none came.
    pub timeout: Option<Duration>,
}

/// One queue's estimate.
#[derive(Debug, Default)]
pub struct Pace {
    /// The newest last; what was before its last idle moment is gone.
    ticks: VecDeque<Seen>,
    /// There is a standing queue.
    standing: bool,
    /// It looked like one at the last tick, which may have held half of a second's answers.
    suspected: bool,
    /// Since a request last waited in vain or was refused.
    calm: Duration,
}

impl Pace {
    /// Takes in a tick, with what is in flight at its end. While there is a standing queue, returns how much longer each request in
    /// flight makes the next one wait, the margin included.
    pub fn tick(&mut self, seen: Seen, pending: usize) -> Option<Duration> {
        if pending == 0 {
            *self = Pace::default();
            return None;
        }
        self.ticks.push_back(seen);
        if self.ticks.len() > REMEMBERED {
            self.ticks.pop_front();
        }
        let all = Span::of(self.ticks.iter().rev());
        let timeout = all.seen.timeout?;
        let latest = Span::of(self.last(timeout / INTERVALS));
        let whole = Span::of(self.last(timeout));
        let is_quick = latest
            .seen
            .quickest
            .is_some_and(|quickest| quickest < timeout.mul_f64(QUICK));
        // What waits in vain beside quick answers does not wait in a queue.
        let troubled = seen.refused > 0 || seen.in_vain > 0 && !is_quick;
        self.calm = if troubled { Duration::ZERO } else { self.calm + TICK };
        self.standing = if self.standing {
            // Answers alone would not do: they are quick, too, where refusals keep the queue short.
            self.calm < timeout
        } else {
            let suspected = match latest.seen.quickest {
                Some(quickest) => {
                    let grows = all
                        .seen
                        .quickest
                        .is_some_and(|before| quickest > before.mul_f64(GROWTH));
                    let too_long =
                        pending as f64 > MARGIN * whole.best_rate().max(latest.best_rate()) * timeout.as_secs_f64();
                    !is_quick && (grows || latest.seen.in_vain > 0) && too_long
                }
                None => seen.in_vain > 0,
            };
            std::mem::replace(&mut self.suspected, suspected) && suspected
        };
        self.standing
            .then(|| Duration::from_secs_f64(1.0 / (MARGIN * whole.rate())))
    }

    /// The ticks that lie within `span`, one at least.
    fn last(&self, span: Duration) -> impl Iterator<Item = &Seen> {
        let count = (span.as_secs_f64() / TICK.as_secs_f64()).ceil() as usize;
        self.ticks.iter().rev().take(count.max(1))
    }
}

/// Some ticks taken together, the newest first.
#[derive(Default)]
struct Span {
    ticks: u32,
    /// Of these, those after the first that brought an answer, and their answers: what comes back after a gap is not to be judged by
    /// the gap, nor by the tick that it ended in.
    moving: (u32, u64),
    seen: Seen,
}

impl Span {
    fn of<'a>(ticks: impl Iterator<Item = &'a Seen>) -> Self {
        ticks.fold(Span::default(), |span, tick| {
            let before = (span.ticks, span.seen.answered);
            Span {
                ticks: span.ticks + 1,
                moving: if tick.answered > 0 { before } else { span.moving },
                seen: span.seen.and(tick),
            }
        })
    }

    /// Answers per second; above 0, as if one were about to come.
    fn rate(&self) -> f64 {
        per_second(self.ticks, self.seen.answered)
    }

    /// The same since answers came again, if there was a gap.
    fn best_rate(&self) -> f64 {
        match self.moving {
            (0, _) => self.rate(),
            (ticks, answered) => per_second(ticks, answered),
        }
    }
}

fn per_second(ticks: u32, answered: u64) -> f64 {
    answered.max(1) as f64 / (TICK * ticks).as_secs_f64()
}

impl Seen {
    fn and(self, other: &Seen) -> Seen {
        Seen {
            answered: self.answered + other.answered,
            quickest: self.quickest.into_iter().chain(other.quickest).min(),
            in_vain: self.in_vain + other.in_vain,
            refused: self.refused + other.refused,
            timeout: self.timeout.max(other.timeout),
        }
    }
}

#[cfg(test)]
mod tests;
