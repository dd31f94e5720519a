//! An answer in several records: each is a piece, numbered without a gap, and all of one answer go to the same partition in order.
//!
//! The first piece carries status and header fields; the last one says that no more come, and why where the body ends early.

use bytes::Bytes;

use crate::wire::beside::InstanceId;
use crate::wire::frame::{Own, VERSION, check_frame, http_fields, number};
use crate::wire::headers;
use crate::wire::http;
use crate::wire::message::{Fields, RawRecord, Record};

/// The most bytes of a body in one piece; the topic's `max.message.bytes` may allow less.
pub const MAX_PIECE: usize = 256 << 10;

const MORE: &[u8] = b"1";

/// One call of a backend: every piece of its answer has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId([u8; 8]);

impl StreamId {
    /// A new one.
    pub fn new() -> Self {
        StreamId(rand::random())
    }

    /// As it stands in a record; `None`: it is no such id.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(StreamId)
    }

    /// As it is written.
    pub fn to_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

impl Default for StreamId {
    fn default() -> Self {
        StreamId::new()
    }
}

/// Why a body ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamError {
    /// The backend's connection broke, or what came was no HTTP.
    BackendReset,
    /// The backend was silent for too long, or the whole took too long.
    StreamIdle,
    /// The processor stops.
    Draining,
    /// Nobody reads the answer any more.
    ClientLeft,
    /// No credit came in time.
    NoCredit,
    /// A fault of the processor itself, or a code that is not known here.
    ProcessorFailed,
}

impl StreamError {
    /// All of them.
    pub const ALL: [StreamError; 6] = [
        StreamError::BackendReset,
        StreamError::StreamIdle,
        StreamError::Draining,
        StreamError::ClientLeft,
        StreamError::NoCredit,
        StreamError::ProcessorFailed,
    ];

    /// As it is written, and as logs and metrics call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            StreamError::BackendReset => "backend-reset",
            StreamError::StreamIdle => "stream-idle",
            StreamError::Draining => "draining",
            StreamError::ClientLeft => "client-left",
            StreamError::NoCredit => "no-credit",
            StreamError::ProcessorFailed => "processor-failed",
        }
    }

    fn from_text(text: &[u8]) -> Self {
        let known = StreamError::ALL
            .into_iter()
            .find(|error| error.as_str().as_bytes() == text);
        known.unwrap_or(StreamError::ProcessorFailed)
    }
}

/// What the first piece carries besides a part of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamHead {
    /// 200 to 599.
    pub status: u16,
    /// End-to-end fields only; `content-length` among them if the backend told it.
    pub headers: Fields,
    /// The process that streams. `None`: the replier does not tell it.
    pub instance: Option<InstanceId>,
}

/// One record of a streamed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The request's, echoed.
    pub correlation_id: Bytes,
    pub stream: StreamId,
    /// From 0 without a gap.
    pub seq: u64,
    /// Status and fields: of piece 0, and of no other.
    pub head: Option<StreamHead>,
    /// The next bytes of the body; may be empty.
    pub body: Bytes,
    /// What comes after it.
    pub then: Then,
}

/// What comes after a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    More,
    /// The body is whole.
    End,
    /// The body is cut off.
    Cut(StreamError),
}

/// True if a reply is a piece of a streamed answer.
pub fn is_piece(record: &RawRecord) -> bool {
    record.header(headers::KHP_STREAM).is_some()
}

/// Where in a streamed answer a piece belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It carries status and header fields.
    First,
    Later,
}

/// Where in a streamed answer a reply belongs, read before its seal is taken off; `None`: it is no piece.
pub fn place_in_stream(record: &RawRecord) -> Option<Place> {
    let seq = || record.header(headers::KHP_SEQ).and_then(|seq| number::<u64>(seq));
    is_piece(record).then(|| match seq() {
        Some(1..) => Place::Later,
        // Without a number it is malformed, which its request hears of.
        _ => Place::First,
    })
}

