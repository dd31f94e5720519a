//! Requests that run once, on their way through the processor: the right to run, and what is remembered of the end.

use std::time::Instant;

use crate::exchange::{ByKey, UnderWay};
use crate::kafka::group_pump::intake::Intake;
use crate::processor::backend::outcome::BackendError;
use crate::processor::memory::claim::Claim;
use crate::processor::memory::worker::Instead;
use crate::processor::record::RecordProcessor;
use crate::processor::record::attempts::End;
use crate::processor::record::deadline::Deadline;
use crate::processor::record::error_reply::error_response;
use crate::processor::record::processed::Processed;
use crate::processor::record::reply_topics::Destination;
use crate::processor::worker::lanes::Turn;
use crate::wire::{RawRecord, ReplyError, Request, Response};

impl RecordProcessor {
    /// The right to run a request. `Ok(None)`: it runs as often as it comes.
    pub(super) async fn claim(
        &self,
        intake: &Intake,
        request: &Request,
        deadline: &Deadline,
        turn: &mut Turn,
    ) -> Result<Option<Claim>, Instead> {
        if request.idempotency.is_some() || self.caller.topic.memory.deduplicate {
            // Where records wait for each other, one that came later must not run first: the earlier one would wait for it.
            tokio::select! {
                biased;
                () = turn.come() => {}
                () = intake.lease.revoked() => return Err(Instead::Released),
                () = deadline.passed() => return Err(Instead::Expired),
            }
        }
        self.memory.admit(intake, request, deadline).await
    }

    /// The end of a request that does not run.
    pub(super) fn not_run(
        &self,
        (record, request): (&RawRecord, Request),
        instead: Instead,
        destination: Destination,
        until: Option<Instant>,
        seen: &mut UnderWay,
    ) -> Processed<'_> {
        seen.by_key = match instead {
            _ if request.idempotency.is_none() => None,
            Instead::Answered(_) => Some(ByKey::Replayed),
            Instead::Refused(_) => Some(ByKey::Refused),
            Instead::PassedOver | Instead::Released | Instead::Expired => None,
        };
        match instead {
            Instead::Answered(answer) => self.answer(record, answer, None, destination, until),
            Instead::Refused(error) => {
                // A letter that went back is not lost because of it.
                let is_waited_for = until.is_some();
                let letter = (!is_waited_for && error == ReplyError::IdempotencyUnavailable)
                    .then(|| self.dead_letter(record, "its key cannot be remembered now", error, 0));
                let response = error_response(request.correlation_id, error);
                self.answer(record, response, letter.flatten(), destination, until)
            }
            Instead::PassedOver => {
                self.caller.metrics.finished("repeated");
                Processed::PassedOver("repeated")
            }
            Instead::Released => Processed::Released,
            Instead::Expired => self.expire(),
        }
    }

    /// Lets a key go whose request has ended without an answer of its backend, or remembers that it had one. An answer's claim comes back.
    pub(super) async fn key_ends(
        &self,
        claim: Option<Claim>,
        end: &End,
        may_have_run: bool,
        seen: &mut UnderWay,
    ) -> Option<Claim> {
        let claim = claim?;
        seen.by_key = claim.identity.of_client.then_some(ByKey::NotRemembered);
        match end {
            End::Outcome(Ok(_), _) => return Some(claim),
            End::Outcome(Err(BackendError::TooLarge(_)), _) => self.remember_too_large(Some(claim), seen).await,
            // At least once, the next one runs; at most once, it hears that the outcome is not known.
            _ if may_have_run => drop(claim),
            _ => claim.free(),
        }
        None
    }

    /// Remembers an answer.
    pub(super) async fn remember(&self, claim: Option<Claim>, answer: &Response, seen: &mut UnderWay) {
        if let Some(claim) = claim
            && claim.remember(answer).await
        {
            remembered(seen);
        }
    }

    /// Remembers that there was an answer, and no more.
    pub(super) async fn remember_too_large(&self, claim: Option<Claim>, seen: &mut UnderWay) {
        if let Some(claim) = claim {
            claim.remember_too_large().await;
            remembered(seen);
        }
    }
}

fn remembered(seen: &mut UnderWay) {
    seen.by_key = seen.by_key.map(|_| ByKey::Remembered);
}
