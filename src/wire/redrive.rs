//! A dead letter on its way back to its request topic, and the mark that keeps it from going back twice.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::format::Format;
use crate::wire::headers;
use crate::wire::message::{RawFields, RawRecord};
use crate::wire::native::STORED;

/// A letter that was redriven this often stays: a request that fails so often needs a person, not another try.
pub const MAX_ROUNDS: u32 = 3;

/// Headers about the tries that failed and the client that waited for them. They do not go back, and neither does what begins with
/// [`headers::DLT_PREFIX`].
const LEFT_BEHIND: [&str; 7] = [
    headers::KHP_DEADLINE,
    headers::KHP_TIMEOUT,
    headers::KAFKA_REPLY_TOPIC,
    headers::KAFKA_REPLY_PARTITION,
    headers::KHP_ERROR,
    headers::KHP_ATTEMPTS,
    headers::KHP_REDRIVE,
];

/// Why a letter is not redriven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Stays {
    /// Its value is not the whole one.
    #[error("was cut to fit into the topic (khp-truncated): what is left is not the request")]
    Truncated,
    /// See [`MAX_ROUNDS`].
    #[error("failed again after each of 3 redrives (khp-redrive)")]
    TooManyRounds,
}

/// A record to be produced on the topic that the letter came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redriven {
    /// The letter's.
    pub key: Option<Bytes>,
    /// The letter's; of a `json` one the deadline is null.
    pub value: Option<Bytes>,
    /// The letter's, less those of the failed round, and `khp-redrive`.
    pub headers: RawFields,
}

impl Redriven {
    /// Turns a letter into a request without a deadline and without a waiting client. Key, correlation id and every other byte stay.
    ///
    /// # Errors
    /// The letter must stay.
    pub fn new(letter: &RawRecord) -> Result<Self, Stays> {
        if letter.header(headers::KHP_TRUNCATED).is_some() {
            return Err(Stays::Truncated);
        }
        let round = rounds(letter) + 1;
        if round > MAX_ROUNDS {
            return Err(Stays::TooManyRounds);
        }
        // A result that is fetched later is still awaited where it was.
        let is_stored = letter
            .header(headers::KHP_ACCEPT)
            .is_some_and(|accept| accept == STORED);
        let keeps = |name: &[u8]| is_stored && name.eq_ignore_ascii_case(headers::KAFKA_REPLY_TOPIC.as_bytes());
        let mut headers: RawFields = letter
            .headers
            .iter()
            .filter(|(name, _)| keeps(name) || !is_left_behind(name))
            .cloned()
            .collect();
        headers.push(header(headers::KHP_REDRIVE, round.to_string()));
        let value = match Format::of(letter) {
            Format::Native => letter.value.clone(),
            Format::Json => letter.value.as_ref().map(without_deadline),
        };
        Ok(Redriven {
            key: letter.key.clone(),
            value,
            headers,
        })
    }
}

/// How often a letter was redriven. A text that is not a number counts as too often: this program did not write it.
pub fn rounds(letter: &RawRecord) -> u32 {
    letter.header(headers::KHP_REDRIVE).map_or(0, |text| {
        std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(MAX_ROUNDS)
            .min(MAX_ROUNDS)
    })
}

/// The headers of a mark: a record among the letters of a partition which names those that went back. It is newer than they are, so
/// Kafka does not delete it before them.
pub fn mark(offsets: &[i64]) -> RawFields {
    let offsets: Vec<String> = offsets.iter().map(i64::to_string).collect();
    vec![header(headers::KHP_REDRIVEN, offsets.join(","))]
}

/// The offsets that a record marks, in its own partition and before it; `None`: it is not a mark. A letter never is one, whatever headers
/// its client sent.
pub fn marked(record: &RawRecord) -> Option<Vec<i64>> {
    let text = record.header(headers::KHP_REDRIVEN)?;
    if record.header(headers::DLT_ORIGINAL_TOPIC).is_some() {
        return None;
    }
    let text = std::str::from_utf8(text).unwrap_or_default();
    let offsets = text.split(',').filter_map(|offset| offset.parse().ok());
    Some(offsets.filter(|offset| *offset < record.offset).collect())
}