/// The call that a piece is of, if others follow; read before its seal is taken off.
pub fn goes_on(record: &RawRecord) -> Option<StreamId> {
    record.header(headers::KHP_MORE)?;
    StreamId::from_bytes(record.header(headers::KHP_STREAM)?)
}

/// Writes a piece, its key null. Fields that are not end-to-end are left out.
pub fn encode_piece(piece: Piece) -> Record {
    let mut own = Own(Fields::with_capacity(
        6 + piece.head.as_ref().map_or(0, |head| 2 + head.headers.len()),
    ));
    own.put(headers::KHP_VERSION, Bytes::from_static(VERSION));
    own.put(headers::KAFKA_CORRELATION_ID, piece.correlation_id);
    own.put(headers::KHP_STREAM, piece.stream.to_bytes());
    own.put(headers::KHP_SEQ, piece.seq.to_string());
    match piece.then {
        Then::More => own.put(headers::KHP_MORE, Bytes::from_static(MORE)),
        Then::End => {}
        Then::Cut(error) => own.put(headers::KHP_ERROR, Bytes::from_static(error.as_str().as_bytes())),
    }
    let mut fields = Fields::new();
    if let Some(head) = piece.head {
        own.put(headers::STATUS, head.status.to_string());
        own.put_some(headers::KHP_INSTANCE, head.instance.map(InstanceId::to_bytes));
        fields = head.headers;
    }
    Record {
        key: None,
        value: piece.body,
        headers: own.and(fields),
    }
}

/// Reads a piece.
///
/// # Errors
/// The record is malformed: lower case, no full stop, no content of the record beyond header names.
pub fn decode_piece(record: &RawRecord) -> Result<Piece, String> {
    check_frame(record)?;
    let correlation_id = record
        .header(headers::KAFKA_CORRELATION_ID)
        .filter(|id| !id.is_empty())
        .cloned()
        .ok_or_else(|| format!("no {}", headers::KAFKA_CORRELATION_ID))?;
    let stream = record
        .header(headers::KHP_STREAM)
        .and_then(|id| StreamId::from_bytes(id));
    let stream = stream.ok_or_else(|| format!("{} is not 8 bytes", headers::KHP_STREAM))?;
    let seq = record.header(headers::KHP_SEQ).and_then(|seq| number(seq));
    let seq: u64 = seq.ok_or_else(|| format!("{} is not a number", headers::KHP_SEQ))?;
    let head = match seq {
        0 => Some(read_head(record)?),
        _ => None,
    };
    let header = |name| record.header(name).map(|value| &value[..]);
    let then = goes_on_after(header(headers::KHP_ERROR), header(headers::KHP_MORE))?;
    Ok(Piece {
        correlation_id,
        stream,
        seq,
        head,
        body: record.value.clone().unwrap_or_default(),
        then,
    })
}

/// What comes after a piece with these headers.
///
/// # Errors
/// That is not said as it is written.
pub fn goes_on_after(error: Option<&[u8]>, more: Option<&[u8]>) -> Result<Then, String> {
    match (error, more) {
        (Some(error), _) => Ok(Then::Cut(StreamError::from_text(error))),
        (None, Some(MORE)) => Ok(Then::More),
        // A part must not pass for the whole because somebody writes it otherwise.
        (None, Some(_)) => Err(format!("{} is not 1", headers::KHP_MORE)),
        (None, None) => Ok(Then::End),
    }
}

fn read_head(record: &RawRecord) -> Result<StreamHead, String> {
    let status = match record.header(headers::STATUS) {
        None => 200,
        Some(status) => number(status)
            .filter(http::is_final_status)
            .ok_or(":status is not 200 to 599")?,
    };
    Ok(StreamHead {
        status,
        headers: http_fields(record)?,
        instance: record
            .header(headers::KHP_INSTANCE)
            .and_then(|instance| InstanceId::from_bytes(instance)),
    })
}

#[cfg(test)]
mod tests;
