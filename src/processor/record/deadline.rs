//! How long somebody waits for an answer, by this machine's clock.

use std::time::Duration;

use prometheus::Gauge;
use tokio::time::Instant;

use crate::processor::record::age::Ages;
use crate::processor::record::logged_once::LoggedOnce;
use crate::wire::{self, Request};

/// A call ends so much before its deadline, or a tenth of what is left where that is less: what went wrong with the backend has to
/// travel back, or its client would hear only that no reply came.
const WAY_BACK: Duration = Duration::from_millis(200);

/// What the deadlines of one worker's records are worked out with. Lives on the worker's Arbiter.
pub struct DeadlineRules {
    /// How far the clocks of proxy and processor may disagree.
    pub clock_tolerance: Duration,
    /// A deadline that lies further back is past, whatever the clocks say.
    pub max_clock_skew: Duration,
    /// How long requests have waited, by the clocks of their senders.
    pub ages: Ages,
    /// Set with each record that came when nothing waited in Kafka: this clock minus the proxy's, in seconds.
    pub clock_skew: Gauge,
    /// Clocks that disagree were logged.
    pub skew_logged: LoggedOnce,
}

impl DeadlineRules {
    /// The deadline of a request; `None` where it has passed, so nobody waits.
    ///
    /// A request has passed its deadline when it is older than it says that its client waits. Its age is what it waited beyond the quickest
    /// request of the same proxy, so a clock that is wrong does not count. The quickest may have lied about its time, or its clock was
    /// wrong for a moment: so nothing is past whose deadline still lies ahead. Without such a span, only the deadline itself can be looked
    /// at. `fresh`: nothing waited before it in Kafka.
    pub fn deadline(&self, request: &Request, fresh: bool) -> Option<Deadline> {
        let Some(deadline_ms) = request.deadline_ms else {
            return Some(Deadline {
                until: None,
                calls_until: None,
            });
        };
        let late_ms = wire::now_ms().saturating_sub(deadline_ms);
        let tolerance_ms = self.clock_tolerance.as_millis() as i64;
        let ahead_ms = tolerance_ms.saturating_sub(late_ms);
        let left_ms = match request.timeout_ms {
            None => ahead_ms,
            Some(span_ms) => {
                let lateness_ms = late_ms.saturating_add(span_ms);
                if fresh {
                    self.clock_skew.set(lateness_ms as f64 / 1000.0);
                }
                let now = std::time::Instant::now();
                let age_ms = self.ages.age(&request.correlation_id, lateness_ms, fresh, now);
                let by_age_ms = span_ms.saturating_add(tolerance_ms).saturating_sub(age_ms);
                // A clock that is behind must not stretch the span.
                by_age_ms.max(ahead_ms).min(span_ms)
            }
        };
        let left = u64::try_from(left_ms).ok().filter(|left| *left > 0)?;
        if late_ms > self.max_clock_skew.as_millis() as i64 {
            return None;
        }
        if late_ms > tolerance_ms {
            self.log_skew(Duration::from_millis(late_ms.unsigned_abs()));
        }
        let left = Duration::from_millis(left);
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
                event = "clock",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::CorrelationId;

    const SPAN: Duration = Duration::from_secs(5);

    fn rules() -> DeadlineRules {
        DeadlineRules {
            clock_tolerance: Duration::from_secs(2),
            max_clock_skew: Duration::from_secs(300),
            ages: Ages::default(),
            clock_skew: Gauge::new("skew", "skew").unwrap(),
            skew_logged: LoggedOnce::default(),
        }
    }

    /// A request of one proxy, sent so long ago by a clock that is so far ahead.
    fn request(sent_ago: Duration, clock_ahead: Duration) -> Request {
        let millis = |time: Duration| time.as_millis() as i64;
        Request {
            correlation_id: CorrelationId::new(7).to_bytes().to_vec().into(),
            deadline_ms: Some(crate::wire::now_ms() - millis(sent_ago) + millis(clock_ahead) + millis(SPAN)),
            timeout_ms: Some(millis(SPAN)),
            ..Request::default()
        }
    }

    #[actix_web::test]
    async fn a_request_that_lies_about_its_time_costs_no_other_its_life() {
        for fresh in [true, false] {
            let rules = rules();
            let honest = |sent_ago| rules.deadline(&request(sent_ago, Duration::ZERO), fresh).is_some();
            assert!(honest(Duration::ZERO));
            // Written by somebody who copied the proxy's tag, or when its clock had jumped for a moment.
            for ahead in [3_600, 1_000_000_000] {
                rules.deadline(&request(Duration::ZERO, Duration::from_secs(ahead)), fresh);
            }
            assert!(honest(Duration::from_secs(1)), "it is alive");
            assert!(!honest(Duration::from_secs(8)), "it has waited too long");
        }
    }

    #[actix_web::test]
    async fn a_clock_that_is_behind_costs_nothing_and_stretches_nothing() {
        let rules = rules();
        let behind = Duration::from_secs(60);
        for _ in 0..2 {
            let deadline = rules.deadline(&request(behind, Duration::ZERO), true).unwrap();
            let left = deadline.until.unwrap() - std::time::Instant::now();
            assert!(left <= SPAN && left > SPAN - Duration::from_secs(1), "{left:?}");
        }
        assert!(
            rules
                .deadline(&request(behind + Duration::from_secs(8), Duration::ZERO), true)
                .is_none()
        );
    }
}
