//! From the first attempt to call the backend to the last: each waits for its right to begin, and a failure for its repetition.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use crate::kafka::group_pump::intake::{Lease, Place};
use crate::process::progress::monotonic_ms;
use crate::processor::backend::breaker::{self, Breaker, Pass, Probe};
use crate::processor::backend::client::{Answer, Backend, BackendError};
use crate::processor::backend::health;
use crate::processor::backend::retry::Policy;
use crate::processor::record::deadline::Deadline;
use crate::processor::worker::lanes::Turn;
use crate::processor::worker::shared::Worker;
use crate::settings::BreakerMode;
use crate::wire::Request;

/// How it ended.
pub enum End {
    /// The last attempt's outcome, and how many there were.
    Outcome(Result<Answer, BackendError>, u32),
    /// Nobody waits any more, and no attempt was made (or, while intake is paused, none that succeeded).
    Expired,
    /// The partition goes to another, who begins anew.
    Released,
    /// Not even asked: the breaker is open, and somebody waits.
    BreakerOpen,
}

/// One record's attempts.
pub struct Attempts<'a, C> {
    pub worker: &'a Worker,
    pub backend: &'a Backend,
    pub request: &'a Request,
    /// Makes one call, within this time.
    pub call: C,
    pub deadline: &'a Deadline,
    pub lease: &'a Lease,
    /// The record's place in its lane, held until the outcome stands.
    pub turn: Turn,
    /// The record's turn came, and it had its place in the rate limit.
    pub entered: bool,
    pub not_begun: Option<Place>,
}

/// The right to one attempt.
struct Right<'a> {
    /// Its result decides what the breaker does next.
    probe: Option<Probe>,
    permits: (SemaphorePermit<'a>, SemaphorePermit<'a>),
}

/// Why there is no right to an attempt.
enum Refused {
    DeadlinePassed,
    /// All attempts together have had their time.
    TimeIsUp,
    Revoked,
    BreakerOpen,
}

impl<'a, C: AsyncFn(Duration) -> Result<Answer, BackendError>> Attempts<'a, C> {
    /// Calls until an outcome stands.
    pub async fn run(&mut self) -> End {
        let (worker, topic) = (self.worker, &self.worker.topic);
        let policy = Policy::new(topic, self.request);
        // Of the present round; a backend that was out for a while gets a new one.
        let (mut in_round, mut round_began) = (0, Instant::now());
        let (mut attempts, mut last) = (0, None);
        let mut asked_before = None;
        loop {
            let round_ends = round_began.checked_add(policy.longest()).filter(|_| in_round > 0);
            let right = tokio::select! {
                biased;
                right = self.right(&policy, attempts > 0) => right,
                () = passed(round_ends) => Err(Refused::TimeIsUp),
            };
            let Right { probe, permits } = match (right, last.take()) {
                (Ok(right), before) => {
                    last = before;
                    right
                }
                (Err(Refused::Revoked), _) => return End::Released,
                (Err(Refused::BreakerOpen), None) => return End::BreakerOpen,
                (Err(Refused::DeadlinePassed | Refused::TimeIsUp), None) => return End::Expired,
                (Err(Refused::DeadlinePassed), Some(outcome))
                    if self.pauses() && breaker::failed(&outcome) == Some(true) =>
                {
                    return End::Expired;
                }
                (Err(Refused::TimeIsUp), Some(outcome)) if self.waits_out_an_outage(asked_before.unwrap_or(0)) => {
                    (in_round, last) = (0, Some(outcome));
                    continue;
                }
                (Err(Refused::BreakerOpen | Refused::DeadlinePassed | Refused::TimeIsUp), Some(outcome)) => {
                    return End::Outcome(outcome, attempts);
                }
            };
            if in_round == 0 {
                round_began = Instant::now();
            }
            self.not_begun = None;
            match attempts {
                0 => worker.retry_budget.deposit(),
                _ => worker.metrics.retries.inc(),
            }
            (attempts, in_round) = (attempts + 1, in_round + 1);
            let asked = monotonic_ms();
            let since = asked_before.replace(asked).unwrap_or(asked);
            let left = policy.longest().saturating_sub(round_began.elapsed());
            let timeout = topic.timeout.min(self.deadline.remaining()).min(left);
            let outcome = tokio::select! {
                biased;
                () = self.lease.cut_off() => return End::Released,
                outcome = (self.call)(timeout) => outcome,
            };
            // A wait for the next attempt holds nobody else up.
            drop(permits);
            // Cut short, because nobody waits longer: that says nothing about the backend.
            let cut_short = matches!(&outcome, Err(BackendError::Timeout(_))) && timeout < topic.timeout / 2;
            let failed = if cut_short { None } else { breaker::failed(&outcome) };
            match (&worker.breaker, failed) {
                (Some(breaker), Some(failed)) => breaker.record(failed, probe, monotonic_ms()),
                _ => drop(probe),
            }
            let outcome = match last.take() {
                // Nor is it what the backend answered when it had time to. Only an answer goes before: this call may have been executed,
                // whatever became of the connection before.
                Some(Ok(answer)) if cut_short => Ok(answer),
                _ => outcome,
            };
            let mut wait = policy.wait_before(in_round, &outcome);
            let in_time =
                round_began.elapsed().saturating_add(wait) < policy.longest() && wait < self.deadline.remaining();
            let again = policy.is_worth_another(&outcome) && in_round <= topic.max_retries && in_time;
            if !(again && worker.retry_budget.withdraw(monotonic_ms())) {
                // An outage is not the record's fault: it waits for the backend's return, and begins anew.
                let outage = match failed {
                    Some(failed) => failed && self.waits_out_an_outage(since),
                    None => cut_short && self.pauses() && self.is_left_alone(),
                };
                if !(outage && policy.can_repeat(&outcome)) {
                    return End::Outcome(outcome, attempts);
                }
                in_round = 0;
                // A backend that is back earlier than it said is noticed.
                wait = wait.min(topic.retry.max_wait);
            }
            tokio::select! {
                biased;
                () = self.lease.revoked() => return End::Released,
                () = self.deadline.passed() => {}
                () = actix::clock::sleep(wait) => {}
            }
            tracing::debug!(topic = %topic.request_topic, attempts, "backend attempt is to be repeated");
            last = Some(outcome);
        }
    }

