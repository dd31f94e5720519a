//! What the records of results topics are to the index. Runs on the reading thread, and copies no body that is not sealed.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rdkafka::error::RDKafkaErrorCode;

use crate::kafka::config::Purpose;
use crate::kafka::record::Fetched;
use crate::kafka::reply_stream::Selection;
use crate::proxy::results::index::{Stored, What};
use crate::proxy::results::metrics::ResultsMetrics;
use crate::proxy::results::places::ResultsTopic;
use crate::wire::control::Control;
use crate::wire::sealing::Binding;
use crate::wire::stream::{StreamId, goes_on_after};
use crate::wire::{CorrelationId, RawRecord, SharedSealing, headers, is_final_status, now_ms};

/// How far the reading thread is.
#[derive(Default)]
pub struct Read {
    /// Records that were handed to the index.
    pub wanted: AtomicU64,
    /// Records that were read, of each topic.
    pub records: Vec<AtomicU64>,
}

impl Read {
    /// Of so many topics.
    pub fn new(topics: usize) -> Self {
        Read {
            wanted: AtomicU64::new(0),
            records: (0..topics).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

/// Takes results, and cancels of results.
pub struct Results {
    numbers: HashMap<String, u16>,
    topics: Arc<Vec<ResultsTopic>>,
    sealing: SharedSealing,
    max_record: usize,
    read: Arc<Read>,
    metrics: ResultsMetrics,
    /// That one was not believed was logged.
    is_logged: bool,
}

impl Results {
    /// Of these topics; the number of one is its place.
    pub fn new(
        topics: Arc<Vec<ResultsTopic>>,
        sealing: SharedSealing,
        max_record: usize,
        read: Arc<Read>,
        metrics: ResultsMetrics,
    ) -> Self {
        let numbers = topics.iter().enumerate();
        Results {
            numbers: numbers
                .map(|(number, topic)| (topic.name.to_string(), number as u16))
                .collect(),
            topics,
            sealing,
            max_record,
            read,
            metrics,
            is_logged: false,
        }
    }

    /// A record as it was before it was sealed: of a cancel or of an answer to a request of one of the topic's request topics.
    fn open(&mut self, message: Fetched<'_>, topic: &ResultsTopic) -> Option<RawRecord> {
        let record = message.copy(&topic.name, self.max_record).record;
        let replies = topic.request_topics.iter().map(|request_topic| Binding::Reply {
            request_topic,
            reply_topic: &topic.name,
        });
        let is_control = record.header(headers::KHP_CONTROL).is_some();
        let control = is_control.then_some(Binding::Control { topic: &topic.name });
        let mut bindings = control.into_iter().chain(replies.filter(|_| !is_control));
        let opened = bindings.find_map(|binding| self.sealing.load().open(&record, binding).ok());
        let opened = opened.map(|opened| opened.into_owned());
        if opened.is_none() {
            self.metrics.unbelieved.inc();
            if !std::mem::replace(&mut self.is_logged, true) {
                tracing::warn!(topic = %topic.name, partition = record.partition, offset = record.offset, "a result is not believed (said once)");
            }
        }
        opened
    }
}

impl Selection for Results {
    type Item = Stored;
    const PURPOSE: Purpose = Purpose::Replies;
    const THREAD: &'static str = "khp-results";
    const FROM_START: bool = true;

    fn take(&mut self, message: Fetched<'_>) -> Option<Stored> {
        let number = *self.numbers.get(message.topic())?;
        if let Some(records) = self.read.records.get(usize::from(number)) {
            records.fetch_add(1, Ordering::Relaxed);
        }
        self.metrics.read.inc();
        let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len) as u64;
        let bytes = length(message.key()) + length(message.value());
        self.metrics.read_bytes.inc_by(bytes);
        let id = message.header(headers::KAFKA_CORRELATION_ID.as_bytes(), CorrelationId::from_bytes)??;
        // A larger one is not read by anybody.
        if message.exceeds(self.max_record) || message.header(headers::DLT_ORIGINAL_TOPIC.as_bytes(), |_| ()).is_some()
        {
            return None;
        }
        let what = match self.sealing.load().keys.is_empty() {
            true => what(|name| message.header(name.as_bytes(), Bytes::copy_from_slice)),
            false => {
                let topics = self.topics.clone();
                let opened = self.open(message, &topics[usize::from(number)])?;
                what(|name| opened.header(name).cloned())
            }
        }?;
        self.read.wanted.fetch_add(1, Ordering::Relaxed);
        // Rounded up: no result is over before its time is, and so none before its deadline.
        let at = message.timestamp().unwrap_or_else(now_ms).saturating_add(999) / 1000;
        Some(Stored {
            id,
            topic: number,
            partition: message.partition(),
            offset: message.offset(),
            at: at.clamp(0, u32::MAX.into()) as u32,
            what,
        })
    }

    fn beyond_repair(&self, code: RDKafkaErrorCode, reason: &str) {
        tracing::error!(%code, reason, "the consumer of results is beyond repair: it is replaced, and its index with it");
    }

    fn passed_over(&self, topic: &str, partition: i32, batch: &Range<i64>) {
        tracing::error!(
            topic,
            partition,
            first = batch.start,
            last = batch.end - 1,
            "a batch of results cannot be unpacked and is passed over: nobody gets them"
        );
    }
}

/// What a record is, by its headers. `None`: nothing that the index keeps.
fn what(header: impl Fn(&str) -> Option<Bytes>) -> Option<What> {
    if let Some(kind) = header(headers::KHP_CONTROL) {
        return Control::is_cancel(&kind).then_some(What::Cancel);
    }
    let status = || match header(headers::STATUS) {
        // As the wire format has it.
        None => Some(200),
        Some(status) => std::str::from_utf8(&status).ok()?.parse().ok().filter(is_final_status),
    };
    let error = header(headers::KHP_ERROR);
    let Some(stream) = header(headers::KHP_STREAM) else {
        return Some(What::Whole {
            status: status()?,
            is_error: error.is_some(),
        });
    };
    let seq = header(headers::KHP_SEQ)?;
    let seq: u64 = std::str::from_utf8(&seq).ok()?.parse().ok()?;
    Some(What::Piece {
        stream: StreamId::from_bytes(&stream)?,
        seq,
        status: if seq == 0 { status()? } else { 0 },
        then: goes_on_after(error.as_deref(), header(headers::KHP_MORE).as_deref()).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::invariants::sent;
    use crate::wire::stream::{Piece, StreamError, StreamHead, Then, encode_piece};
    use crate::wire::{Record, ReplyError, Response, native};

    fn of(record: Record) -> Option<What> {
        let record = sent(record);
        what(|name| record.header(name).cloned())
    }

    fn reply(status: u16, error: Option<ReplyError>) -> Record {
        native::encode_response(Response {
            correlation_id: Bytes::from_static(b"id"),
            status,
            headers: Vec::new(),
            body: Bytes::new(),
            error,
        })
    }

    fn piece(seq: u64, then: Then) -> Record {
        let head = (seq == 0).then(|| StreamHead {
            status: 206,
            headers: Vec::new(),
            instance: None,
        });
        encode_piece(Piece {
            correlation_id: Bytes::from_static(b"id"),
            stream: StreamId::from_bytes(b"12345678").unwrap(),
            seq,
            head,
            body: Bytes::new(),
            then,
        })
    }

    #[test]
    fn records_are_what_their_headers_say() {
        let whole = |status, is_error| Some(What::Whole { status, is_error });
        assert_eq!(of(reply(404, None)), whole(404, false));
        assert_eq!(of(reply(502, Some(ReplyError::BackendReset))), whole(502, true));
        assert_eq!(
            of(Record::default()),
            whole(200, false),
            "of a replier that knows nothing of HTTP"
        );
        let stream = StreamId::from_bytes(b"12345678").unwrap();
        for (seq, status, then) in [
            (0, 206, Then::More),
            (0, 206, Then::End),
            (7, 0, Then::More),
            (7, 0, Then::Cut(StreamError::Draining)),
        ] {
            let expected = What::Piece {
                stream,
                seq,
                status,
                then,
            };
            assert_eq!(of(piece(seq, then)), Some(expected));
        }
    }

    #[test]
    fn a_cancel_is_one_and_no_sign_of_life_is_a_result() {
        let cancel = Control::Cancel {
            correlation_id: Bytes::from_static(b"id"),
            stream: None,
        };
        assert_eq!(of(cancel.encode()), Some(What::Cancel));
        let instance = crate::wire::beside::InstanceId::new();
        assert_eq!(of(Control::Alive { instance }.encode()), None);
        let mut broken = reply(200, None);
        broken
            .headers
            .push((headers::KHP_STREAM.into(), Bytes::from_static(b"short")));
        assert_eq!(of(broken), None);
    }
}
