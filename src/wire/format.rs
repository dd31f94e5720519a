//! Which of the two formats a record has, and the functions that work with either.

use bytes::Bytes;

use crate::wire::clock::now_ms;
use crate::wire::headers;
use crate::wire::json;
use crate::wire::message::{RawRecord, Record, Request, Response, WireError};
use crate::wire::native;

/// How a record is written. Reading needs no choice: the record shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The body is the value, everything else a record header.
    #[default]
    Native,
    /// The envelope of kafka-http-proxy.
    Json,
}

impl Format {
    /// What the settings call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Native => "native",
            Format::Json => "json",
        }
    }

    /// The format of a record; one that is of neither is malformed as [`Format::Json`].
    pub fn of(record: &RawRecord) -> Self {
        if native::is_native(record) {
            Format::Native
        } else {
            Format::Json
        }
    }

    /// Writes a request.
    pub fn encode_request(self, request: Request) -> Record {
        match self {
            Format::Native => native::encode_request(request),
            Format::Json => json::encode_request(request, now_ms()),
        }
    }

    /// Writes a reply.
    pub fn encode_response(self, response: Response) -> Record {
        match self {
            Format::Native => native::encode_response(response),
            Format::Json => json::encode_response(response, now_ms()),
        }
    }
}

/// Reads a request of either format.
///
/// # Errors
/// If the record is malformed; the error carries where an answer can go, if that much could be read.
pub fn decode_request(record: &RawRecord) -> Result<Request, WireError> {
    match Format::of(record) {
        Format::Native => native::decode_request(record),
        Format::Json => json::decode_request(record),
    }
}

/// Reads a reply of either format.
///
/// # Errors
/// If the record is malformed; the error carries the correlation id, if that much could be read.
pub fn decode_response(record: &RawRecord) -> Result<Response, WireError> {
    match Format::of(record) {
        Format::Native => native::decode_response(record),
        Format::Json => json::decode_response(record),
    }
}

/// Where an answer to this record would go, whatever else is wrong with it.
pub fn reply_address(record: &RawRecord) -> WireError {
    match Format::of(record) {
        Format::Native => native::reply_address(record),
        Format::Json => json::malformed(record, native::PROCESSOR_FAILED.into()),
    }
}

impl Record {
    /// The format of a record that was just encoded.
    pub fn format(&self) -> Format {
        self.format_and_id().map_or(Format::Native, |(format, _)| format)
    }

    /// The format and the correlation id of a record that was just encoded.
    pub fn format_and_id(&self) -> Option<(Format, &Bytes)> {
        self.headers.iter().find_map(|(name, value)| match &**name {
            headers::KAFKA_CORRELATION_ID => Some((Format::Native, value)),
            headers::CORRELATION_ID => Some((Format::Json, value)),
            _ => None,
        })
    }
}
