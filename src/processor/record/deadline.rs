//! How long somebody waits for an answer, by this machine's clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::processor::worker::shared::Worker;
use crate::wire::{self, Request};

/// A call ends so much before its deadline, or a tenth of what is left where that is less: what went wrong with the backend has to
/// travel back, or its client would hear only that no reply came.
const WAY_BACK: Duration = Duration::from_millis(200);

/// How long there is for a request.
pub struct Deadline {
    /// When nobody waits any more. `None`: the request says nothing; the backend's own timeouts bound it.
    pub until: Option<std::time::Instant>,
    /// When calls have to be over.
    calls_until: Option<Instant>,
}

impl Deadline {
    /// `None`: it has passed, beyond the tolerance for clocks that differ, so nobody waits. Not so where there was no backlog: the
    /// record cannot have waited here, so a clock is wrong; it is executed within the span the request names.
    pub fn of(request: &Request, no_backlog: bool, worker: &Worker) -> Option<Self> {
        let Some(deadline_ms) = request.deadline_ms else {
            return Some(Deadline {
                until: None,
                calls_until: None,
            });
        };
        let now_ms = wire::now_ms();
        let span = request
            .timeout_ms
            .map_or(worker.topic.timeout, |ms| Duration::from_millis(ms.max(0) as u64));
        if no_backlog {
            let sent_ms = deadline_ms.saturating_sub(span.as_millis() as i64);
            worker
                .metrics
                .clock_skew
                .set(now_ms.saturating_sub(sent_ms) as f64 / 1000.0);
        }
        let left = deadline_ms
            .saturating_add(worker.clock_tolerance.as_millis() as i64)
            .saturating_sub(now_ms);
        let left = match u64::try_from(left) {
            // A clock that is behind must not stretch the span; without one, the deadline alone counts.
            Ok(left) if left > 0 && request.timeout_ms.is_some() => Duration::from_millis(left).min(span),
            Ok(left) if left > 0 => Duration::from_millis(left),
            _ if no_backlog => {
                worker.once.clock(Duration::from_millis(left.unsigned_abs()));
                span
            }
            _ => return None,
        };
        let until = Instant::now() + left;
        Some(Deadline {
            until: Some(until.into_std()),
            calls_until: Some(until - WAY_BACK.min(left / 10)),
        })
    }

    /// For calls.
    pub fn remaining(&self) -> Duration {
        self.calls_until
            .map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Comes when it is too late for a call; never, where there is no deadline.
    pub async fn passed(&self) {
        match self.calls_until {
            Some(until) => actix::clock::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }
}
