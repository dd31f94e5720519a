//! The circuit breaker of one backend: a backend that fails too often is not called for a while, then probed, then trusted again.
//!
//! Closed → open (failures in a row, or a share of the recent attempts) → half-open after a while (one request a worker) → closed by a
//! probe that succeeds or by a health check, open again by a probe that fails. Shared by every worker that calls the backend, on
//! any thread, so it holds atomics only. Its callers pass the time, in ms of one monotonic clock.

mod span;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use self::span::Span;
use crate::settings::{self, BackendTls, BackendUrl, BreakerMode, Topic};

/// `open_until` of a closed breaker.
const CLOSED: u64 = 0;

/// One backend's breaker.
pub struct Breaker {
    /// The backend's URL, for the log.
    backend: String,
    /// Failures in a row that open it.
    failures: u32,
    /// The share of failed attempts of a span that opens it; 0 = off.
    failure_rate: f64,
    /// From its opening to the first probe.
    open_for: Duration,
    /// Failures since the last success.
    in_a_row: AtomicU32,
    /// When it may be probed; `CLOSED` while everything passes.
    open_until: AtomicU64,
    /// When it opened, while it is not closed.
    opened_at: AtomicU64,
    /// When the last attempt succeeded.
    last_success: AtomicU64,
    /// When it last closed again.
    closed_at: AtomicU64,
    span: Span,
    /// Counts changes of state, and probes that ended without a result. Attempts that wait for the breaker then ask it again.
    changes: watch::Sender<u64>,
}

/// As `processor_breaker_state` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Closed = 0,
    HalfOpen = 1,
    Open = 2,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::HalfOpen => "half-open",
            State::Open => "open",
        }
    }
}

/// Whether an attempt may be made now.
pub enum Pass {
    /// Yes. With a `Probe`, the result of the attempt decides what the breaker does next.
    Go(Option<Probe>),
    /// Not before this time has passed, or the breaker has changed.
    Wait(Duration),
}

/// Lets one worker have one probe at a time.
#[derive(Clone, Default)]
pub struct ProbeSlot(Arc<AtomicBool>);

