//! How many requests of one timeout a request topic carries: whether a request that joins its queue now would still be answered in time.
//! Pure; time is given.
//!
//! Most of the time there is no limit. A standing queue is suspected when three things come together: even the quickest of the latest
//! answers took more than half of its time; that has grown, or requests have timed out; and by Little's law (in flight over answers per
//! second) the next one would wait in vain. Then requests in flight are limited to what was answered within one timeout at best.
//!
//! That is only a suspicion: a backend whose every answer takes long looks the same. So the limit has to find out by itself what the
//! topic carries (`limit`). Once nobody is refused any more, there is none.

use std::collections::VecDeque;
use std::time::Duration;

use crate::proxy::admission::limit::{CUT, Limit, QUICK, SUSPICIOUS, View};
use crate::proxy::admission::span::{Seen, Span, ticks_of};

/// The most ticks remembered: longer timeouts are judged by the last minute.
const REMEMBERED: usize = 60;
/// The latest answers are those of this part of a timeout: the interval of CoDel (RFC 8289, 3.2), to our scale.
const INTERVALS: u32 = 4;
/// The queue grows when the quickest of the latest answers takes this much longer than the quickest of all that are remembered.
const GROWTH: f64 = 1.25;
/// What remains of the best rate after each tick with answers: half of it after 45, so that a topic may become slower for good.
const FADING: f64 = 0.985;

/// One queue's estimate.
#[derive(Debug, Default)]
pub struct Pace {
    /// The newest last; what was before its last idle moment is gone.
    ticks: VecDeque<Seen>,
    /// Answers per second over a whole timeout, at best; fades.
    best: f64,
    /// It looked like a standing queue at the last tick, which may have held half of a second's answers.
    suspected: bool,
    /// `None`: requests are not limited.
    limit: Option<Limit>,
}

impl Pace {
    /// Takes in a tick, with what is in flight at its end. Returns how many requests may be in flight; `None`: there is no limit.
    pub fn tick(&mut self, seen: Seen, pending: usize) -> Option<usize> {
        if pending == 0 && seen.refused == 0 {
            *self = Pace::default();
            return None;
        }
        self.ticks.push_back(seen);
        if self.ticks.len() > REMEMBERED {
            self.ticks.pop_front();
        }
        let all = Span::of(self.ticks.iter().rev());
        let timeout = all.seen.timeout?;
        let (latest, whole) = (Span::of(self.last(timeout / INTERVALS)), Span::of(self.last(timeout)));
        if seen.answered > 0 {
            self.best *= FADING;
        }
        self.best = self.best.max(whole.rate());
        let is_quick = latest
            .seen
            .quickest
            .is_some_and(|quickest| quickest < timeout.mul_f64(QUICK));
        let grows = latest.seen.quickest > all.seen.quickest.map(|before| before.mul_f64(GROWTH));
        // Requests that time out beside quick answers do not wait in a queue.
        let is_suspicious = match latest.seen.quickest {
            Some(_) => {
                let rate = whole.best_rate().max(latest.best_rate());
                let too_many = pending as f64 > SUSPICIOUS * rate * timeout.as_secs_f64();
                !is_quick && (grows || latest.seen.in_vain > 0) && too_many
            }
            None => seen.in_vain > 0,
        };
        let confirmed = std::mem::replace(&mut self.suspected, is_suspicious) && is_suspicious;
        let is_silent = whole.seen.answered == 0;
        let timeout_ticks = ticks_of(timeout);
        match &mut self.limit {
            None if confirmed => {
                // Within the first timeout it is not known yet.
                let best = if whole.ticks < timeout_ticks {
                    whole.best_rate()
                } else {
                    self.best
                };
                let carried = best * timeout.as_secs_f64();
                let share = if grows { CUT } else { 1.0 };
                self.limit = Some(Limit::new(share * carried, is_silent));
            }
            None => {}
            Some(limit) => {
                limit.tick(&View {
                    seen,
                    pending,
                    latest,
                    stalls: confirmed && is_silent,
                    is_quick,
                    carried: whole.rate() * timeout.as_secs_f64(),
                    timeout: timeout_ticks,
                });
                if limit.calm >= timeout_ticks {
                    self.limit = None;
                }
            }
        }
        let limit = self.limit.as_ref()?;
        Some(if limit.stalled { 0 } else { limit.most as usize })
    }

    /// The ticks that lie within `span`, one at least.
    fn last(&self, span: Duration) -> impl Iterator<Item = &Seen> {
        self.ticks.iter().rev().take(ticks_of(span) as usize)
    }
}

#[cfg(test)]
mod tests;
