//! What happened in a queue, tick by tick, and some ticks taken together. Pure.

use std::time::Duration;

/// From one tick to the next.
pub const TICK: Duration = Duration::from_secs(1);

/// What happened in a queue since the last tick.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    pub answered: u64,
    /// The shortest time from producing a request to its reply.
    pub quickest: Option<Duration>,
    /// Requests that waited until their deadline.
    pub in_vain: u64,
    /// Requests refused because of the limit.
    pub refused: u64,
    /// The timeout of the requests that came; `None`: none came.
    pub timeout: Option<Duration>,
}

/// The ticks that lie within a span, one at least.
pub fn ticks_of(span: Duration) -> u32 {
    (span.as_secs_f64() / TICK.as_secs_f64()).ceil().max(1.0) as u32
}

/// Some ticks taken together, the newest first.
#[derive(Debug, Default)]
pub struct Span {
    pub ticks: u32,
    /// Of these, those after the first that brought an answer, and their answers: what comes back after a gap is not to be judged by
    /// the gap, nor by the tick that it ended in.
    moving: (u32, u64),
    pub seen: Seen,
}

impl Span {
    /// Takes ticks together, the newest first.
    pub fn of<'a>(ticks: impl Iterator<Item = &'a Seen>) -> Self {
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
    pub fn rate(&self) -> f64 {
        per_second(self.ticks, self.seen.answered)
    }

    /// The same since answers came again, if there was a gap.
    pub fn best_rate(&self) -> f64 {
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