/// The slot, taken; given back on drop.
pub struct Probe {
    slot: ProbeSlot,
    changes: watch::Sender<u64>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.slot.0.store(false, Ordering::Release);
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Breaker {
    /// A closed breaker; `backend` is what the log calls it.
    pub fn new(backend: String, settings: &settings::Breaker) -> Self {
        Breaker {
            backend,
            failures: settings.failures,
            failure_rate: settings.failure_rate,
            open_for: settings.open_for,
            in_a_row: AtomicU32::new(0),
            open_until: AtomicU64::new(CLOSED),
            opened_at: AtomicU64::new(0),
            last_success: AtomicU64::new(0),
            closed_at: AtomicU64::new(0),
            span: Span::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Whether an attempt may be made now.
    pub fn pass(&self, slot: &ProbeSlot, now: u64) -> Pass {
        match self.state(now) {
            State::Closed => Pass::Go(None),
            State::Open => {
                let left = self.open_until.load(Ordering::Acquire).saturating_sub(now);
                Pass::Wait(Duration::from_millis(left))
            }
            State::HalfOpen if !slot.0.swap(true, Ordering::AcqRel) => Pass::Go(Some(Probe {
                slot: slot.clone(),
                changes: self.changes.clone(),
            })),
            State::HalfOpen => Pass::Wait(self.open_for),
        }
    }

    /// Takes in what became of an attempt.
    pub fn record(&self, failed: bool, probe: Option<Probe>, now: u64) {
        let (attempts, failures) = self.span.count(failed, now);
        if !failed {
            self.in_a_row.store(0, Ordering::Relaxed);
            self.last_success.fetch_max(now, Ordering::Relaxed);
            if probe.is_some() {
                self.close("a probe succeeded", now);
            }
            return;
        }
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let enough = attempts >= self.failures.saturating_mul(2);
        let rate_is_reached =
            self.failure_rate > 0.0 && enough && f64::from(failures) >= f64::from(attempts) * self.failure_rate;
        match self.state(now) {
            State::Closed if in_a_row >= self.failures || rate_is_reached => {
                self.open(in_a_row, failures, attempts, now)
            }
            State::HalfOpen if probe.is_some() => self.open(in_a_row, failures, attempts, now),
            _ => {}
        }
    }

    /// A health check succeeded, which closes the breaker.
    pub fn health_check_succeeded(&self, now: u64) {
        self.last_success.fetch_max(now, Ordering::Relaxed);
        self.close("a health check succeeded", now);
    }

    /// The backend was out at some time since `then`, as far as is known: the breaker was not closed, or no attempt has succeeded.
    pub fn was_out_since(&self, then: u64) -> bool {
        self.open_until.load(Ordering::Acquire) != CLOSED
            || self.closed_at.load(Ordering::Relaxed) > then
            || self.last_success.load(Ordering::Relaxed) < then
    }

    pub fn state(&self, now: u64) -> State {
        match self.open_until.load(Ordering::Acquire) {
            CLOSED => State::Closed,
            until if now < until => State::Open,
            _ => State::HalfOpen,
        }
    }

    /// Since when it is not closed, and how long until it may be probed; `None`: it is closed.
    pub fn opened(&self, now: u64) -> Option<(Duration, Duration)> {
        let until = self.open_until.load(Ordering::Acquire);
        let since = now.saturating_sub(self.opened_at.load(Ordering::Relaxed));
        let ms = Duration::from_millis;
        (until != CLOSED).then(|| (ms(since), ms(until.saturating_sub(now))))
    }

    /// Resolves at each change. Subscribe before asking for the state, or a change in between is missed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn open(&self, in_a_row: u32, failures: u32, attempts: u32, now: u64) {
        let until = now + self.open_for.as_millis() as u64;
        let before = self.open_until.swap(until, Ordering::AcqRel);
        if before == CLOSED {
            self.opened_at.store(now, Ordering::Relaxed);
            let (backend, seconds) = (&self.backend, self.open_for.as_secs_f32());
            tracing::warn!(
                event = "breaker",
                backend,
                in_a_row,
                failures,
                attempts,
                seconds,
                "breaker opened: the backend is left alone, then probed"
            );
        }
        self.changes.send_modify(|count| *count += 1);
    }

    fn close(&self, why: &str, now: u64) {
        self.in_a_row.store(0, Ordering::Relaxed);
        if self.open_until.load(Ordering::Acquire) != CLOSED {
            // Set first: whoever sees the breaker closed must see since when.
            self.closed_at.fetch_max(now, Ordering::Relaxed);
        }
        if self.open_until.swap(CLOSED, Ordering::AcqRel) != CLOSED {
            // The failures that opened it say nothing about the backend that is back.
            self.span.clear();
            tracing::info!(event = "breaker", backend = self.backend, why, "breaker closed");
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

/// One breaker for each backend, as TLS finds it, and way to judge it.
#[derive(Default)]
pub struct Breakers(Vec<((BackendUrl, BackendTls, settings::Breaker), Arc<Breaker>)>);

impl Breakers {
    /// The topic's breaker; `None`: switched off.
    pub fn of(&mut self, topic: &Topic) -> Option<Arc<Breaker>> {
        let key = (topic.backend_url.clone(), topic.tls.clone(), topic.breaker);
        if topic.breaker.mode == BreakerMode::Off {
            return None;
        }
        let known = self.0.iter().find(|(known, _)| *known == key);
        Some(known.map(|(_, breaker)| breaker.clone()).unwrap_or_else(|| {
            let breaker = Arc::new(Breaker::new(topic.backend_url.to_string(), &topic.breaker));
            self.0.push((key, breaker.clone()));
            breaker
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(failures: u32, failure_rate: f64) -> Breaker {
        Breaker::new(
            "http://a".into(),
            &settings::Breaker {
                mode: BreakerMode::Reject,
                failures,
                failure_rate,
                open_for: Duration::from_secs(5),
            },
        )
    }

    fn probe(breaker: &Breaker, slot: &ProbeSlot, now: u64) -> Option<Probe> {
        match breaker.pass(slot, now) {
            Pass::Go(probe) => probe,
            Pass::Wait(_) => None,
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_starts_anew() {
        let breaker = breaker(3, 0.0);
        for failed in [true, true, false, true, true] {
            breaker.record(failed, None, 1);
            assert_eq!(breaker.state(1), State::Closed);
        }
        breaker.record(true, None, 1);
        assert_eq!(breaker.state(1), State::Open);
        assert!(matches!(breaker.pass(&ProbeSlot::default(), 2001), Pass::Wait(left) if left.as_millis() == 3000));
        assert_eq!(breaker.state(5001), State::HalfOpen);
    }

    #[test]
    fn a_share_of_recent_failures_opens_it() {
        let breaker = breaker(10, 0.5);
        for attempt in 0..19 {
            breaker.record(attempt % 2 == 0, None, 20_000);
        }
        assert_eq!(breaker.state(20_000), State::Closed, "too few to tell");
        breaker.record(false, None, 30_000);
        breaker.record(true, None, 30_000);
        assert_eq!(breaker.state(30_000), State::Closed, "another span");
        for attempt in 0..20 {
            breaker.record(attempt % 2 == 0, None, 30_000);
        }
        assert_eq!(breaker.state(30_000), State::Open);
    }

    #[test]
    fn half_open_lets_one_request_a_worker_through_and_its_result_decides() {
        let breaker = breaker(1, 0.0);
        let (one, other) = (ProbeSlot::default(), ProbeSlot::default());
        breaker.record(true, None, 0);
        assert!(probe(&breaker, &one, 4999).is_none());
        let first = probe(&breaker, &one, 5000).unwrap();
        assert!(matches!(breaker.pass(&one, 5000), Pass::Wait(_)), "one at a time");
        let second = probe(&breaker, &other, 5000).unwrap();
        breaker.record(true, Some(first), 5001);
        assert_eq!(breaker.state(5001), State::Open);
        drop(second);
        let third = probe(&breaker, &one, 10_001).unwrap();
        breaker.record(false, Some(third), 10_002);
        assert_eq!(breaker.state(10_002), State::Closed);
        assert!(matches!(breaker.pass(&one, 10_002), Pass::Go(None)));
    }

    #[test]
    fn what_was_under_way_when_it_opened_decides_nothing() {
        let breaker = breaker(1, 0.0);
        breaker.record(true, None, 0);
        breaker.record(false, None, 1);
        assert_eq!(breaker.state(1), State::Open);
        breaker.record(true, None, 5001);
        assert_eq!(breaker.state(5001), State::HalfOpen);
    }

    #[test]
    fn a_health_check_closes_it() {
        let breaker = breaker(1, 0.0);
        let mut changes = breaker.changes();
        breaker.record(true, None, 1);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        breaker.health_check_succeeded(2);
        assert!(changes.has_changed().unwrap());
        assert_eq!(breaker.state(2), State::Closed);
    }

    #[test]
    fn an_outage_is_told_from_a_record_that_fails_while_others_succeed() {
        let breaker = breaker(2, 0.0);
        breaker.record(false, None, 5);
        breaker.record(true, None, 6);
        assert!(!breaker.was_out_since(5), "another succeeded");
        assert!(breaker.was_out_since(6), "nobody has since");
        breaker.record(true, None, 7);
        assert!(breaker.was_out_since(1), "it is open");
        breaker.health_check_succeeded(9);
        assert!(breaker.was_out_since(8), "it was");
        breaker.record(false, None, 11);
        assert!(!breaker.was_out_since(10));
        breaker.health_check_succeeded(13);
        assert!(!breaker.was_out_since(12), "a look at one that works is no outage");
    }
}
