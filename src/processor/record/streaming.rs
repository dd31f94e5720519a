//! Answers that stream, from the record's side.

use bytes::Bytes;

use crate::processor::backend::outcome::Answer;
use crate::processor::memory::claim::Claim;
use crate::processor::record::RecordProcessor;
use crate::processor::record::attempts::HeldByCall;
use crate::processor::record::error_reply::error_response;
use crate::processor::record::processed::Processed;
use crate::processor::record::streamed::Asked;
use crate::processor::stream::answer::{self as stream, Begun, Means, To};
use crate::processor::stream::calls::{OpenCall, Streamed};
use crate::processor::stream::source::{Rest, Source};
use crate::settings::Ordering;
use crate::wire::ReplyError;
use crate::wire::sealing::is_sealed;
use crate::wire::stream::StreamId;

impl RecordProcessor {
    /// Streams an answer of the backend. `claim`: it is remembered, too; `record`: bytes of a record where it goes.
    pub(super) async fn stream_answer<'p>(
        &'p self,
        asked: Asked<'_>,
        (call, held): (OpenCall, HeldByCall<'p>),
        (answer, rest): (Answer, Rest),
        (claim, record): (Option<Claim>, usize),
    ) -> Processed<'p> {
        let correlation_id = call.correlation_id.clone();
        let begun = match claim {
            Some(claim) => self.keep(asked, (call, held), (answer, rest), (claim, record)).await,
            None => {
                let (rest, place) = match rest {
                    Rest::Open(open) => (Some(Source::Backend(open)), None),
                    Rest::None(place) => (None, Some(place)),
                };
                let is_ordered = self.caller.topic.ordering != Ordering::Unordered;
                let lease = &asked.intake.lease;
                let begun = Begun {
                    status: answer.status,
                    headers: answer.headers,
                    body: answer.body,
                    rest,
                    place,
                    held: Some(held),
                    lease: is_ordered.then(|| (lease.clone(), lease.hold())),
                };
                self.begin_stream(asked, call, begun)
            }
        };
        self.streams_or_not(asked, correlation_id, begun)
    }

    /// Begins to stream an answer. `None`: its topic takes no piece with this head, or it cannot be sealed.
    pub(super) fn begin_stream<'p>(
        &'p self,
        asked: Asked<'_>,
        call: OpenCall,
        begun: Begun<'p>,
    ) -> Option<stream::Answer<'p>> {
        let streams = self.streams.as_ref()?;
        let means = Means {
            outbox: &self.outbox,
            seal: &self.seal,
            caller: &self.caller,
            kafka: &self.kafka,
            streams: &streams.shared,
            open: &self.caller.metrics.streams_open,
        };
        let destination = asked.destination.clone();
        let to = To {
            streamed: Streamed {
                id: StreamId::new(),
                // Pieces with the same key go to the same partition.
                key: destination.partition.is_none().then(|| call.correlation_id.clone()),
                destination,
                is_sealed: is_sealed(&asked.intake.record),
            },
            until: asked.until,
        };
        stream::Answer::begin(means, begun, (call, to), asked.settlement)
    }

    /// An answer that streams, or the error in its place.
    pub(super) fn streams_or_not<'p>(
        &'p self,
        asked: Asked<'_>,
        correlation_id: Bytes,
        begun: Option<stream::Answer<'p>>,
    ) -> Processed<'p> {
        match begun {
            Some(answer) => Processed::Streams(Box::new(answer)),
            None => {
                let too_large = error_response(correlation_id, ReplyError::ResponseTooLarge);
                let destination = asked.destination.clone();
                self.answer(&asked.intake.record, too_large, None, destination, asked.until)
            }
        }
    }
}