fn header(name: &'static str, value: String) -> (Bytes, Option<Bytes>) {
    (Bytes::from_static(name.as_bytes()), Some(value.into()))
}

fn is_left_behind(name: &[u8]) -> bool {
    let prefix = headers::DLT_PREFIX.as_bytes();
    name.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        || LEFT_BEHIND.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
}

/// The envelope with `null` in the place of its deadline's value, every other byte as it was.
fn without_deadline(envelope: &Bytes) -> Bytes {
    #[derive(Deserialize)]
    struct Deadline<'a> {
        #[serde(borrow)]
        deadline: Option<&'a RawValue>,
    }
    // serde would take an array for it, too.
    let object = envelope.trim_ascii_start().starts_with(b"{");
    let parsed = object.then(|| serde_json::from_slice(envelope));
    let Some(Ok(Deadline { deadline: Some(value) })) = parsed else {
        return envelope.clone();
    };
    let value = value.get();
    // A raw value borrows from what was parsed.
    let start = value.as_ptr() as usize - envelope.as_ptr() as usize;
    let mut edited = BytesMut::with_capacity(envelope.len());
    edited.extend_from_slice(&envelope[..start]);
    edited.extend_from_slice(b"null");
    edited.extend_from_slice(&envelope[start + value.len()..]);
    edited.freeze()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::dead_letter::{Cause, DeadLetter};
    use crate::wire::{ReplyError, Request, decode_request};

    fn raw(fields: &[(&str, &[u8])], value: &[u8]) -> RawRecord {
        RawRecord {
            topic: "orders".into(),
            partition: 1,
            offset: 7,
            timestamp: Some(1),
            key: Some(Bytes::from_static(b"k\xff")),
            value: Some(Bytes::copy_from_slice(value)),
            headers: fields
                .iter()
                .map(|(name, value)| {
                    (
                        Bytes::copy_from_slice(name.as_bytes()),
                        Some(Bytes::copy_from_slice(value)),
                    )
                })
                .collect(),
        }
    }

    fn dead(record: &RawRecord) -> RawRecord {
        let letter = DeadLetter::new(
            record,
            &Cause {
                group: "g",
                exception: "refused",
                error: ReplyError::BackendUnreachable,
                attempts: 4,
            },
        );
        RawRecord {
            topic: "failed".into(),
            headers: letter.headers,
            value: letter.value,
            ..record.clone()
        }
    }

    fn again(record: &RawRecord, redriven: Redriven) -> RawRecord {
        RawRecord {
            headers: redriven.headers,
            value: redriven.value,
            ..record.clone()
        }
    }

    #[test]
    fn a_result_that_is_fetched_later_is_awaited_where_it_was() {
        let fields: [(&str, &[u8]); 4] = [
            ("kafka_replyTopic", b"responses-results"),
            ("kafka_replyPartition", b"\0\0\0\x02"),
            ("khp-deadline", b"1700000000000"),
            ("khp-accept", b"stored"),
        ];
        let redriven = Redriven::new(&raw(&fields, b"")).unwrap();
        let names: Vec<&[u8]> = redriven.headers.iter().map(|(name, _)| &name[..]).collect();
        assert_eq!(names, [&b"kafka_replyTopic"[..], b"khp-accept", b"khp-redrive"]);
    }

    #[test]
    fn a_native_letter_loses_its_round_and_nothing_else() {
        let request = raw(
            &[
                ("khp-version", b"1"),
                ("kafka_correlationId", b"\0\xff"),
                (":method", b"POST"),
                (":path", b"/x"),
                ("kafka_replyTopic", b"responses"),
                ("kafka_replyPartition", b"\0\0\0\x02"),
                ("khp-deadline", b"1700000000000"),
                ("KHP-Timeout", b"30000"),
                ("x-many", b"1"),
                ("x-many", b"\xe9"),
            ],
            b"\xff body",
        );
        let redriven = Redriven::new(&dead(&request)).unwrap();
        assert_eq!((&redriven.key, &redriven.value), (&request.key, &request.value));
        let mut expected = request.headers.clone();
        expected.drain(4..8);
        expected.push(header("khp-redrive", "1".into()));
        assert_eq!(redriven.headers, expected);
        let read = decode_request(&again(&request, redriven)).unwrap();
        assert_eq!(
            (read.deadline_ms, read.timeout_ms, read.reply_topic),
            (None, None, None)
        );
        assert_eq!(&read.correlation_id[..], b"\0\xff");
    }

    #[test]
    fn a_json_letter_loses_its_deadline_and_nothing_else() {
        let envelope = b"{ \"method\":\"GET\", \"path\":\"/x\",\"x\" : {\"deadline\": 1},\n \"timestamp\":1.0,\"deadline\" :  17000 , \"\\u0062ody\":null}";
        let request = raw(&[("correlation_id", b"abc")], envelope);
        let redriven = Redriven::new(&dead(&request)).unwrap();
        let expected = String::from_utf8_lossy(envelope).replace("17000", "null");
        assert_eq!(redriven.value.as_deref(), Some(expected.as_bytes()));
        let read = decode_request(&again(&request, redriven)).unwrap();
        assert_eq!((read.deadline_ms, read.timeout_ms), (None, None));
    }

    #[test]
    fn what_our_proxy_writes_as_json_comes_back_without_an_end() {
        let request = Request {
            correlation_id: Bytes::from_static(b"abc"),
            method: "POST".into(),
            path: "/x?a=1".into(),
            body: Some(Bytes::from_static(b"\xff")),
            deadline_ms: Some(1000),
            timeout_ms: Some(10),
            ..Request::default()
        };
        let record = Format::Json.encode_request(request.clone());
        let written = raw(&[("correlation_id", b"abc")], &record.value);
        let redriven = Redriven::new(&dead(&written)).unwrap();
        let read = decode_request(&again(&written, redriven)).unwrap();
        let expected = Request {
            deadline_ms: None,
            timeout_ms: None,
            key: written.key.clone(),
            ..request
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_no_envelope_stays_as_it_is() {
        for value in [
            &b"\xff\xfe"[..],
            b"{\"deadline\": 17",
            b"[1]",
            b"",
            b"{\"deadline\":null}",
        ] {
            let redriven = Redriven::new(&raw(&[], value)).unwrap();
            assert_eq!(redriven.value.as_deref(), Some(value));
        }
        let null = RawRecord {
            value: None,
            key: None,
            ..raw(&[], b"")
        };
        let redriven = Redriven::new(&null).unwrap();
        assert_eq!((redriven.key, redriven.value), (None, None));
    }

    #[test]
    fn a_letter_goes_round_three_times_and_no_more() {
        let mut record = raw(&[("khp-version", b"1")], b"x");
        for round in 1..=3 {
            let redriven = Redriven::new(&dead(&record)).unwrap();
            assert_eq!(redriven.headers.last(), Some(&header("khp-redrive", round.to_string())));
            record = again(&record, redriven);
        }
        assert_eq!(Redriven::new(&dead(&record)), Err(Stays::TooManyRounds));
        for forged in [&b"-1"[..], b"4294967296", b"\xff", b"99", b""] {
            let forged = raw(&[("khp-redrive", forged)], b"x");
            assert_eq!(Redriven::new(&forged), Err(Stays::TooManyRounds), "{forged:?}");
        }
    }

    #[test]
    fn a_letter_that_was_cut_stays() {
        let cut = raw(&[("khp-truncated", b"400")], b"x");
        assert_eq!(Redriven::new(&cut), Err(Stays::Truncated));
    }

    #[test]
    fn marks_are_read_back() {
        let mark = RawRecord {
            offset: 17,
            headers: mark(&[3, 4, 17]),
            ..raw(&[], b"")
        };
        assert_eq!(marked(&mark), Some(vec![3, 4]), "nothing that is not before it");
        assert_eq!(marked(&raw(&[("khp-redrive", b"1")], b"")), None);
        let stranger = raw(&[("khp-redriven", b"1,2"), ("khp-truncated", b"1")], b"");
        let letter = dead(&stranger);
        assert_eq!(marked(&letter), None, "a letter is no mark, whatever it was before");
    }
}
