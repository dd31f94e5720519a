//! Requests whose answers may come in several records: they can be cancelled, and an answer that is not whole at once is streamed.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use crate::kafka::group_pump::intake::Intake;
use crate::processor::backend::open_body::WholeAnswers;
use crate::processor::backend::outcome::Answer;
use crate::processor::record::attempts::HeldByCall;
use crate::processor::record::outbox::Outbox;
use crate::processor::record::reply_topics::Destination;
use crate::processor::record::settlement::Settlement;
use crate::processor::stream::answer::{self as stream, Begun, Means};
use crate::processor::stream::calls::{OpenCall, Streamed};
use crate::processor::stream::shared::WorkerStreams;
use crate::settings::Ordering;
use crate::wire::beside::StreamOffer;
use crate::wire::sealing::is_sealed;
use crate::wire::stream::StreamId;
use crate::wire::{RawRecord, Request, redrive};

/// Room in a record for what an answer's reply has besides its fields and its body: ours, and a seal.
const OWN: usize = 512;

/// The request was cancelled before it was begun.
pub struct Cancelled;

/// What an answer needs to be streamed, where its body has no place yet.
pub enum Place {
    OfBody,
    Own(OwnedSemaphorePermit),
}

/// The place of an answer that is to be streamed; `None`: it is passed on whole.
pub fn place_of(answer: &Answer, whole: &WholeAnswers<'_>) -> Option<Place> {
    if answer.rest.is_some() {
        return Some(Place::OfBody);
    }
    let fields = answer.headers.iter();
    let fields: usize = fields.map(|(name, value)| 10 + name.len() + value.len()).sum();
    if answer.body.len() + fields + OWN <= whole.most {
        return None;
    }
    // Err: as many are open as may be.
    whole.places.clone().try_acquire_owned().ok().map(Place::Own)
}

/// Comes when a call has to end; never, where there is none to be ended.
pub async fn is_ended(call: Option<&OpenCall>) {
    match call {
        Some(call) => drop(call.ended().await),
        None => std::future::pending().await,
    }
}

/// A request that takes a stream can be cancelled from now on. `Ok(None)`: it takes none, or is a dead letter that went back: whoever asked
/// first is gone, and the letter is to be executed all the same. An answer that is kept waits for whoever asked.
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
    let call = streams.calls.begin(&request.correlation_id, offer);
    call.map(Some).ok_or(Cancelled)
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

/// Where an answer is streamed to, and until when anybody waits for its first piece.
pub struct Awaited {
    pub destination: Destination,
    pub until: Option<Instant>,
}

/// Begins to stream an answer. `None`: its topic takes no piece with this head, or it cannot be sealed.
pub fn begin<'p>(
    means: Means<'p>,
    intake: &Intake,
    settlement: &Arc<Settlement>,
    (call, held): (OpenCall, HeldByCall<'p>),
    (answer, place): (Answer, Place),
    Awaited { destination, until }: Awaited,
) -> Option<stream::Answer<'p>> {
    let begun = Begun {
        status: answer.status,
        headers: answer.headers,
        body: answer.body,
        rest: answer.rest,
        place: match place {
            Place::OfBody => None,
            Place::Own(place) => Some(place),
        },
        streamed: Streamed {
            id: StreamId::new(),
            // Pieces with the same key go to the same partition.
            key: destination.partition.is_none().then(|| call.correlation_id.clone()),
            destination,
            is_sealed: is_sealed(&intake.record),
        },
        until,
    };
    let is_ordered = means.caller.topic.ordering != Ordering::Unordered;
    let lease = is_ordered.then_some(&intake.lease);
    stream::Answer::begin(means, begun, call, held, lease, settlement)
}
