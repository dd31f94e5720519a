//! Requests that run once, on their way through the processor: the right to run, and what is remembered of the end.

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
use crate::processor::record::streamed::Asked;
use crate::processor::stream::calls::OpenCall;
use crate::processor::worker::lanes::Turn;
use crate::wire::{ReplyError, Request, Response};

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
    pub(super) async fn not_run<'p>(
        &'p self,
        asked: Asked<'_>,
        (request, call): (Request, Option<OpenCall>),
        instead: Instead,
        seen: &mut UnderWay,
    ) -> Processed<'p> {
        seen.by_key = match instead {
            _ if request.idempotency.is_none() => None,
            Instead::Answered(_) | Instead::Stored(_) => Some(ByKey::Replayed),
            Instead::Refused(_) => Some(ByKey::Refused),
            Instead::PassedOver | Instead::Released | Instead::Expired => None,
        };
        let (record, destination) = (&asked.intake.record, asked.destination.clone());
        match instead {
            Instead::Answered(answer) => self.answer(record, answer, None, destination, asked.until),
            // In a box of its own: all other records would carry its room.
            Instead::Stored(stored) => Box::pin(self.replay(asked, call, *stored)).await,
            Instead::Refused(error) => {
                // A letter that went back is not lost because of it.
                let is_waited_for = asked.until.is_some();
                let letter = (!is_waited_for && error == ReplyError::IdempotencyUnavailable)
                    .then(|| self.dead_letter(record, "its key cannot be remembered now", error, 0));
                let response = error_response(request.correlation_id, error);
                self.answer(record, response, letter.flatten(), destination, asked.until)
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
    async fn remember_too_large(&self, claim: Option<Claim>, seen: &mut UnderWay) {
        if let Some(claim) = claim {
            claim.remember_too_large().await;
            remembered(seen);
        }
    }

    /// The claim of an answer that streams, where that is to be remembered. Of a record that came twice nobody waits for the same answer.
    pub(super) async fn to_be_kept(&self, claim: Option<Claim>, status: u16, seen: &mut UnderWay) -> Option<Claim> {
        let claim = claim?;
        if !claim.identity.store.keeps(status) {
            claim.free();
            return None;
        }
        if !claim.identity.of_client {
            self.remember_too_large(Some(claim), seen).await;
            return None;
        }
        Some(claim)
    }
}

fn remembered(seen: &mut UnderWay) {
    seen.by_key = seen.by_key.map(|_| ByKey::Remembered);
}
