//! A record's way through the processor, from top to bottom: decode, deadline, destination, attempts, then the reply and the dead
//! letter, and the settlement of its offset.
//!
//! - [`deadline`]: how long somebody waits for the answer, and whether a record has expired as it arrives; [`age`]: how long the request has waited.
//! - [`recent_ids`]: what was executed of late, so that a repeat is noticed.
//! - [`reply_seal`]: opens sealed requests, and seals the replies to them.
//! - [`reply_topics`]: where the reply may go.
//! - [`attempts`]: the calls of the backend, from the first to the last, and the retry budget they spend; [`round`]: how
//!   many attempts in how much time; [`caller`]: what all
//!   attempts of a worker share.
//! - [`processed`]: what becomes of it; [`answers`]: the reply that says so, or the dead letter.
//! - [`error_reply`]: the replies that a processor writes itself.
//! - [`once`]: requests that run once; [`kept`]: the streams of their answers.
//! - [`outbox`]: from the reply to Kafka's acknowledgement of it; [`topic_lookup`]: one lookup of a missing topic at a time;
//!   [`refusals`]: the last reply that Kafka did not take; [`dead_letter_trouble`]: whether Kafka takes dead letters.
//! - [`streamed`]: requests whose answers may come in several records; [`streaming`]: those answers.
//! - [`seen`]: what is told of a record that has ended.
//! - [`settlement`]: the end of a record, and what is committed of it.
//! - [`headers`]: which header fields an operator adds to requests, and keeps out of answers.
//! - [`rate_limit`]: how often a record of one topic may begin.
//! - [`logged_once`]: logs a fault once that every record would repeat.

pub mod age;
mod answers;
pub mod attempts;
pub mod caller;
pub mod dead_letter_trouble;
pub mod deadline;
pub mod error_reply;
pub mod headers;
mod kept;
pub mod logged_once;
mod once;
pub mod outbox;
mod processed;
pub mod rate_limit;
pub mod recent_ids;
pub mod refusals;
pub mod reply_seal;
pub mod reply_topics;
pub mod round;
pub mod seen;
pub mod settlement;
pub mod streamed;
mod streaming;
pub mod topic_lookup;

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;

use crate::exchange::{Exchanges, UnderWay};
use crate::kafka::cluster::health::KafkaHealth;
use crate::kafka::group_pump::intake::{Ahead, Intake};
use crate::processor::backend::outcome::{Answer, BackendError};
use crate::processor::bodies::BodyError;
use crate::processor::memory::worker::WorkerMemory;
use crate::processor::record::attempts::{Attempts, End};
use crate::processor::record::caller::Caller;
use crate::processor::record::deadline::DeadlineRules;
use crate::processor::record::error_reply::error_response;
use crate::processor::record::headers::HeaderRules;
use crate::processor::record::outbox::Outbox;
use crate::processor::record::processed::Processed;
use crate::processor::record::recent_ids::RecentIds;
use crate::processor::record::reply_seal::ReplySeal;
use crate::processor::record::reply_topics::ReplyTopics;
use crate::processor::record::settlement::{Ledger, Settlement};
use crate::processor::record::streamed::{Asked, is_ended};
use crate::processor::stream::answer as stream;
use crate::processor::stream::shared::WorkerStreams;
use crate::processor::worker::lanes::Turn;
use crate::supervision::spawn_watched::panic_message;
use crate::wire::{self, ReplyError, Request, Response};

/// Processes the records of one worker. Lives on the worker's Arbiter.
pub struct RecordProcessor {
    pub ledger: Arc<Ledger>,
    pub deadlines: DeadlineRules,
    pub reply_topics: ReplyTopics,
    pub caller: Caller,
    pub outbox: Arc<Outbox>,
    /// `None`: records that are given up are only counted and logged.
    pub dead_letter_topic: Option<Arc<str>>,
    pub kafka: KafkaHealth,
    /// Told of each record that ends.
    pub exchanges: Exchanges,
    pub seal: ReplySeal,
    pub header_rules: HeaderRules,
    /// What was executed of late.
    pub recent_ids: RecentIds,
    /// What runs once.
    pub memory: WorkerMemory,
    /// `None`: all answers are whole.
    pub streams: Option<WorkerStreams>,
}