    /// Waits until an attempt may be made. Nothing is held meanwhile.
    async fn right(&mut self, policy: &Policy<'_>, repeated: bool) -> Result<Right<'a>, Refused> {
        let (worker, lease, deadline) = (self.worker, self.lease, self.deadline);
        loop {
            let mut changes = worker.breaker.as_ref().map(|breaker| breaker.changes());
            let changed = async {
                match &mut changes {
                    Some(changes) => drop(changes.changed().await),
                    None => std::future::pending().await,
                }
            };
            // First its turn: with a probe in hand it would wait for the record before it, and that one for the probe.
            if !self.entered {
                let open = |breaker: &Arc<Breaker>| breaker.state(monotonic_ms()) == breaker::State::Open;
                if worker.breaker.as_ref().is_some_and(open) && !self.waits_for_the_breaker(repeated) {
                    return Err(Refused::BreakerOpen);
                }
                tokio::select! {
                    biased;
                    () = lease.revoked() => return Err(Refused::Revoked),
                    () = deadline.passed() => return Err(Refused::DeadlinePassed),
                    () = self.enter() => {}
                    () = changed => {}
                }
                continue;
            }
            let pass = match &worker.breaker {
                None => Pass::Go(None),
                Some(breaker) => match breaker.pass(&worker.probe, monotonic_ms()) {
                    Pass::Go(Some(probe)) if self.pauses() && worker.asks_health && !policy.repeatable => {
                        match self.vouch(breaker, probe).await? {
                            Some(probe) => Pass::Go(Some(probe)),
                            None => continue,
                        }
                    }
                    pass => pass,
                },
            };
            match pass {
                Pass::Go(probe) => tokio::select! {
                    biased;
                    () = lease.revoked() => return Err(Refused::Revoked),
                    () = deadline.passed() => return Err(Refused::DeadlinePassed),
                    permits = worker.permits() => {
                        let permits = permits.ok_or(Refused::Revoked)?;
                        if deadline.remaining().is_zero() {
                            return Err(Refused::DeadlinePassed);
                        }
                        if probe.is_none() && self.is_left_alone() {
                            // It opened as this waited for its place.
                            continue;
                        }
                        return Ok(Right { probe, permits });
                    }
                    // It may have opened: calls that hang must not keep others waiting for their permits.
                    () = changed, if probe.is_none() => {}
                },
                Pass::Wait(_) if !self.waits_for_the_breaker(repeated) => return Err(Refused::BreakerOpen),
                Pass::Wait(wait) => tokio::select! {
                    biased;
                    () = lease.revoked() => return Err(Refused::Revoked),
                    () = deadline.passed() => return Err(Refused::DeadlinePassed),
                    () = changed => {}
                    () = actix::clock::sleep(wait.max(Duration::from_millis(1))) => {}
                },
            }
        }
    }

    /// Waits for the record's turn, then for its place in the rate limit. Cancel safe.
    async fn enter(&mut self) {
        self.turn.come().await;
        if let Some(limit) = &self.worker.rate_limit {
            limit.until_ready().await;
        }
        self.entered = true;
    }

    /// A request that cannot be sent twice would be lost to a backend that is still out: the health page is asked for before it is a probe.
    async fn vouch(&self, breaker: &Breaker, probe: Probe) -> Result<Option<Probe>, Refused> {
        tokio::select! {
            biased;
            () = self.lease.revoked() => Err(Refused::Revoked),
            () = self.deadline.passed() => Err(Refused::DeadlinePassed),
            (up, _) = health::ask(self.backend, &self.worker.topic.health_path) => match up {
                true => Ok(Some(probe)),
                false => {
                    breaker.record(true, Some(probe), monotonic_ms());
                    Ok(None)
                }
            },
        }
    }

    /// The backend is, until a probe of it succeeds.
    fn is_left_alone(&self) -> bool {
        let is_closed = |breaker: &Arc<Breaker>| breaker.state(monotonic_ms()) == breaker::State::Closed;
        !self.worker.breaker.as_ref().is_none_or(is_closed)
    }

    fn pauses(&self) -> bool {
        self.worker.topic.breaker.mode == BreakerMode::Pause
    }

    /// Nobody can be told about a record without a deadline, so it is not answered 503 but waits; once it was tried it ends as it did.
    fn waits_for_the_breaker(&self, repeated: bool) -> bool {
        self.pauses() || (self.deadline.until.is_none() && !repeated)
    }

    /// While intake is paused nothing is given up. But where the backend worked all the time since the attempt before this one, it is the
    /// record that fails.
    fn waits_out_an_outage(&self, since: u64) -> bool {
        let was_out = |breaker: &Arc<Breaker>| breaker.was_out_since(since);
        self.pauses() && self.worker.breaker.as_ref().is_some_and(was_out)
    }
}

/// Comes at a time; never, where there is none.
async fn passed(time: Option<Instant>) {
    match time {
        Some(time) => actix::clock::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
