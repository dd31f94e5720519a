//! All attempts of one record to call its backend: each waits for its right to begin, and a failure for its repetition.

mod parts;

use std::time::Duration;

use self::parts::{Entry, Made, Next, Refused, Right, Verdict, unless_refused};
use crate::exchange::{Attempt, Trace};
use crate::kafka::group_pump::intake::{Counted, Lease};
use crate::process::progress::monotonic_ms;
use crate::processor::backend::breaker::{Breaker, Pass, Probe, State};
use crate::processor::backend::call_pool::CallPlace;
use crate::processor::backend::health;
use crate::processor::backend::outcome::{Answer, BackendError, failed};
use crate::processor::backend::retry::Policy;
use crate::processor::bodies::readers::ReaderPlace;
use crate::processor::record::caller::Caller;
use crate::processor::record::deadline::Deadline;
use crate::processor::record::round::Round;
use crate::processor::worker::lanes::Turn;
use crate::wire::Request;
use crate::wire::trace_parent::TraceParent;

/// What came of the attempts.
pub enum End {
    /// The outcome that stands, and how many attempts were made.
    Outcome(Result<Answer, BackendError>, u32),
    /// Nobody waits any more, and no attempt was made (or, while intake is paused, none that succeeded).
    Expired,
    /// The partition goes to another owner, who begins anew.
    Released,
    /// No attempt was made, since the breaker is open, and a client waits.
    BreakerOpen,
}

/// One record's attempts.
pub struct Attempts<'c, 'a, C> {
    caller: &'c Caller,
    policy: Policy<'a>,
    /// Makes one call, within the time it is given.
    call: C,
    deadline: &'a Deadline,
    lease: &'a Lease,
    entry: Entry,
    /// The record's place in its lane, held until the outcome stands.
    turn: Turn,
    /// At most once: given up as the first attempt begins.
    not_begun: Option<Counted>,
    /// Its body lies elsewhere.
    needs_reader: bool,
    /// The place of the last attempt, while the body of its answer is open.
    place: Option<CallPlace<'c>>,
    /// The trace that the calls belong to.
    trace: Option<Trace>,
    /// What is told of the calls.
    calls: Vec<Attempt>,
    /// A call was made that the backend may have executed.
    may_have_run: bool,
}

/// What a call that streams its answer holds until the end of that.
pub struct HeldByCall<'a> {
    pub place: Option<CallPlace<'a>>,
    pub turn: Turn,
}

