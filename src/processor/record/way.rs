//! One record's way through the processor: is it well formed, does anybody wait for it, what does the backend say, where does the
//! answer go. Runs as a task of its own on the worker's Arbiter; what becomes of each kind of record is the table in the README.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;

use crate::kafka::group_pump::intake::{Ahead, Intake};
use crate::processor::backend::client::{Answer, Backend, BackendError};
use crate::processor::record::attempts::{Attempts, End};
use crate::processor::record::deadline::Deadline;
use crate::processor::record::outbox::{Parcel, Settlement, dispatch, error_response};
use crate::processor::worker::lanes::Turn;
use crate::processor::worker::shared::{Destination, Worker};
use crate::supervision::spawn_watched::panic_message;
use crate::wire::correlation::id_text;
use crate::wire::{self, Format, RawRecord, ReplyError, Request, Response, WireError};

/// Works on one record from intake to the sending of its reply. A panic on the way ends in a 500 and a dead letter: one record must
/// neither restart a worker for ever nor hold up its partition.
pub async fn run(worker: Arc<Worker>, backend: Rc<Backend>, mut intake: Intake, turn: Turn) {
    let settlement = Settlement::new(&worker, &intake);
    let ahead = intake.ahead.take();
    if let Err(panic) = AssertUnwindSafe(work(&settlement, &backend, &intake, turn, ahead))
        .catch_unwind()
        .await
    {
        let cause = panic_message(&*panic);
        give_up(
            &settlement,
            &intake.record,
            &cause,
            ReplyError::ProcessorFailed,
            wire::reply_address(&intake.record),
        );
    }
}

async fn work(settlement: &Arc<Settlement>, backend: &Backend, intake: &Intake, turn: Turn, ahead: Option<Ahead>) {
    let (not_begun, unfinished) = ahead.map(|ahead| (ahead.not_begun, ahead.unfinished)).unzip();
    let worker = &settlement.worker;
    let Intake { record, lease, .. } = intake;
    let request = match wire::decode_request(record) {
        Ok(request) => request,
        Err(error) => {
            let cause = error.to_string();
            return give_up(settlement, record, &cause, ReplyError::BadMessage, error);
        }
    };
    let no_backlog = intake.is_newer_than(worker.clock_tolerance) && !worker.kafka.is_down();
    let Some(deadline) = Deadline::of(&request, no_backlog, worker) else {
        return expired(settlement);
    };
    let destination = worker.destination(request.reply_topic.as_deref(), request.reply_partition);
    let mut attempts = Attempts {
        worker,
        backend,
        request: &request,
        call: async |timeout| worker.attempt(backend, &request, timeout).await,
        deadline: &deadline,
        lease,
        turn,
        entered: false,
        not_begun,
    };
    let end = attempts.run().await;
    drop(unfinished);
    let (outcome, attempts) = match end {
        // The HTTP client refuses what the wire format allows; it is as malformed as the rest.
        End::Outcome(Err(BackendError::BadMessage(cause)), _) => {
            let reply_to = wire::reply_address(record);
            return give_up(settlement, record, &cause, ReplyError::BadMessage, reply_to);
        }
        End::Outcome(outcome, attempts) => (Ok(outcome), attempts),
        End::BreakerOpen => (Err(ReplyError::BreakerOpen), 0),
        End::Expired => return expired(settlement),
        End::Released => return settlement.release(),
    };
    answer(
        settlement,
        record,
        request,
        outcome,
        attempts,
        destination,
        deadline.until,
    );
}

/// Nobody waits for it: it is not sent, and committed at once.
fn expired(settlement: &Arc<Settlement>) {
    settlement.worker.metrics.expired.inc();
    settlement.worker.metrics.finished("expired");
    settlement.done();
}

/// Ends a record that cannot be worked on: the waiting client, where it can be known, gets 500 at once; the record is dead-lettered.
fn give_up(settlement: &Arc<Settlement>, record: &RawRecord, cause: &str, code: ReplyError, reply_to: WireError) {
    let worker = &settlement.worker;
    tracing::warn!(topic = %record.topic, partition = record.partition, offset = record.offset, cause, "record passed over");
    worker.metrics.finished(code.as_str());
    let mut parcels: Vec<_> = worker.dead_letter(record, cause, code, 0).into_iter().collect();
    let format = Format::of(record);
    let named = reply_to.reply_topic.as_deref();
    if let (Some(id), true) = (reply_to.correlation_id, named.is_some() || format == Format::Json) {
        let (topic, partition) = worker.destination(named, reply_to.reply_partition);
        let reply = format.encode_response(error_response(id, code));
        let until = Some(Instant::now() + worker.topic.timeout);
        parcels.push((topic, partition, Parcel::Reply { record: reply, until }));
    }
    dispatch(settlement, parcels);
}

/// Sends the reply and, where the backend gave none, the dead letter. The outer `Err`: the backend was not even asked.
fn answer(
    settlement: &Arc<Settlement>,
    record: &RawRecord,
    request: Request,
    outcome: Result<Result<Answer, BackendError>, ReplyError>,
    attempts: u32,
    (topic, partition): Destination,
    until: Option<Instant>,
) {
    let worker = &settlement.worker;
    let mut parcels = Vec::with_capacity(2);
    let correlation_id = request.correlation_id;
    let response = match outcome {
        Err(code) => error_response(correlation_id.clone(), code),
        Ok(Ok(answer)) => Response {
            correlation_id: correlation_id.clone(),
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
            error: None,
        },
        Ok(Err(error)) => {
            tracing::warn!(topic = %worker.topic.request_topic, backend = %worker.topic.backend_url, partition = record.partition,
                offset = record.offset, correlation_id = id_text(&correlation_id), attempts, %error, "no answer from the backend");
            let code = error.reply_error();
            if matches!(
                error,
                BackendError::Unreachable(_) | BackendError::Timeout(_) | BackendError::Reset(_)
            ) {
                parcels.extend(worker.dead_letter(record, &error.to_string(), code, attempts));
            }
            error_response(correlation_id.clone(), code)
        }
    };
    let mut status = response.status;
    let format = Format::of(record);
    let mut reply = format.encode_response(response);
    if reply.encoded_size() > worker.limits.of(&topic) {
        let too_large = error_response(correlation_id, ReplyError::ResponseTooLarge);
        status = too_large.status;
        reply = format.encode_response(too_large);
    }
    worker.metrics.finished(&status.to_string());
    parcels.push((topic, partition, Parcel::Reply { record: reply, until }));
    dispatch(settlement, parcels);
}
