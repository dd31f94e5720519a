//! Which records of a range are a body, and whether it is whole. Pure.

use std::sync::Arc;

use bytes::Bytes;

use crate::kafka::record::Fetched;
use crate::processor::bodies::BodyError;
use crate::wire::beside::BodyPlace;
use crate::wire::body_pieces::BodyPiece;
use crate::wire::sealing::Binding;
use crate::wire::{RawRecord, Sealing, headers};

/// Whose body is wanted, and where it lies.
#[derive(Clone)]
pub struct Wanted {
    /// The configured topic, never a record's.
    pub topic: Arc<str>,
    pub correlation_id: Bytes,
    pub place: BodyPlace,
}

/// A body as it is put together. What is not its next piece is passed over, be it another body's, a repeat, or not believed; a piece that
/// is missing ends it. So does another record where the first piece has to be: such a range may hold anything, and any amount of it.
pub struct Assembly<'a> {
    wanted: &'a Wanted,
    sealing: &'a Sealing,
    so_far: SoFar,
}

/// How far a body has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SoFar {
    /// Of the next piece.
    seq: u64,
    /// Bytes.
    length: u64,
    is_whole: bool,
}

impl SoFar {
    /// The last piece has come.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }
}

impl<'a> Assembly<'a> {
    pub fn new(wanted: &'a Wanted, sealing: &'a Sealing) -> Self {
        Assembly::resume(wanted, sealing, SoFar::default())
    }

    /// One of a body that has come so far.
    pub fn resume(wanted: &'a Wanted, sealing: &'a Sealing, so_far: SoFar) -> Self {
        Assembly {
            wanted,
            sealing,
            so_far,
        }
    }

    /// How far it has come.
    pub fn so_far(&self) -> SoFar {
        self.so_far
    }

    /// The last piece has come, and the length is the one that the request tells.
    pub fn is_whole(&self) -> bool {
        self.so_far.is_whole
    }

    /// `take` of a record that was not copied: of other bodies nothing is. A piece is never larger than `max_record`.
    ///
    /// # Errors
    /// As `take`.
    pub fn take_fetched(&mut self, fetched: &Fetched<'_>, max_record: usize) -> Result<Option<Bytes>, BodyError> {
        let is_ours = |id: &[u8]| id == self.wanted.correlation_id;
        let is_ours = fetched.header(headers::KAFKA_CORRELATION_ID.as_bytes(), is_ours) == Some(true);
        match is_ours && !fetched.exceeds(max_record) {
            true => self.take(&fetched.copy(&self.wanted.topic, max_record).record),
            false => self.pass_over(fetched.offset()).map(|()| None),
        }
    }

    /// The bytes of the next piece, if this record is it.
    ///
    /// # Errors
    /// `Gone`: the body is not the one that its request describes.
    pub fn take(&mut self, record: &RawRecord) -> Result<Option<Bytes>, BodyError> {
        match self.next_piece(record)? {
            None => self.pass_over(record.offset).map(|()| None),
            piece => Ok(piece),
        }
    }

    /// A record of the range is not this body's.
    ///
    /// # Errors
    /// As `take`.
    pub fn pass_over(&self, offset: i64) -> Result<(), BodyError> {
        match self.so_far.seq == 0 && offset == self.wanted.place.first {
            true => Err(misplaced(0)),
            false => Ok(()),
        }
    }

    fn next_piece(&mut self, record: &RawRecord) -> Result<Option<Bytes>, BodyError> {
        let Wanted {
            topic,
            correlation_id,
            place,
        } = self.wanted;
        if self.so_far.is_whole || record.header(headers::KAFKA_CORRELATION_ID) != Some(correlation_id) {
            return Ok(None);
        }
        let Some(seq) = BodyPiece::seq_of(record).filter(|seq| *seq >= self.so_far.seq) else {
            return Ok(None);
        };
        let binding = Binding::Body {
            bodies_topic: topic,
            correlation_id,
            seq,
        };
        // Before its number is judged: a number that is not believed shows no gap.
        let Ok(opened) = self.sealing.open(record, binding) else {
            return Ok(None);
        };
        if seq > self.so_far.seq {
            return Err(BodyError::Gone(format!("piece {} is missing", self.so_far.seq)));
        }
        let Ok(piece) = BodyPiece::decode(&opened) else {
            return Ok(None);
        };
        // The last one that counts is where the request says: Kafka may have two, and have told of the second alone.
        if !piece.more && record.offset < place.last {
            return Ok(None);
        }
        let is_first = record.offset == place.first;
        let is_last = record.offset == place.last;
        if is_first != (self.so_far.seq == 0) || is_last == piece.more {
            return Err(misplaced(self.so_far.seq));
        }
        self.so_far.length += piece.body.len() as u64;
        if self.so_far.length > place.length || (!piece.more && self.so_far.length < place.length) {
            return Err(BodyError::Gone("its length is not what its request says".into()));
        }
        self.so_far.seq += 1;
        self.so_far.is_whole = !piece.more;
        Ok(Some(piece.body))
    }
}

fn misplaced(seq: u64) -> BodyError {
    BodyError::Gone(format!("piece {seq} is not where its request says"))
}

#[cfg(test)]
mod tests;
