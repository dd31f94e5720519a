//! A round of attempts: so many, within a span of time that begins with the first.

use std::time::Duration;

use tokio::time::Instant;

/// The attempts that count against `max_retries`. A record whose backend was out gets a new round when it is back.
pub struct Round {
    /// All attempts of the round and the waits between them together take no longer.
    span: Duration,
    /// Attempts that were begun.
    attempts: u32,
    /// When the first was begun. Until then a round cannot be over.
    began: Option<Instant>,
}

impl Round {
    pub fn new(span: Duration) -> Self {
        Round {
            span,
            attempts: 0,
            began: None,
        }
    }

    /// Counts an attempt that begins now; returns the time left for it.
    pub fn begin_attempt(&mut self) -> Duration {
        self.attempts += 1;
        let began = *self.began.get_or_insert_with(Instant::now);
        self.span.saturating_sub(began.elapsed())
    }

    /// Attempts that were begun.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// May another attempt begin after `wait`?
    pub fn has_time_after(&self, wait: Duration) -> bool {
        let elapsed = self.began.map_or(Duration::ZERO, |began| began.elapsed());
        elapsed.saturating_add(wait) < self.span
    }

    /// Comes when the round's time is up.
    pub async fn over(&self) {
        match self.began.and_then(|began| began.checked_add(self.span)) {
            Some(end) => actix::clock::sleep_until(end).await,
            None => std::future::pending().await,
        }
    }
}
