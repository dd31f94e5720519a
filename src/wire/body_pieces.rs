//! A request's body that is larger than a record: it lies in pieces in a topic of bodies, and its request says where.

use bytes::Bytes;

use crate::wire::headers;
use crate::wire::message::{Fields, RawRecord, Record};
use crate::wire::native::{Own, VERSION, check_frame, number};

const ELSEWHERE: &[u8] = b"elsewhere";
const MORE: &[u8] = b"1";

/// Where a body lies. The topic is the configured one, never a record's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyPlace {
    /// All its pieces are in this partition.
    pub partition: i32,
    /// The offset of its first piece.
    pub first: i64,
    /// The offset of its last piece. Between the two, other bodies may have pieces.
    pub last: i64,
    /// Bytes in all.
    pub length: u64,
}

impl BodyPlace {
    pub(super) fn put(self, own: &mut Own) {
        own.put(headers::KHP_BODY, Bytes::from_static(ELSEWHERE));
        own.put(
            headers::KHP_BODY_PARTITION,
            Bytes::copy_from_slice(&self.partition.to_be_bytes()),
        );
        own.put(
            headers::KHP_BODY_FIRST,
            Bytes::copy_from_slice(&self.first.to_be_bytes()),
        );
        own.put(headers::KHP_BODY_LAST, Bytes::copy_from_slice(&self.last.to_be_bytes()));
        own.put(headers::KHP_BODY_LENGTH, self.length.to_string());
    }

    /// `None`: the body is the record's value, or there is none.
    pub(super) fn read(record: &RawRecord) -> Result<Option<Self>, String> {
        let elsewhere = record.header(headers::KHP_BODY).is_some_and(|body| body == ELSEWHERE);
        if !elsewhere {
            return Ok(None);
        }
        let offset = |name: &str| {
            let bytes = record.header(name).and_then(|bytes| bytes[..].try_into().ok());
            let offset = bytes.map(i64::from_be_bytes).filter(|offset| *offset >= 0);
            offset.ok_or_else(|| format!("{name} is not an offset"))
        };
        let partition = record
            .header(headers::KHP_BODY_PARTITION)
            .and_then(|bytes| bytes[..].try_into().ok())
            .map(i32::from_be_bytes)
            .filter(|partition| *partition >= 0);
        let place = BodyPlace {
            partition: partition.ok_or_else(|| format!("{} is not a partition", headers::KHP_BODY_PARTITION))?,
            first: offset(headers::KHP_BODY_FIRST)?,
            last: offset(headers::KHP_BODY_LAST)?,
            length: record
                .header(headers::KHP_BODY_LENGTH)
                .and_then(|length| number(length))
                .ok_or_else(|| format!("{} is not a number", headers::KHP_BODY_LENGTH))?,
        };
        match place.first <= place.last {
            true => Ok(Some(place)),
            false => Err(format!(
                "{} is after {}",
                headers::KHP_BODY_FIRST,
                headers::KHP_BODY_LAST
            )),
        }
    }
}

/// One piece of a request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyPiece {
    /// Of the request that follows.
    pub correlation_id: Bytes,
    /// From 0 without a gap.
    pub seq: u64,
    /// False for the last piece.
    pub more: bool,
    /// The next bytes.
    pub body: Bytes,
}

impl BodyPiece {
    /// Writes it.
    pub fn encode(self) -> Record {
        let mut own = Own(Fields::with_capacity(4));
        own.put(headers::KHP_VERSION, Bytes::from_static(VERSION));
        own.put(headers::KAFKA_CORRELATION_ID, self.correlation_id);
        own.put(headers::KHP_SEQ, self.seq.to_string());
        own.put_some(headers::KHP_MORE, self.more.then_some(Bytes::from_static(MORE)));
        Record {
            key: None,
            value: self.body,
            headers: own.0,
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// The record is malformed.
    pub fn decode(record: &RawRecord) -> Result<Self, String> {
        check_frame(record)?;
        let id = record.header(headers::KAFKA_CORRELATION_ID).filter(|id| !id.is_empty());
        Ok(BodyPiece {
            correlation_id: id
                .cloned()
                .ok_or_else(|| format!("no {}", headers::KAFKA_CORRELATION_ID))?,
            seq: record
                .header(headers::KHP_SEQ)
                .and_then(|seq| number(seq))
                .ok_or_else(|| format!("{} is not a number", headers::KHP_SEQ))?,
            more: record.header(headers::KHP_MORE).is_some_and(|more| more == MORE),
            body: record.value.clone().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(record: Record) -> RawRecord {
        let headers = record.headers.into_iter();
        RawRecord {
            value: Some(record.value),
            headers: headers
                .map(|(name, value)| (Bytes::from(name.into_owned()), Some(value)))
                .collect(),
            ..RawRecord::empty(&"orders-requests-bodies".into())
        }
    }

    #[test]
    fn a_piece_is_read_as_it_was_written() {
        for more in [true, false] {
            let piece = BodyPiece {
                correlation_id: Bytes::from_static(b"id"),
                seq: 7,
                more,
                body: Bytes::from_static(b"\0\xff"),
            };
            assert_eq!(BodyPiece::decode(&raw(piece.clone().encode())), Ok(piece));
        }
    }

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let place = BodyPlace {
            partition: 3,
            first: 5,
            last: i64::MAX,
            length: 1 << 40,
        };
        let mut own = Own(Fields::new());
        place.put(&mut own);
        let written = Record {
            headers: own.0,
            ..Record::default()
        };
        assert_eq!(BodyPlace::read(&raw(written)), Ok(Some(place)));
        assert_eq!(BodyPlace::read(&raw(Record::default())), Ok(None));
    }

    #[test]
    fn a_place_that_cannot_be_is_refused() {
        let header = |name: &str, value: &[u8]| {
            (
                Bytes::copy_from_slice(name.as_bytes()),
                Some(Bytes::copy_from_slice(value)),
            )
        };
        let whole = || {
            vec![
                header(headers::KHP_BODY, b"elsewhere"),
                header(headers::KHP_BODY_PARTITION, &3_i32.to_be_bytes()),
                header(headers::KHP_BODY_FIRST, &5_i64.to_be_bytes()),
                header(headers::KHP_BODY_LAST, &9_i64.to_be_bytes()),
                header(headers::KHP_BODY_LENGTH, b"100"),
            ]
        };
        let read = |headers| {
            BodyPlace::read(&RawRecord {
                headers,
                ..RawRecord::empty(&"orders-requests".into())
            })
        };
        assert!(read(whole()).is_ok());
        for (name, value) in [
            (headers::KHP_BODY_PARTITION, &(-1_i32).to_be_bytes()[..]),
            (headers::KHP_BODY_FIRST, &(-1_i64).to_be_bytes()),
            (headers::KHP_BODY_FIRST, b"5"),
            (headers::KHP_BODY_LAST, &4_i64.to_be_bytes()),
            (headers::KHP_BODY_LENGTH, b"-1"),
            (headers::KHP_BODY_LENGTH, b""),
        ] {
            let mut headers = whole();
            headers.push(header(name, value));
            assert!(read(headers).is_err(), "{name} {}", value.escape_ascii());
        }
    }
}
