//! What the processor sees of a record, from its intake to Kafka's acknowledgement of its reply.

use std::time::{Duration, UNIX_EPOCH};

use crate::exchange::{Ending, Exchanges, Id, Phase, RecordPosition, Role, Trace, UnderWay};
use crate::processor::metrics::TopicMetrics;
use crate::processor::record::outbox::{Content, Parcel};
use crate::processor::record::reply_topics::Destination;
use crate::processor::stream::answer::Answer;
use crate::wire::trace_parent::{self, TraceParent};
use crate::wire::{RawRecord, ReplyError, Request, headers};

/// Begins the account of a record that was taken in now.
pub fn begin(exchanges: &Exchanges, metrics: &TopicMetrics, record: &RawRecord) -> UnderWay {
    let mut seen = UnderWay::begin(exchanges, Role::Processor);
    seen.counts_for(&metrics.seen);
    seen.request = Some(RecordPosition::of_record(record));
    seen.keyed(record.key.as_deref());
    seen.request_bytes = record.value.as_ref().map_or(0, |value| value.len() as u64);
    let written = record.timestamp.and_then(|ms| u64::try_from(ms).ok());
    if let Some(ms) = written {
        // The clock of whoever wrote it may be ahead.
        let waited = seen.at.duration_since(UNIX_EPOCH + Duration::from_millis(ms));
        seen.phases.set(Phase::Queue, waited.unwrap_or_default());
    }
    seen
}

/// Notes what a record turned out to ask for.
pub fn decoded(exchanges: &Exchanges, seen: &mut UnderWay, request: &Request) {
    seen.correlation_id = Id::of(&request.correlation_id);
    seen.client = request.client_ip.as_deref().and_then(|client| client.parse().ok());
    seen.asked_by(request.principal.as_deref());
    seen.asks(&request.method, &request.path);
    seen.request_bytes = match request.body_elsewhere {
        Some(place) => place.length,
        None => request.body.as_ref().map_or(0, |body| body.len() as u64),
    };
    let mut fields = request.headers.iter();
    if let Some((_, id)) = fields.find(|(name, _)| name == headers::X_REQUEST_ID) {
        seen.called(id);
    }
    let came = trace_parent::of_request(&request.headers);
    seen.trace = match exchanges.sampler() {
        Some(sampler) => Some(Trace::begin(sampler, came)),
        None => came.map(Trace::passes),
    };
}

/// The span that writes the reply, where traces are on.
pub fn writer(seen: &UnderWay) -> Option<TraceParent> {
    seen.trace.as_ref()?.of_sent()
}

/// Its reply goes out, and Kafka is asked to acknowledge it.
pub fn answered(mut seen: UnderWay, parcels: &[Parcel], ending: Ending) -> UnderWay {
    let mut replies = parcels
        .iter()
        .filter(|parcel| matches!(parcel.content, Content::Reply { .. }));
    seen.reply = replies.next().map(|reply| to(&reply.destination));
    seen.ending = ending;
    seen
}

/// Its answer streams.
pub fn streams(mut seen: UnderWay, answer: &Answer<'_>) -> UnderWay {
    seen.reply = Some(to(answer.destination()));
    seen.ending.status = Some(answer.status);
    seen
}

/// It ends without an answer, for this reason.
pub fn unanswered(mut seen: UnderWay, why: &'static str) -> UnderWay {
    seen.ending = Ending::unanswered(why);
    seen
}

fn to(destination: &Destination) -> RecordPosition {
    RecordPosition {
        partition: destination.partition,
        ..RecordPosition::of(&destination.topic)
    }
}

/// How a record ends that is answered with an error of ours, or not at all where nobody can be answered.
pub fn given_up(status: Option<u16>, code: ReplyError) -> Ending {
    Ending {
        status,
        code: Some(code.as_str()),
    }
}
