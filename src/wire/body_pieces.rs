//! A request's body that is larger than a record: it lies in pieces in a topic of bodies, and its request says where.

use bytes::Bytes;

use crate::wire::frame::{Own, VERSION, check_frame, number};
use crate::wire::headers;
use crate::wire::message::{Fields, RawRecord, Record};

const MORE: &[u8] = b"1";

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

    /// Which one a record claims to be.
    pub fn seq_of(record: &RawRecord) -> Option<u64> {
        record.header(headers::KHP_SEQ).and_then(|seq| number(seq))
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
            seq: Self::seq_of(record).ok_or_else(|| format!("{} is not a number", headers::KHP_SEQ))?,
            more: record.header(headers::KHP_MORE).is_some_and(|more| more == MORE),
            body: record.value.clone().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::invariants::{record, sent};

    #[test]
    fn a_piece_is_read_as_it_was_written() {
        for more in [true, false] {
            let piece = BodyPiece {
                correlation_id: Bytes::from_static(b"id"),
                seq: 7,
                more,
                body: Bytes::from_static(b"\0\xff"),
            };
            assert_eq!(BodyPiece::decode(&sent(piece.clone().encode())), Ok(piece));
        }
    }

    proptest! {
        /// Whatever a record holds: it is no piece, or one that survives the wire once more.
        #[test]
        fn any_record_is_a_piece_or_none(input in prop::collection::vec(any::<u8>(), 0..200), seq: u64) {
            let mut any = record(&input);
            for (name, value) in [(headers::KAFKA_CORRELATION_ID, "id".to_owned()), (headers::KHP_SEQ, seq.to_string())] {
                any.headers.push((Bytes::from(name), Some(value.into())));
            }
            if let Ok(piece) = BodyPiece::decode(&any) {
                prop_assert_eq!(piece.seq, seq);
                prop_assert_eq!(BodyPiece::decode(&sent(piece.clone().encode())), Ok(piece));
            }
        }
    }
}
