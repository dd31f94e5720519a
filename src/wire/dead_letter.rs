//! Dead letters: the record as it was, byte for byte. Headers with Spring Kafka's names add where it came from and what went wrong.

use bytes::Bytes;

use crate::wire::headers;
use crate::wire::message::{RawFields, RawRecord, encoded_size};
use crate::wire::reply_error::ReplyError;

/// Why a record was given up.
#[derive(Debug, Clone, Copy)]
pub struct Cause<'a> {
    /// The consumer group that gave it up.
    pub group: &'a str,
    /// For a person to read.
    pub exception: &'a str,
    /// The error that the client got.
    pub error: ReplyError,
    /// How often it was tried.
    pub attempts: u32,
}

/// A record for the dead letter topic. Unlike a [`Record`](crate::wire::Record) it keeps malformed records too:
/// names that are not UTF-8, and null apart from empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The original's.
    pub key: Option<Bytes>,
    /// The original's; null stays null.
    pub value: Option<Bytes>,
    /// The original's, then those of this round.
    pub headers: RawFields,
}

impl DeadLetter {
    /// Copies a record and adds the cause. Headers of an earlier round go, or each round would make it larger until no
    /// topic took it.
    pub fn new(record: &RawRecord, cause: &Cause) -> Self {
        let mut letter = Self {
            key: record.key.clone(),
            value: record.value.clone(),
            headers: Vec::new(),
        };
        letter.headers.reserve(record.headers.len() + 9);
        letter
            .headers
            .extend(record.headers.iter().filter(|(name, _)| !is_of_a_round(name)).cloned());
        letter.put(headers::DLT_ORIGINAL_TOPIC, record.topic.as_bytes());
        letter.put(headers::DLT_ORIGINAL_PARTITION, &record.partition.to_be_bytes());
        letter.put(headers::DLT_ORIGINAL_OFFSET, &record.offset.to_be_bytes());
        if let Some(timestamp) = record.timestamp {
            letter.put(headers::DLT_ORIGINAL_TIMESTAMP, &timestamp.to_be_bytes());
        }
        letter.put(headers::DLT_ORIGINAL_CONSUMER_GROUP, cause.group.as_bytes());
        letter.put(headers::DLT_EXCEPTION_MESSAGE, cause.exception.as_bytes());
        letter.put(headers::KHP_ERROR, cause.error.as_str().as_bytes());
        letter.put(headers::KHP_ATTEMPTS, cause.attempts.to_string().as_bytes());
        letter
    }

    /// Makes it fit into a topic: the exception text goes first, then the value is cut and `khp-truncated` holds its
    /// full length. If that is not enough, key and headers of the original go as well: a letter that Kafka never takes would hold up its
    /// partition. The headers of this round name the topic, partition and offset of the whole record.
    pub fn fit(&mut self, max_bytes: usize) {
        if self.encoded_size() <= max_bytes {
            return;
        }
        self.headers.retain(|(name, _)| name != headers::DLT_EXCEPTION_MESSAGE);
        if self.encoded_size() <= max_bytes {
            return;
        }
        let length = self.value.as_ref().map_or(0, Bytes::len);
        // One that was cut in an earlier round keeps its first length.
        if !self.headers.iter().any(|(name, _)| name == headers::KHP_TRUNCATED) {
            self.put(headers::KHP_TRUNCATED, length.to_string().as_bytes());
        }
        let excess = self.encoded_size().saturating_sub(max_bytes);
        if let Some(value) = &mut self.value {
            value.truncate(length.saturating_sub(excess));
        }
        if self.encoded_size() > max_bytes {
            self.key = None;
            self.headers
                .retain(|(name, _)| is_of_a_round(name) || name == headers::KHP_TRUNCATED);
        }
    }

    /// The most bytes that it takes in an uncompressed batch of its own: what `message.max.bytes` limits.
    pub fn encoded_size(&self) -> usize {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len));
        encoded_size(self.key.as_ref(), self.value.as_ref(), headers)
    }

    fn put(&mut self, name: &'static str, value: &[u8]) {
        self.headers
            .push((Bytes::from_static(name.as_bytes()), Some(Bytes::copy_from_slice(value))));
    }
}

