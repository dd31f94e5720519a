//! A record of the topic that remembers: of one key, what became of its request.
//!
//! What the index needs stands in clear; the answer is sealed where its request was.

use bytes::Bytes;

use crate::wire::beside::BodyPlace;
use crate::wire::frame::{Own, number};
use crate::wire::headers;
use crate::wire::idempotency::identity::Fingerprint;
use crate::wire::message::{Fields, RawRecord, Record, Response, WireError};
use crate::wire::native;
use crate::wire::sealing::{Binding, SealError, Sealing};
use crate::wire::stream::StreamId;

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Its request was answered, and the record has the answer.
    Answered,
    /// Its request was answered, and the answer did not fit into a record. Where its body lies, the record says, if it was kept. One state for
    /// both: a version that knows of no place refuses a repeat, and does not run it.
    TooLarge,
    /// Its request was begun, at most once, and nothing is known of its end.
    Begun,
    /// Its request was not executed, or failed: the next one runs.
    Free,
}

impl Known {
    const ALL: [Self; 4] = [Known::Answered, Known::TooLarge, Known::Begun, Known::Free];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Known::Answered => "answered",
            Known::TooLarge => "too-large",
            Known::Begun => "begun",
            Known::Free => "free",
        }
    }

    fn from_text(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str().as_bytes() == text)
    }
}

/// An answer, as a memory record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Its body is empty where that lies elsewhere.
    pub answer: Response,
    /// Where its body lies that is larger than a record.
    pub stored: Option<Stored>,
}

/// Where the body of an answer lies: in pieces, as that of a request beside its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// What its pieces have for a correlation id: the same request may be answered twice at a time.
    pub id: StreamId,
    pub place: BodyPlace,
}

impl From<Response> for Remembered {
    fn from(answer: Response) -> Self {
        Remembered { answer, stored: None }
    }
}

/// An answer with these fields says that it is that of an earlier request.
pub fn is_replayed(fields: &Fields) -> bool {
    fields.iter().any(|(name, _)| name == headers::IDEMPOTENCY_REPLAYED)
}

/// What a memory record says, less the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The key of the request's record.
    pub key: Bytes,
    pub fingerprint: Fingerprint,
    pub known: Known,
    /// Unix time in ms after which it counts no more.
    pub expires_ms: i64,
    /// What decided which partition remembers the key: where that differs now, other partitions may have keys of this one.
    pub partitions: i32,
}

