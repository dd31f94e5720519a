//! The access log: one line for each request that ends, as `log.access` asks for.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::DefaultDirectRateLimiter;

use crate::exchange::phase::{Phase, Phases};
use crate::exchange::record::{ByKey, Exchange};
use crate::exchange::sink::Watcher;
use crate::process::rate;
use crate::process::telemetry::{ACCESS, AccessLog as Wanted};

/// Writes the lines.
pub struct AccessLog {
    wanted: Which,
    /// Requests that got no line since the last one.
    left_out: AtomicU64,
}

enum Which {
    Failures,
    All,
    /// As long as there is room for a line.
    Rate(DefaultDirectRateLimiter),
}

impl AccessLog {
    /// `None`: nothing is wanted.
    pub fn new(wanted: Wanted) -> Option<Self> {
        let wanted = match wanted {
            Wanted::Off => return None,
            Wanted::Failures => Which::Failures,
            Wanted::All => Which::All,
            Wanted::PerSecond(lines) => match rate::per_second(lines, burst(lines)) {
                Some(quota) => Which::Rate(DefaultDirectRateLimiter::direct(quota)),
                None => Which::All,
            },
        };
        Some(AccessLog {
            wanted,
            left_out: AtomicU64::new(0),
        })
    }
}

/// The lines of one second at once.
fn burst(per_second: f64) -> NonZeroU32 {
    NonZeroU32::new(per_second as u32).unwrap_or(NonZeroU32::MIN)
}

impl Watcher for AccessLog {
    fn wants(&self, exchange: &Exchange) -> bool {
        match &self.wanted {
            Which::Failures => exchange.ending.is_failure(),
            Which::All => true,
            Which::Rate(limiter) => {
                let is_free = limiter.check().is_ok();
                if !is_free {
                    self.left_out.fetch_add(1, Ordering::Relaxed);
                }
                is_free
            }
        }
    }

    fn ended(&self, exchange: &Arc<Exchange>) {
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        write(exchange, (left_out > 0).then_some(left_out));
    }
}

/// Texts of a client are given as such: both formats quote them, so that none begins a line of its own.
fn write(exchange: &Exchange, left_out: Option<u64>) {
    let Exchange {
        ending,
        phases,
        request,
        reply,
        ..
    } = exchange;
    let (request, reply) = (request.as_ref(), reply.as_ref());
    tracing::info!(
        target: ACCESS,
        role = exchange.role.as_str(),
        correlation_id = exchange.correlation_id.to_string(),
        request_id = exchange.request_id.as_deref(),
        trace_id = exchange.trace.map(|trace| format!("{:032x}", trace.context.trace)),
        client = exchange.client.as_ref().map(IpAddr::to_string),
        principal = exchange.principal.as_deref(),
        method = &*exchange.method,
        path = exchange.path,
        topic = request.map(|request| &*request.topic),
        partition = request.and_then(|request| request.partition),
        offset = request.and_then(|request| request.offset),
        reply_partition = reply.and_then(|reply| reply.partition),
        reply_offset = reply.and_then(|reply| reply.offset),
        attempts = (!exchange.attempts.is_empty()).then_some(exchange.attempts.len()),
        status = ending.status,
        code = ending.code,
        idempotency = exchange.by_key.map(ByKey::as_str),
        took_ms = ms(exchange.took),
        admission_ms = of(phases, Phase::Admission),
        produce_ms = of(phases, Phase::Produce),
        queue_ms = of(phases, Phase::Queue),
        permit_ms = of(phases, Phase::Permit),
        backend_ms = of(phases, Phase::Backend),
        reply_ms = of(phases, Phase::Reply),
        write_ms = of(phases, Phase::Write),
        request_bytes = exchange.request_bytes,
        response_bytes = exchange.response_bytes,
        left_out,
        "request"
    );
}

fn of(phases: &Phases, phase: Phase) -> Option<f64> {
    phases.get(phase).map(ms)
}

/// Microseconds are enough.
fn ms(took: Duration) -> f64 {
    took.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::record::Ending;
    use crate::exchange::role::Role;
    use crate::exchange::sink::Exchanges;
    use crate::exchange::under_way::UnderWay;
    use crate::process::test_log::Text;

    /// The lines, as JSON, of requests that end with these statuses.
    fn lines(wanted: Wanted, statuses: &[u16], path: &str) -> Vec<serde_json::Value> {
        let log = Arc::new(AccessLog::new(wanted).unwrap());
        let exchanges = Exchanges::new(vec![log], false);
        let text = Text::default();
        let subscriber = tracing_subscriber::fmt().json().with_writer(text.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            for status in statuses {
                let mut seen = UnderWay::begin(&exchanges, Role::Proxy);
                seen.asks("GET", path);
                seen.asked_by(Some("eve\n\"level\":\"ERROR\""));
                seen.ends(Phase::Admission);
                seen.ending = Ending::answered(*status);
            }
        });
        let text = text.read();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn failures_alone_or_all_or_as_many_as_a_rate_leaves_room_for() {
        assert!(AccessLog::new(Wanted::Off).is_none());
        let statuses = [200, 503, 404];
        let failures = lines(Wanted::Failures, &statuses, "/a");
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0]["fields"]["status"], 503);
        assert_eq!(lines(Wanted::All, &statuses, "/a").len(), 3);
        // The next is due in 1000 s.
        assert_eq!(lines(Wanted::PerSecond(0.001), &statuses, "/a").len(), 1);
    }

    #[test]
    fn a_line_has_the_parts_that_are_known_and_no_query() {
        let line = &lines(Wanted::All, &[200], "/a?token=secret")[0];
        let fields = line["fields"].as_object().unwrap();
        assert_eq!((&line["target"], &fields["path"]), (&"access".into(), &"/a?***".into()));
        assert_eq!(fields["principal"], "eve\n\"level\":\"ERROR\"");
        assert!(fields["admission_ms"].is_number() && fields["took_ms"].is_number());
        for absent in ["backend_ms", "partition", "attempts", "code", "left_out"] {
            assert!(!fields.contains_key(absent), "{absent}");
        }
    }

    #[test]
    fn what_a_rate_left_out_is_said_with_the_next_line() {
        let log = AccessLog::new(Wanted::PerSecond(0.001)).unwrap();
        let exchange = Arc::new(Exchange::begin(Role::Proxy));
        let wanted = [0; 5].map(|_| log.wants(&exchange));
        assert_eq!(wanted, [true, false, false, false, false]);
        assert_eq!(log.left_out.load(Ordering::Relaxed), 4);
        log.ended(&exchange);
        assert_eq!(log.left_out.load(Ordering::Relaxed), 0);
    }
}