/// True if a header is about one round. `khp-truncated` is not: a value once cut stays so.
fn is_of_a_round(name: &[u8]) -> bool {
    name.starts_with(headers::DLT_PREFIX.as_bytes())
        || name == headers::KHP_ERROR.as_bytes()
        || name == headers::KHP_ATTEMPTS.as_bytes()
        // A client sent it: it would make the letter count as a mark of `dlq redrive`.
        || name.eq_ignore_ascii_case(headers::KHP_REDRIVEN.as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAUSE: Cause<'static> = Cause {
        group: "khp-orders",
        exception: "connection refused",
        error: ReplyError::BackendUnreachable,
        attempts: 3,
    };

    fn header(name: &'static [u8], value: &'static [u8]) -> (Bytes, Option<Bytes>) {
        (Bytes::from_static(name), Some(Bytes::from_static(value)))
    }

    fn record() -> RawRecord {
        RawRecord {
            topic: "orders".into(),
            partition: 7,
            offset: 258,
            timestamp: Some(1_700_000_000_000),
            key: Some(Bytes::from_static(b"k\xff")),
            value: Some(Bytes::from_static(&[b'v'; 400])),
            headers: vec![
                header(b"\xff\xfe", b"\0\r\n"),
                (Bytes::from_static(b"x-null"), None),
                header(b"X-A", b"1"),
            ],
        }
    }

    /// What [`CAUSE`] and [`record`] add, written by hand from the format's description.
    fn added() -> RawFields {
        vec![
            header(b"kafka_dlt-original-topic", b"orders"),
            header(b"kafka_dlt-original-partition", b"\0\0\0\x07"),
            header(b"kafka_dlt-original-offset", b"\0\0\0\0\0\0\x01\x02"),
            header(b"kafka_dlt-original-timestamp", b"\0\0\x01\x8b\xcf\xe5\x68\0"),
            header(b"kafka_dlt-original-consumer-group", b"khp-orders"),
            header(b"kafka_dlt-exception-message", b"connection refused"),
            header(b"khp-error", b"backend-unreachable"),
            header(b"khp-attempts", b"3"),
        ]
    }

    #[test]
    fn the_record_is_kept_byte_for_byte_and_the_cause_added() {
        let record = record();
        let letter = DeadLetter::new(&record, &CAUSE);
        assert_eq!((&letter.key, &letter.value), (&record.key, &record.value));
        assert_eq!(letter.headers, [record.headers, added()].concat());
    }

    #[test]
    fn null_stays_null_and_no_timestamp_is_none() {
        let letter = DeadLetter::new(
            &RawRecord {
                key: None,
                value: None,
                timestamp: None,
                ..record()
            },
            &CAUSE,
        );
        assert_eq!((letter.key, letter.value), (None, None));
        assert!(
            !letter
                .headers
                .iter()
                .any(|(name, _)| name == headers::DLT_ORIGINAL_TIMESTAMP)
        );
    }

    #[test]
    fn headers_of_an_earlier_round_are_not_repeated() {
        let mut again = record();
        again.headers.extend(added());
        again.headers.push(header(b"kafka_dlt-exception-stacktrace", b"at ..."));
        again.headers.push(header(b"khp-redrive", b"1"));
        let letter = DeadLetter::new(&again, &CAUSE);
        assert_eq!(
            letter.headers,
            [record().headers, vec![header(b"khp-redrive", b"1")], added()].concat()
        );
    }

    #[test]
    fn what_fits_is_left_alone() {
        let mut letter = DeadLetter::new(&record(), &CAUSE);
        let whole = letter.clone();
        letter.fit(whole.encoded_size());
        assert_eq!(letter, whole);
    }

    #[test]
    fn the_exception_text_goes_first() {
        let mut letter = DeadLetter::new(&record(), &CAUSE);
        let mut expected = letter.clone();
        letter.fit(expected.encoded_size() - 1);
        expected
            .headers
            .retain(|(name, _)| name != "kafka_dlt-exception-message");
        assert_eq!(letter, expected);
    }

    #[test]
    fn then_the_value_is_cut_and_marked_once() {
        let mut letter = DeadLetter::new(&record(), &CAUSE);
        let max = letter.encoded_size() - 200;
        letter.fit(max);
        assert_eq!(letter.encoded_size(), max);
        assert_eq!(letter.headers.last(), Some(&header(b"khp-truncated", b"400")));
        assert!(letter.value.as_ref().is_some_and(|value| value.len() < 400));

        let again = RawRecord {
            value: letter.value,
            headers: letter.headers,
            ..record()
        };
        let mut letter = DeadLetter::new(&again, &CAUSE);
        letter.fit(max - 10);
        let marks: Vec<_> = letter
            .headers
            .iter()
            .filter(|(name, _)| name == headers::KHP_TRUNCATED)
            .collect();
        assert_eq!(marks, [&header(b"khp-truncated", b"400")]);
    }

    #[test]
    fn a_head_too_large_goes_too() {
        let mut huge = record();
        huge.headers
            .push((Bytes::from_static(b"x-huge"), Some(Bytes::from(vec![0; 100_000]))));
        let mut letter = DeadLetter::new(&huge, &CAUSE);
        letter.fit(10_000);
        let mut kept = added();
        kept.retain(|(name, _)| name != headers::DLT_EXCEPTION_MESSAGE);
        kept.push(header(b"khp-truncated", b"400"));
        assert_eq!(
            (letter.key, letter.value, letter.headers),
            (None, Some(Bytes::new()), kept)
        );
    }

    proptest! {
        #[test]
        fn a_letter_fits_wherever_its_own_headers_do(
            names in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            value in prop::option::of(prop::collection::vec(any::<u8>(), 0..2000)),
            key in prop::option::of(prop::collection::vec(any::<u8>(), 0..500)),
            max in 600_usize..3000,
        ) {
            let raw = RawRecord {
                key: key.map(Bytes::from),
                value: value.map(Bytes::from),
                headers: names.into_iter().map(|name| (Bytes::from(name), None)).collect(),
                ..record()
            };
            let mut letter = DeadLetter::new(&raw, &CAUSE);
            letter.fit(max);
            prop_assert!(letter.encoded_size() <= max, "{} > {max}", letter.encoded_size());
            prop_assert_eq!(letter.value.is_none(), raw.value.is_none());
        }
    }
}
