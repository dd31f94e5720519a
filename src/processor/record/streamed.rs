//! Requests whose answers may come in several records: they can be cancelled, and an answer that is not whole at once is streamed.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use crate::kafka::group_pump::intake::Intake;
use crate::processor::backend::client::Answer;
use crate::processor::backend::open_body::WholeAnswers;
use crate::processor::record::attempts::HeldByCall;
use crate::processor::record::error_reply::error_response;
use crate::processor::record::reply_topics::Destination;
use crate::processor::record::settlement::Settlement;
use crate::processor::record::{Processed, RecordProcessor};
use crate::processor::stream::answer::{self as stream, Begun, Means};
use crate::processor::stream::calls::{OpenCall, Streamed};
use crate::settings::Ordering;
use crate::wire::sealing::is_sealed;
use crate::wire::stream::StreamId;
use crate::wire::{RawRecord, ReplyError, Request, redrive};

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

impl RecordProcessor {
    /// A request that takes a stream can be cancelled from now on. `Ok(None)`: it takes none, or is a dead letter that went back: whoever
    /// asked first is gone, and the letter is to be executed all the same.
    ///
    /// # Errors
    /// It was cancelled before it came.
    pub(super) fn begin_call(&self, record: &RawRecord, request: &Request) -> Result<Option<OpenCall>, Cancelled> {
        let offer = request.accepts_stream.filter(|_| redrive::rounds(record) == 0);
        let (Some(streams), Some(offer)) = (&self.streams, offer) else {
            return Ok(None);
        };
        let call = streams.calls.begin(&request.correlation_id, offer);
        call.map(Some).ok_or(Cancelled)
    }

    /// Which answers to this place are whole. `None`: all, since nobody could steer a stream now.
    pub(super) fn whole_answers(&self, destination: &Destination) -> Option<WholeAnswers<'_>> {
        let streams = self.streams.as_ref().filter(|streams| streams.control.is_read())?;
        Some(WholeAnswers {
            most: self.outbox.limits.of(&destination.topic),
            places: &streams.shared.places,
        })
    }

    /// Nobody reads the answer: the record is committed, without a reply and without a dead letter.
    pub(super) fn cancelled(&self) -> Processed<'_> {
        self.caller.metrics.finished("cancelled");
        Processed::PassedOver
    }

    /// Begins to stream an answer.
    pub(super) fn stream<'p>(
        &'p self,
        intake: &Intake,
        settlement: &Arc<Settlement>,
        (call, held): (OpenCall, HeldByCall<'p>),
        (answer, place): (Answer, Place),
        destination: Destination,
        until: Option<Instant>,
    ) -> Processed<'p> {
        let Some(streams) = &self.streams else {
            return self.cancelled();
        };
        let (record, correlation_id) = (&intake.record, call.correlation_id.clone());
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
                key: destination.partition.is_none().then(|| correlation_id.clone()),
                destination: destination.clone(),
            },
            is_sealed: is_sealed(record),
            until,
        };
        let means = Means {
            outbox: &self.outbox,
            seal: &self.seal,
            caller: &self.caller,
            kafka: &self.kafka,
            streams: &streams.shared,
            open: &self.caller.metrics.streams_open,
        };
        let is_ordered = self.caller.topic.ordering != Ordering::Unordered;
        let lease = is_ordered.then_some(&intake.lease);
        match stream::Answer::begin(means, begun, call, held, lease, settlement) {
            Some(answer) => Processed::Streams(Box::new(answer)),
            None => {
                let response = error_response(correlation_id, ReplyError::ResponseTooLarge);
                self.answer(record, response, None, destination, until)
            }
        }
    }
}