impl Mark {
    /// The record, with the answer where there is one. `None`: it cannot be sealed, and must not go out in clear.
    pub fn encode(&self, answer: Option<Remembered>, sealing: Option<&Sealing>, topic: &str) -> Option<Record> {
        let has_answer = answer.is_some();
        let mut record = answer.map_or_else(Record::default, |Remembered { answer, stored }| {
            let mut record = native::encode_response(answer);
            if let Some(Stored { id, place }) = stored {
                let mut own = Own(record.headers);
                own.put(headers::KHP_STREAM, id.to_bytes());
                native::put_place(place, &mut own);
                record.headers = own.0;
            }
            record
        });
        if let Some(sealing) = sealing.filter(|_| has_answer) {
            let sealed = sealing.seal(record, self.binding(topic));
            let sealed = sealed.inspect_err(|error| tracing::error!(topic, %error, "an answer is not remembered"));
            record = sealed.ok()?;
        }
        let own: [(&'static str, Bytes); 4] = [
            (headers::KHP_IDEMPOTENCY_FINGERPRINT, self.fingerprint.to_text()),
            (
                headers::KHP_IDEMPOTENCY_STATE,
                Bytes::from_static(self.known.as_str().as_bytes()),
            ),
            (headers::KHP_IDEMPOTENCY_EXPIRES, self.expires_ms.to_string().into()),
            (headers::KHP_IDEMPOTENCY_PARTITIONS, self.partitions.to_string().into()),
        ];
        // First, so that a reader finds them before it has read what a backend wrote.
        let own: Fields = own.into_iter().map(|(name, value)| (name.into(), value)).collect();
        record.headers.splice(0..0, own);
        record.key = Some(self.key.clone());
        Some(record)
    }

    /// Reads it from a record that was copied.
    pub fn of(record: &RawRecord) -> Option<Self> {
        let mut reader = MarkReader::default();
        for (name, value) in &record.headers {
            reader.take(name, value.as_deref());
        }
        reader.finish(record.key.as_deref())
    }

    /// The answer in a record of this mark, still with the correlation id of its first request. `None`: it was too large, and not kept.
    ///
    /// # Errors
    /// Nothing of it is believed, or it is no answer.
    pub fn answer(&self, record: &RawRecord, sealing: &Sealing) -> Result<Option<Remembered>, AnswerError> {
        let id = record
            .header(headers::KHP_STREAM)
            .and_then(|id| StreamId::from_bytes(id));
        if self.known == Known::TooLarge && id.is_none() {
            return Ok(None);
        }
        // The key in clear is the mark's; the seal knows of none.
        let sealed = RawRecord {
            key: None,
            ..record.clone()
        };
        let opened = sealing.open(&sealed, self.binding(&record.topic))?;
        let answer = native::decode_response(&opened)?;
        let stored = match (self.known, id) {
            (Known::TooLarge, Some(id)) => {
                let place = native::body_place(&opened).ok_or(AnswerError::NoPlace)?;
                Some(Stored { id, place })
            }
            _ => None,
        };
        Ok(Some(Remembered { answer, stored }))
    }

    fn binding<'a>(&'a self, topic: &'a str) -> Binding<'a> {
        Binding::Memory {
            topic,
            key: &self.key,
            fingerprint: &self.fingerprint.0,
        }
    }
}

/// Reads a mark from a record's headers, in their order. The first of each name counts: what comes later is a backend's.
#[derive(Default)]
pub struct MarkReader {
    fingerprint: Option<Fingerprint>,
    known: Option<Known>,
    expires_ms: Option<i64>,
    partitions: Option<i32>,
}

impl MarkReader {
    /// Takes in the next header.
    pub fn take(&mut self, name: &[u8], value: Option<&[u8]>) {
        let (Ok(name), Some(value)) = (std::str::from_utf8(name), value) else {
            return;
        };
        match name {
            headers::KHP_IDEMPOTENCY_FINGERPRINT => first(&mut self.fingerprint, || Fingerprint::from_text(value)),
            headers::KHP_IDEMPOTENCY_STATE => first(&mut self.known, || Known::from_text(value)),
            headers::KHP_IDEMPOTENCY_EXPIRES => first(&mut self.expires_ms, || number(value)),
            headers::KHP_IDEMPOTENCY_PARTITIONS => first(&mut self.partitions, || number(value)),
            _ => {}
        }
    }

