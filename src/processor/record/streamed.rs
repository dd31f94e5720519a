//! Requests whose answers may come in several records: they can be cancelled, and an answer that is not whole at once is streamed.

use std::sync::Arc;
use std::time::Instant;

use crate::kafka::group_pump::intake::Intake;
use crate::processor::backend::open_body::WholeAnswers;
use crate::processor::backend::outcome::Answer;
use crate::processor::record::outbox::Outbox;
use crate::processor::record::reply_topics::Destination;
use crate::processor::record::settlement::Settlement;
use crate::processor::stream::calls::OpenCall;
use crate::processor::stream::shared::WorkerStreams;
use crate::processor::stream::source::Rest;
use crate::wire::beside::StreamOffer;
use crate::wire::{Fields, RawRecord, Request, redrive};

/// Room in a record for what an answer's reply has besides its fields and its body: ours, and a seal.
const OWN: usize = 512;

/// The request was cancelled before it was begun.
pub struct Cancelled;

/// The rest of an answer that is to be streamed, with its place; `None`: it is passed on whole.
pub fn rest_of(answer: &mut Answer, whole: &WholeAnswers<'_>) -> Option<Rest> {
    if let Some(open) = answer.rest.take() {
        return Some(Rest::Open(open));
    }
    if fits(&answer.headers, answer.body.len() as u64, whole.most) {
        return None;
    }
    // Err: as many are open as may be.
    whole.places.clone().try_acquire_owned().ok().map(Rest::None)
}

/// A reply with these fields and so many bytes of body fits into a record of at most so many.
pub fn fits(fields: &Fields, body: u64, most: usize) -> bool {
    let fields = fields.iter();
    let fields: usize = fields.map(|(name, value)| 10 + name.len() + value.len()).sum();
    body.saturating_add((fields + OWN) as u64) <= most as u64
}

/// Comes when a call has to end; never, where there is none to be ended.
pub async fn is_ended(call: Option<&OpenCall>) {
    match call {
        Some(call) => drop(call.ended().await),
        None => std::future::pending().await,
    }
}

/// A request that takes a stream can be cancelled from now on. `Ok(None)`: it takes none, or is a dead letter that went back: whoever asked
/// first is gone, and the letter is to be executed all the same. An answer that is kept waits for whoever asked. What runs once for its key is
/// executed whoever has left: only the stream of its answer ends.
///
/// # Errors
/// It was cancelled before it came.
pub fn begin_call(
    streams: Option<&WorkerStreams>,
    record: &RawRecord,
    request: &Request,
) -> Result<Option<OpenCall>, Cancelled> {
    let is_awaited = |offer: &StreamOffer| offer.is_stored() || redrive::rounds(record) == 0;
    let offer = request.accepts_stream.filter(is_awaited);
    let (Some(streams), Some(offer)) = (streams, offer) else {
        return Ok(None);
    };
    let (calls, id) = (&streams.calls, &request.correlation_id);
    match request.idempotency {
        Some(_) => Ok(Some(calls.begin_in_any_case(id, offer))),
        None => calls.begin(id, offer).map(Some).ok_or(Cancelled),
    }
}

/// Which answers to this place are whole. `None`: all, since nobody could steer a stream now.
pub fn whole_answers<'s>(
    streams: Option<&'s WorkerStreams>,
    outbox: &Outbox,
    destination: &Destination,
) -> Option<WholeAnswers<'s>> {
    let streams = streams.filter(|streams| streams.control.is_read())?;
    Some(WholeAnswers {
        most: outbox.limits.of(&destination.topic),
        places: &streams.shared.places,
    })
}

/// Who asked, and where the answer is awaited.
#[derive(Clone, Copy)]
pub struct Asked<'r> {
    pub intake: &'r Intake,
    pub settlement: &'r Arc<Settlement>,
    pub destination: &'r Destination,
    /// Until when anybody waits for the first piece.
    pub until: Option<Instant>,
}

impl Asked<'_> {
    /// Comes when nobody waits any more.
    pub async fn given_up(&self) {
        match self.until {
            Some(until) => tokio::time::sleep_until(until.into()).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_length_that_a_record_tells_fits_by_mistake() {
        let fields = vec![("location".into(), "/orders/7".into())];
        assert!(fits(&fields, 400, 1000) && !fits(&fields, 500, 1000));
        assert!(!fits(&fields, u64::MAX, 1000));
    }
}
