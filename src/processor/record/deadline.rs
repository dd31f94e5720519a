//! How long somebody waits for an answer, by this machine's clock.

use std::time::Duration;

use prometheus::Gauge;
use tokio::time::Instant;

use crate::processor::record::logged_once::LoggedOnce;
use crate::wire::{self, Request};

/// A call ends so much before its deadline, or a tenth of what is left where that is less: what went wrong with the backend has to
/// travel back, or its client would hear only that no reply came.
const WAY_BACK: Duration = Duration::from_millis(200);

/// What the deadlines of one worker's records are worked out with.
pub struct DeadlineRules {
    /// How far the clocks of proxy and processor may disagree.
    pub clock_tolerance: Duration,
    /// How long a client waits whose request does not say: the topic's own timeout.
    pub default_span: Duration,
    /// Set with each record that cannot have waited: this clock minus the proxy's, in seconds.
    pub clock_skew: Gauge,
    /// Clocks that disagree were logged.
    pub skew_logged: LoggedOnce,
}

impl DeadlineRules {
    /// The deadline of a request; `None` where it has passed, so nobody waits.
    ///
    /// Where there was no backlog, the record cannot have waited here: one that claims to be expired shows a wrong clock. It is executed
    /// within the span that its request names.
    pub fn deadline(&self, request: &Request, no_backlog: bool) -> Option<Deadline> {
        let Some(deadline_ms) = request.deadline_ms else {
            return Some(Deadline {
                until: None,
                calls_until: None,
            });
        };
        let now_ms = wire::now_ms();
        let span = request
            .timeout_ms
            .map_or(self.default_span, |ms| Duration::from_millis(ms.max(0) as u64));
        if no_backlog {
            let sent_ms = deadline_ms.saturating_sub(span.as_millis() as i64);
            self.clock_skew.set(now_ms.saturating_sub(sent_ms) as f64 / 1000.0);
        }
        let left = deadline_ms
            .saturating_add(self.clock_tolerance.as_millis() as i64)
            .saturating_sub(now_ms);
        let left = match u64::try_from(left) {
            // A clock that is behind must not stretch the span; without one, the deadline alone counts.
            Ok(left) if left > 0 && request.timeout_ms.is_some() => Duration::from_millis(left).min(span),
            Ok(left) if left > 0 => Duration::from_millis(left),
            _ if no_backlog => {
                self.log_skew(Duration::from_millis(left.unsigned_abs()));
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

    fn log_skew(&self, late: Duration) {
        if self.skew_logged.is_first() {
            let seconds = late.as_secs_f32();
            tracing::warn!(
                seconds,
                "a record without a backlog claims to be expired: the clocks of proxy and processor differ; it is executed (said once)"
            );
        }
    }
}

/// How long there is for one request.
pub struct Deadline {
    /// When nobody waits any more. `None`: the request names no deadline, and the backend's own timeouts bound it.
    pub until: Option<std::time::Instant>,
    /// When calls have to be over.
    calls_until: Option<Instant>,
}

impl Deadline {
    /// The time left for calls.
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
