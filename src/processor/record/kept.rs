//! Streams of requests that run once: an answer that is remembered as it streams, and one that is streamed again.

use bytes::Bytes;

use crate::processor::backend::outcome::Answer;
use crate::processor::memory::claim::Claim;
use crate::processor::memory::keeping::Keeping;
use crate::processor::memory::stored::StoredAnswer;
use crate::processor::record::RecordProcessor;
use crate::processor::record::attempts::HeldByCall;
use crate::processor::record::error_reply::error_response;
use crate::processor::record::processed::Processed;
use crate::processor::record::streamed::{Asked, fits, whole_answers};
use crate::processor::stream::answer::{self as stream, Begun};
use crate::processor::stream::calls::OpenCall;
use crate::processor::stream::source::{Rest, Source};
use crate::wire::{ReplyError, Response};

impl RecordProcessor {
    /// Streams an answer that is remembered. `None`: it cannot be streamed, and was remembered as one that was too large.
    pub(super) async fn keep<'p>(
        &'p self,
        asked: Asked<'_>,
        (call, held): (OpenCall, HeldByCall<'p>),
        (answer, rest): (Answer, Rest),
        (claim, record): (Claim, usize),
    ) -> Option<stream::Answer<'p>> {
        let (to, fed) = Source::fed();
        let begun = Begun {
            status: answer.status,
            headers: answer.headers.clone(),
            body: Bytes::new(),
            rest: Some(fed),
            place: None,
            held: None,
            lease: None,
        };
        let answer = Response {
            correlation_id: call.correlation_id.clone(),
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
            error: None,
        };
        let (Some(streams), Some(stream)) = (&self.streams, self.begin_stream(asked, call, begun)) else {
            claim.remember_too_large().await;
            return None;
        };
        let lease = &asked.intake.lease;
        let keeping = Keeping {
            body: self.memory.body_of(&asked.intake.record, &claim),
            claim,
            answer,
            rest,
            record,
            caller: &self.caller,
            lease: (lease.clone(), lease.hold()),
            held,
            draining: streams.shared.ending.clone(),
            to,
        };
        Some(stream.fed_by(keeping.run(), true))
    }

    /// Answers with what is remembered: in one record where it fits, else as a stream.
    pub(super) async fn replay<'p>(
        &'p self,
        asked: Asked<'_>,
        call: Option<OpenCall>,
        StoredAnswer { head, body }: StoredAnswer,
    ) -> Processed<'p> {
        let correlation_id = head.correlation_id.clone();
        let (record, destination) = (&asked.intake.record, asked.destination.clone());
        if fits(&head.headers, body.length(), self.outbox.limits.of(&destination.topic)) {
            let whole = tokio::select! {
                biased;
                whole = body.whole() => whole.ok(),
                () = asked.intake.lease.revoked() => return Processed::Released,
                () = asked.given_up() => None,
            };
            let answer = match whole {
                Some(body) => Response { body, ..head },
                None => error_response(correlation_id, ReplyError::OutcomeUnknown),
            };
            return self.answer(record, answer, None, destination, asked.until);
        }
        let whole = whole_answers(self.streams.as_ref(), &self.outbox, asked.destination);
        // None: as many are open as may be.
        let place = whole.and_then(|whole| whole.places.clone().try_acquire_owned().ok());
        let begun = call.zip(place).and_then(|(call, place)| {
            let (to, fed) = Source::fed();
            let begun = Begun {
                status: head.status,
                headers: head.headers,
                body: Bytes::new(),
                rest: Some(fed),
                place: Some(place),
                held: None,
                lease: None,
            };
            let stream = self.begin_stream(asked, call, begun)?;
            Some(stream.fed_by(body.feed(to), false))
        });
        self.streams_or_not(asked, correlation_id, begun)
    }
}