impl<'c: 'a, 'a, C: AsyncFn(Duration, Option<ReaderPlace>, Option<TraceParent>) -> Result<Answer, BackendError>>
    Attempts<'c, 'a, C>
{
    pub fn new(
        caller: &'c Caller,
        request: &'a Request,
        call: C,
        deadline: &'a Deadline,
        lease: &'a Lease,
        turn: Turn,
        not_begun: Option<Counted>,
    ) -> Self {
        Attempts {
            caller,
            policy: Policy::new(&caller.topic, request),
            call,
            deadline,
            lease,
            entry: Entry::Waits,
            turn,
            not_begun,
            needs_reader: request.body_elsewhere.is_some(),
            place: None,
            trace: None,
            calls: Vec::new(),
            may_have_run: false,
        }
    }

    /// The same with a span for each call, of which the backend is told.
    pub fn traced(self, trace: Option<Trace>) -> Self {
        Attempts { trace, ..self }
    }

    /// What is told of the calls that were made.
    pub fn take_calls(&mut self) -> Vec<Attempt> {
        std::mem::take(&mut self.calls)
    }

    /// The backend may have executed one of the calls, whatever came of them.
    pub fn may_have_run(&self) -> bool {
        self.may_have_run
    }

    /// What is held by the call whose answer stands, if that is still open.
    pub fn into_held(self) -> HeldByCall<'c> {
        HeldByCall {
            place: self.place,
            turn: self.turn,
        }
    }

    /// Calls until an outcome stands.
    pub async fn run(&mut self) -> End {
        let mut round = self.new_round();
        let mut made: Option<Made> = None;
        loop {
            let right = tokio::select! {
                biased;
                right = self.right(made.is_some()) => right,
                () = round.over() => Err(Refused::TimeIsUp),
            };
            let right = match right {
                Ok(right) => right,
                Err(refused) => match self.refused(refused, made) {
                    Ok(before) => {
                        (made, round) = (Some(before), self.new_round());
                        continue;
                    }
                    Err(end) => return end,
                },
            };
            let since = made.as_ref().map(|made| made.asked);
            let Some((mut attempt, verdict)) = self.attempt(right, &mut round, made).await else {
                return End::Released;
            };
            let wait = match self.next(&attempt, verdict, since.unwrap_or(attempt.asked), &round) {
                Next::Stands => return End::Outcome(attempt.outcome, attempt.count),
                Next::Repeat(wait) => wait,
                Next::NewRound(wait) => {
                    round = self.new_round();
                    wait
                }
            };
            // The wait holds nobody else up.
            self.place = None;
            attempt.give_back_reader();
            tokio::select! {
                biased;
                () = self.lease.revoked() => return End::Released,
                () = self.deadline.passed() => {}
                () = actix::clock::sleep(wait) => {}
            }
            tracing::debug!(topic = %self.caller.topic.request_topic, attempts = attempt.count, "backend attempt is to be repeated");
            made = Some(attempt);
        }
    }

    fn new_round(&self) -> Round {
        Round::new(self.policy.longest())
    }

    /// Waits until an attempt may be made. No place is held meanwhile.
    async fn right(&mut self, repeated: bool) -> Result<Right<'c>, Refused> {
        // The turn comes first: with a probe in hand it would wait for the record before it, and that one for the probe.
        self.enter(repeated).await?;
        let caller = self.caller;
        let mut reader = None;
        loop {
            let changed = caller.breaker_changed();
            match self.pass().await? {
                Pass::Go(probe) => {
                    let place = async {
                        tokio::select! {
                            biased;
                            place = caller.places.place() => Some(place),
                            // The breaker may have opened: calls that hang must not keep others waiting for a place.
                            () = changed, if probe.is_none() => None,
                        }
                    };
                    let Some(place) = unless_refused(self.lease, self.deadline, place).await? else {
                        continue;
                    };
                    let place = place.ok_or(Refused::Revoked)?;
                    if self.deadline.remaining().is_zero() {
                        return Err(Refused::DeadlinePassed);
                    }
                    if probe.is_none() && caller.breaker_state() != State::Closed {
                        // It opened while this waited for its place.
                        continue;
                    }
                    if self.needs_reader && reader.is_none() {
                        reader = caller.body_readers.try_place();
                    }
                    if self.needs_reader && reader.is_none() {
                        // Readers are taken for as long as backends take bodies: no call's place is held meanwhile.
                        drop((probe, place));
                        reader = unless_refused(self.lease, self.deadline, caller.body_readers.place()).await?;
                        continue;
                    }
                    return Ok(Right { probe, place, reader });
                }
                Pass::Wait(_) if !self.waits_for_the_breaker(repeated) => return Err(Refused::BreakerOpen),
                Pass::Wait(wait) => {
                    reader = None;
                    let wait = async {
                        tokio::select! {
                            biased;
                            () = changed => {}
                            () = actix::clock::sleep(wait.max(Duration::from_millis(1))) => {}
                        }
                    };
                    unless_refused(self.lease, self.deadline, wait).await?;
                }
            }
        }
    }

    /// Waits for the record's turn, then for the rate limit to let it in; once for all attempts.
    async fn enter(&mut self, repeated: bool) -> Result<(), Refused> {
        if self.entry == Entry::Entered {
            return Ok(());
        }
        let (caller, may_wait) = (self.caller, self.waits_for_the_breaker(repeated));
        let turn = &mut self.turn;
        // Waited for in one go: who begins anew is the last in its queue.
        let mut enter = std::pin::pin!(async {
            turn.come().await;
            if let Some(limit) = &caller.rate_limit {
                limit.wait().await;
            }
        });
        loop {
            let changed = caller.breaker_changed();
            if caller.breaker_state() == State::Open && !may_wait {
                return Err(Refused::BreakerOpen);
            }
            let entered = async {
                tokio::select! {
                    biased;
                    () = &mut enter => true,
                    () = changed => false,
                }
            };
            if unless_refused(self.lease, self.deadline, entered).await? {
                self.entry = Entry::Entered;
                return Ok(());
            }
        }
    }

    /// What the breaker says of an attempt now.
    async fn pass(&self) -> Result<Pass, Refused> {
        let caller = self.caller;
        let Some(breaker) = &caller.breaker else {
            return Ok(Pass::Go(None));
        };
        match breaker.pass(&caller.probe, monotonic_ms()) {
            Pass::Go(Some(probe)) if caller.pauses() && caller.asks_health && !self.policy.repeatable => {
                self.vouch(breaker, probe).await
            }
            pass => Ok(pass),
        }
    }

    /// A request that cannot be sent twice would be lost to a backend that is still out: before it is a probe, the health page is asked for.
    async fn vouch(&self, breaker: &Breaker, probe: Probe) -> Result<Pass, Refused> {
        // In a box, since it is rare: every record would have room for it.
        let ask = Box::pin(health::ask(&self.caller.backend, &self.caller.topic.health_path));
        let (up, _) = unless_refused(self.lease, self.deadline, ask).await?;
        if up {
            return Ok(Pass::Go(Some(probe)));
        }
        breaker.record(true, Some(probe), monotonic_ms());
        Ok(Pass::Wait(Duration::ZERO))
    }

    /// Without the right to another attempt: how the record ends, or (`Ok`) that it goes on in a new round.
    fn refused(&self, refused: Refused, made: Option<Made>) -> Result<Made, End> {
        match (refused, made) {
            (Refused::Revoked, _) => Err(End::Released),
            (Refused::BreakerOpen, None) => Err(End::BreakerOpen),
            (Refused::DeadlinePassed | Refused::TimeIsUp, None) => Err(End::Expired),
            (Refused::DeadlinePassed, Some(made)) if self.caller.pauses() && failed(&made.outcome) == Some(true) => {
                Err(End::Expired)
            }
            (Refused::TimeIsUp, Some(made)) if self.waits_out_an_outage(made.asked) => Ok(made),
            (_, Some(made)) => Err(End::Outcome(made.outcome, made.count)),
        }
    }

    /// Makes one attempt; `None`: the partition went to another owner meanwhile.
    async fn attempt(&mut self, right: Right<'c>, round: &mut Round, before: Option<Made>) -> Option<(Made, Verdict)> {
        let (caller, timeout) = (self.caller, self.caller.topic.timeout);
        let left = round.begin_attempt();
        self.not_begun = None;
        match before {
            None => caller.retry_budget.deposit(),
            Some(_) => caller.metrics.retries.inc(),
        }
        let asked = monotonic_ms();
        let limit = timeout.min(self.deadline.remaining()).min(left);
        let span = self.trace.and_then(|trace| trace.of_call());
        self.calls.push(Attempt::begin(span.map_or(0, |span| span.span)));
        // Also where it is cut off.
        let before_it = std::mem::replace(&mut self.may_have_run, true);
        let outcome = tokio::select! {
            biased;
            () = self.lease.cut_off() => return None,
            outcome = (self.call)(limit, right.reader, span) => outcome,
        };
        self.may_have_run = before_it || outcome.as_ref().err().is_none_or(BackendError::may_have_run);
        if let Some(call) = self.calls.last_mut() {
            let status = outcome.as_ref().map(|answer| answer.status);
            call.ended(status.map_err(BackendError::reply_error));
        }
        // A body that is still open holds its place.
        let is_open = outcome.as_ref().is_ok_and(|answer| answer.rest.is_some());
        self.place = is_open.then_some(right.place);
        let cut_short = matches!(&outcome, Err(BackendError::Timeout(_))) && limit < timeout / 2;
        let verdict = match failed(&outcome) {
            _ if cut_short => Verdict::CutShort,
            Some(true) => Verdict::Fails,
            Some(false) => Verdict::Works,
            None => Verdict::Unsent,
        };
        match (&caller.breaker, verdict) {
            (Some(breaker), Verdict::Works | Verdict::Fails) => {
                breaker.record(verdict == Verdict::Fails, right.probe, monotonic_ms());
            }
            _ => drop(right.probe),
        }
        let (count, outcome) = match before {
            None => (0, outcome),
            // What the backend answered when it had time to is worth more. Only an answer is: a call that was cut short may have been
            // executed, whatever became of the connection before it.
            Some(Made {
                count,
                outcome: Ok(answer),
                ..
            }) if cut_short => (count, Ok(answer)),
            Some(Made { count, .. }) => (count, outcome),
        };
        let made = Made {
            count: count + 1,
            outcome,
            asked,
        };
        Some((made, verdict))
    }

    /// Decides what follows an attempt. `since`: when the one before it began, or itself where it is the first.
    fn next(&self, attempt: &Made, verdict: Verdict, since: u64, round: &Round) -> Next {
        let (caller, policy, outcome) = (self.caller, &self.policy, &attempt.outcome);
        let wait = policy.wait_before(round.attempts(), outcome);
        let in_time = round.has_time_after(wait) && wait < self.deadline.remaining();
        let repeat = policy.is_worth_another(outcome) && round.attempts() <= caller.topic.max_retries && in_time;
        if repeat && caller.retry_budget.withdraw(monotonic_ms()) {
            return Next::Repeat(wait);
        }
        let outage = match verdict {
            Verdict::Works => false,
            Verdict::Fails => self.waits_out_an_outage(since),
            Verdict::CutShort => caller.pauses() && caller.breaker_state() != State::Closed,
            Verdict::Unsent => false,
        };
        if outage && policy.can_repeat(outcome) {
            // A backend that is back earlier than it said is noticed.
            return Next::NewRound(wait.min(caller.topic.retry.max_wait));
        }
        Next::Stands
    }

    /// A record without a deadline waits, since nobody hears a 503 for it; once it was tried, it ends as that attempt did.
    fn waits_for_the_breaker(&self, repeated: bool) -> bool {
        self.caller.pauses() || (self.deadline.until.is_none() && !repeated)
    }

    /// While intake is paused nothing is given up. But where the backend worked all the time since `since`, it is the record that fails.
    fn waits_out_an_outage(&self, since: u64) -> bool {
        let breaker = self.caller.breaker.as_ref();
        self.caller.pauses() && breaker.is_some_and(|breaker| breaker.was_out_since(since))
    }
}

#[cfg(test)]
mod tests;