impl RecordProcessor {
    /// Processes one record, from its intake to the sending of its reply. A panic on the way ends in a 500, and in a dead letter where there is a
    /// topic for them: one record
    /// must neither restart a worker for ever nor hold up its partition.
    pub async fn process(self: Rc<Self>, mut intake: Intake, turn: Turn) {
        let settlement = self.ledger.open(&intake);
        let mut seen = None;
        let ahead = intake.ahead.take();
        let work = async {
            let begun = seen.insert(seen::begin(&self.exchanges, &self.caller.metrics, &intake.record));
            let processed = self.work(&intake, &settlement, turn, ahead, begun).await;
            self.settle(&settlement, processed, seen.take())
        };
        let worked = AssertUnwindSafe(work).catch_unwind().await;
        let stream = worked.unwrap_or_else(|panic| {
            let (cause, record) = (panic_message(&*panic), &intake.record);
            let reply_to = self.seal.reply_address(record);
            let processed = self.give_up(record, &cause, ReplyError::ProcessorFailed, reply_to);
            self.settle(&settlement, processed, seen.take())
        });
        if let Some(stream) = stream {
            // The record is done, and its bytes are not held for as long as its answer streams.
            drop((intake, settlement));
            // In a box of its own: all other records would carry its room.
            Box::pin(stream.run()).await;
        }
    }