    /// The mark of a record with this key. `None`: it is no such record.
    pub fn finish(self, key: Option<&[u8]>) -> Option<Mark> {
        Some(Mark {
            key: Bytes::copy_from_slice(key.filter(|key| !key.is_empty())?),
            fingerprint: self.fingerprint?,
            known: self.known?,
            expires_ms: self.expires_ms?,
            partitions: self.partitions?,
        })
    }
}

fn first<T>(slot: &mut Option<T>, read: impl FnOnce() -> Option<T>) {
    if slot.is_none() {
        *slot = read();
    }
}

/// Why a remembered answer is not passed on.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("{0}")]
    Malformed(#[from] WireError),
    #[error("it does not say where its body lies")]
    NoPlace,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sealing::keys::SealingKey;

    fn mark(key: &'static str, known: Known) -> Mark {
        Mark {
            key: Bytes::from_static(key.as_bytes()),
            fingerprint: Fingerprint([7; 16]),
            known,
            expires_ms: 1_700_000_000_000,
            partitions: 12,
        }
    }

    fn answer() -> Response {
        Response {
            correlation_id: Bytes::from_static(b"first"),
            status: 201,
            headers: vec![("location".into(), "/orders/7".into())],
            body: Bytes::from_static(b"made"),
            error: None,
        }
    }

    fn raw(record: Record) -> RawRecord {
        let headers = record.headers.into_iter();
        RawRecord {
            key: record.key,
            value: Some(record.value),
            headers: headers
                .map(|(name, value)| (Bytes::copy_from_slice(name.as_bytes()), Some(value)))
                .collect(),
            ..RawRecord::empty(&"orders-idempotency".into())
        }
    }

    fn sealing(secret: &str) -> Sealing {
        Sealing {
            keys: vec![SealingKey::new("k", secret).unwrap()],
            require: true,
        }
    }

    #[test]
    fn a_mark_and_its_answer_come_back() {
        let open = Sealing {
            keys: vec![],
            require: false,
        };
        let sealed = sealing("0123456789abcdef0123456789abcdef");
        for (seal, reads) in [(None, &open), (Some(&sealed), &sealed)] {
            let mark = mark("k", Known::Answered);
            let record = raw(mark.encode(Some(answer().into()), seal, "orders-idempotency").unwrap());
            assert_eq!(Mark::of(&record), Some(mark.clone()));
            assert_eq!(mark.answer(&record, reads).unwrap(), Some(answer().into()));
        }
        for known in Known::ALL {
            let mark = mark("k", known);
            assert_eq!(Mark::of(&raw(mark.encode(None, None, "t").unwrap())), Some(mark));
        }
    }

    /// Whoever knows of no place reads such a mark as that of an answer that was too large: its request does not run again.
    #[test]
    fn a_large_answer_comes_back_with_its_place() {
        let open = Sealing {
            keys: vec![],
            require: false,
        };
        let sealed = sealing("0123456789abcdef0123456789abcdef");
        let large = Remembered {
            answer: Response {
                body: Bytes::new(),
                ..answer()
            },
            stored: Some(Stored {
                id: StreamId::new(),
                place: BodyPlace {
                    partition: 3,
                    first: 7,
                    last: 30,
                    length: 5_000_000,
                },
            }),
        };
        for (seal, reads) in [(None, &open), (Some(&sealed), &sealed)] {
            let mark = mark("k", Known::TooLarge);
            let record = raw(mark.encode(Some(large.clone()), seal, "orders-idempotency").unwrap());
            assert_eq!(record.header(headers::KHP_IDEMPOTENCY_STATE).unwrap(), "too-large");
            assert_eq!(mark.answer(&record, reads).unwrap(), Some(large.clone()));
            let mut elsewhere = record.clone();
            let at = |(name, _): &(Bytes, _)| *name == headers::KHP_BODY || *name == headers::KHP_SEAL_NONCE;
            elsewhere.headers.retain(|header| !at(header));
            assert!(
                mark.answer(&elsewhere, reads).is_err(),
                "it has no place, or is not believed"
            );
        }
        let gone = raw(mark("k", Known::TooLarge).encode(None, None, "t").unwrap());
        assert_eq!(mark("k", Known::TooLarge).answer(&gone, &open).unwrap(), None);
    }

    #[test]
    fn a_sealed_answer_stays_with_its_key() {
        let sealed = sealing("0123456789abcdef0123456789abcdef");
        let record = raw(mark("mine", Known::Answered)
            .encode(Some(answer().into()), Some(&sealed), "orders-idempotency")
            .unwrap());
        assert!(!record.value.as_ref().unwrap().windows(4).any(|part| part == b"made"));
        assert!(mark("yours", Known::Answered).answer(&record, &sealed).is_err());
        let clear = raw(mark("mine", Known::Answered)
            .encode(Some(answer().into()), None, "orders-idempotency")
            .unwrap());
        assert!(
            mark("mine", Known::Answered).answer(&clear, &sealed).is_err(),
            "seals are required"
        );
    }

    #[test]
    fn other_records_are_none() {
        let mut record = raw(mark("k", Known::Begun).encode(None, None, "t").unwrap());
        record.key = None;
        assert_eq!(Mark::of(&record), None);
        for missing in 0..4 {
            let mut record = raw(mark("k", Known::Begun).encode(None, None, "t").unwrap());
            record.headers.remove(missing);
            assert_eq!(Mark::of(&record), None, "{missing}");
        }
        assert_eq!(Mark::of(&RawRecord::empty(&"t".into())), None);
    }
}