    /// Decode → deadline → destination → attempts → reply.
    async fn work<'p>(
        &'p self,
        intake: &Intake,
        settlement: &Arc<Settlement>,
        mut turn: Turn,
        ahead: Option<Ahead>,
        seen: &mut UnderWay,
    ) -> Processed<'p> {
        self.memory.prepare(intake);
        let (not_begun, unfinished) = ahead.map(|ahead| (ahead.not_begun, ahead.unfinished)).unzip();
        let Intake { record, lease, .. } = intake;
        if let Some(size) = intake.oversized {
            let cause = format!("the record has {size} bytes, more than max_record_size");
            return self.give_up(record, &cause, ReplyError::BadMessage, self.seal.reply_address(record));
        }
        let opened = match self.seal.open(record) {
            Ok(opened) => opened,
            // Whoever has no key gets no answer, or could end the requests of others with it.
            Err(error) => return self.give_up(record, &error.to_string(), ReplyError::BadMessage, None),
        };
        let mut request = match wire::decode_request(&opened) {
            Ok(request) => request,
            Err(error) => return self.give_up(record, &error.to_string(), ReplyError::BadMessage, Some(error)),
        };
        drop(opened);
        seen::decoded(&self.exchanges, seen, &request);
        self.header_rules.set(&mut request);
        let fresh = intake.fresh && !self.kafka.is_down();
        let Some(deadline) = self.deadlines.deadline(&request, fresh) else {
            return self.expire();
        };
        let Ok(call) = streamed::begin_call(self.streams.as_ref(), record, &request) else {
            return self.cancelled();
        };
        if self.recent_ids.repeats(record, &request.correlation_id, Instant::now()) && self.is_passed_over() {
            return Processed::PassedOver("repeated");
        }
        let destination = self
            .reply_topics
            .destination(request.reply_topic.as_deref(), request.reply_partition)
            .written_by(seen::writer(seen));
        let asked = Asked {
            intake,
            settlement,
            destination: &destination,
            until: deadline.until,
        };
        let claim = match self.claim(intake, &request, &deadline, &mut turn).await {
            Ok(claim) => claim,
            Err(instead) => return self.not_run(asked, (request, call), instead, seen).await,
        };
        let whole = call
            .as_ref()
            .and_then(|_| streamed::whole_answers(self.streams.as_ref(), &self.outbox, &destination));
        let make_call = async |timeout, reader, span| {
            let whole = whole.as_ref();
            self.caller.call(&request, (reader, span), timeout, whole).await
        };
        let mut attempts =
            Attempts::new(&self.caller, &request, make_call, &deadline, lease, turn, not_begun).traced(seen.trace);
        // What runs once for its key runs to its end.
        let ends_early = call.as_ref().filter(|_| request.idempotency.is_none());
        let end = tokio::select! {
            biased;
            () = is_ended(ends_early) => None,
            end = attempts.run() => Some(end),
        };
        seen.attempts = attempts.take_calls();
        seen.attempts_ended();
        let Some(end) = end else {
            return self.cancelled();
        };
        let may_have_run = attempts.may_have_run();
        let held = attempts.into_held();
        // At most once: from here on the record no longer counts against the limit of records committed ahead.
        drop(unfinished);
        let until = deadline.until;
        let claim = self.key_ends(claim, &end, may_have_run, seen).await;
        match end {
            End::Expired => self.expire(),
            End::Released => Processed::Released,
            End::BreakerOpen => {
                let response = error_response(request.correlation_id, ReplyError::BreakerOpen);
                self.answer(record, response, None, destination, until)
            }
            // The HTTP client refuses what the wire format allows, or the body is gone; the record is as malformed as one that cannot be
            // decoded.
            End::Outcome(
                Err(
                    error @ (BackendError::BadMessage(_)
                    | BackendError::Body {
                        error: BodyError::Gone(_),
                        ..
                    }),
                ),
                _,
            ) => {
                let cause = error.to_string();
                self.give_up(record, &cause, ReplyError::BadMessage, self.seal.reply_address(record))
            }
            End::Outcome(Err(error), attempts) => {
                let letter = self.no_answer(record, &request, &error, attempts);
                let response = error_response(request.correlation_id, error.reply_error());
                self.answer(record, response, letter, destination, until)
            }
            End::Outcome(Ok(mut answer), _) => {
                self.header_rules.withhold(&mut answer.headers);
                seen.response_bytes = answer.body.len() as u64;
                if let (Some(call), Some(whole)) = (call, &whole)
                    && let Some(rest) = streamed::rest_of(&mut answer, whole)
                {
                    let claim = self.to_be_kept(claim, answer.status, seen).await;
                    if claim.is_some() {
                        // All of it passes by once more.
                        seen.response_bytes = 0;
                    }
                    let streams = self.stream_answer(asked, (call, held), (answer, rest), (claim, whole.most));
                    return Box::pin(streams).await;
                }
                let response = response(request, answer);
                // Before anybody hears of it: whatever ends now, it does not run again.
                self.remember(claim, &response, seen).await;
                self.answer(record, response, None, destination, until)
            }
        }
    }

    /// The last step: the record ends, or waits for the acknowledgement of what it caused. Returns what goes on after that.
    fn settle<'p>(
        &self,
        settlement: &Arc<Settlement>,
        processed: Processed<'p>,
        seen: Option<UnderWay>,
    ) -> Option<Box<stream::Answer<'p>>> {
        match processed {
            Processed::Streams(mut stream) => {
                stream.seen = seen.map(|seen| seen::streams(seen, &stream));
                return Some(stream);
            }
            Processed::Answered(parcels, ending) => {
                if let Some(seen) = seen {
                    settlement.ends_with(seen::answered(seen, &parcels, ending));
                }
                self.outbox.dispatch(settlement, parcels);
            }
            Processed::PassedOver(why) => {
                drop(seen.map(|seen| seen::unanswered(seen, why)));
                settlement.done();
            }
            Processed::Released => {
                drop(seen.map(|seen| seen::unanswered(seen, "released")));
                settlement.release();
            }
        }
        None
    }
}

/// A backend's answer as a response on the wire.
fn response(request: Request, answer: Answer) -> Response {
    Response {
        correlation_id: request.correlation_id,
        status: answer.status,
        headers: answer.headers,
        body: answer.body,
        error: None,
    }
}
