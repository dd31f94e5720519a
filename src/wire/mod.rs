//! Records as bytes, and nothing else: functions between what HTTP carries and what a Kafka record holds.
//!
//! `native` (the body is the value, the rest are record headers) and `json` (the envelope of kafka-http-proxy 1.0.1)
//! are specified in the README, "The record on the wire". Bytes stay bytes, repeats and order are kept, and no decoder
//! panics on any input.

mod arena;
pub mod correlation;
pub mod dead_letter;
pub mod headers;
mod http;
#[cfg(any(test, fuzzing))]
pub mod invariants;
pub mod json;
pub mod native;
pub mod redrive;

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

pub use arena::Arena;
pub use correlation::CorrelationId;
pub use http::{check_target, is_final_status};

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

/// The time, in ms since 1970.
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

/// Header fields in order, names in lower case, values raw; a name may repeat. Names of our own are borrowed, never
/// copied.
pub type Fields = Vec<(Cow<'static, str>, Bytes)>;

/// Record headers as Kafka has them: in order, names any bytes, values any bytes or null.
pub type RawFields = Vec<(Bytes, Option<Bytes>)>;

/// A record to be produced, less its topic and partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Null, or what the route's `key` names.
    pub key: Option<Bytes>,
    /// Empty, never null: listeners elsewhere take null for a deletion.
    pub value: Bytes,
    /// Ours first, then HTTP's.
    pub headers: Fields,
}

impl Record {
    /// The format and the correlation id of a record that was just encoded.
    pub fn format_and_id(&self) -> Option<(Format, &Bytes)> {
        self.headers.iter().find_map(|(name, value)| match &**name {
            headers::KAFKA_CORRELATION_ID => Some((Format::Native, value)),
            headers::CORRELATION_ID => Some((Format::Json, value)),
            _ => None,
        })
    }

    /// The most bytes that the record takes in an uncompressed batch of its own: what `message.max.bytes` limits.
    pub fn encoded_size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        encoded_size(self.key.as_ref(), Some(&self.value), headers)
    }
}

/// A record as it was consumed, copied out of librdkafka. Keys and header names are raw bytes: nothing is promised
/// about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Where the record was read, and the next two with it.
    pub topic: std::sync::Arc<str>,
    /// See `topic`.
    pub partition: i32,
    /// See `topic`.
    pub offset: i64,
    /// Milliseconds since 1970, where the record has one.
    pub timestamp: Option<i64>,
    /// Null or any bytes.
    pub key: Option<Bytes>,
    /// Null or any bytes.
    pub value: Option<Bytes>,
    /// In order; a header's value may be null.
    pub headers: RawFields,
}

#[cfg(test)]
impl RawRecord {
    /// A test's record of which only the topic counts.
    pub fn empty(topic: &std::sync::Arc<str>) -> Self {
        RawRecord {
            topic: topic.clone(),
            partition: 0,
            offset: 0,
            timestamp: None,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }
}

/// An HTTP request as it travels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Opaque, never empty; ours are a [`CorrelationId`].
    pub correlation_id: Bytes,
    /// A token (RFC 9110 9.1), its case kept; never CONNECT.
    pub method: String,
    /// Path and query, byte for byte as received; or `*`.
    pub path: String,
    /// As received, for information: a backend's address never comes from a record. Empty when there was none.
    pub authority: String,
    /// As `authority`.
    pub scheme: String,
    /// End-to-end header fields only.
    pub headers: Fields,
    /// `None`: the request had no body at all, as distinct from an empty one.
    pub body: Option<Bytes>,
    /// Where the answer is awaited.
    pub reply_topic: Option<String>,
    /// `None`: any partition will do.
    pub reply_partition: Option<i32>,
    /// Unix time in ms after which nobody waits.
    pub deadline_ms: Option<i64>,
    /// The same as a span, in ms.
    pub timeout_ms: Option<i64>,
    /// The address the request came from, as text.
    pub client_ip: Option<String>,
    /// The record's key.
    pub key: Option<Bytes>,
}

/// An HTTP response as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The request's, echoed.
    pub correlation_id: Bytes,
    /// 200 to 599: an interim (1xx) response is not an answer.
    pub status: u16,
    /// End-to-end header fields only.
    pub headers: Fields,
    /// Empty when there is none.
    pub body: Bytes,
    /// Set when the processor itself made the answer.
    pub error: Option<ReplyError>,
}

/// Why a processor answered instead of its backend (`khp-error`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyError {
    /// No connection to the backend, or it was refused.
    BackendUnreachable,
    /// The backend did not answer in time.
    BackendTimeout,
    /// The backend broke off its answer.
    BackendReset,
    /// The record is malformed.
    BadMessage,
    /// The circuit breaker of the topic is open.
    BreakerOpen,
    /// The answer does not fit into a record.
    ResponseTooLarge,
    /// The processor failed inside; also any code not known here, such as a newer version's.
    ProcessorFailed,
}

impl ReplyError {
    const ALL: [Self; 7] = [
        Self::BackendUnreachable,
        Self::BackendTimeout,
        Self::BackendReset,
        Self::BadMessage,
        Self::BreakerOpen,
        Self::ResponseTooLarge,
        Self::ProcessorFailed,
    ];

    /// The code in `khp-error` and in the client's problem document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BackendUnreachable => "backend-unreachable",
            Self::BackendTimeout => "backend-timeout",
            Self::BackendReset => "backend-reset",
            Self::BadMessage => "bad-message",
            Self::BreakerOpen => "breaker-open",
            Self::ResponseTooLarge => "response-too-large",
            Self::ProcessorFailed => "processor-failed",
        }
    }

    /// Reads a code. One that is not known is a failure all the same, hence `ProcessorFailed`.
    pub fn from_text(text: &[u8]) -> Self {
        Self::ALL
            .into_iter()
            .find(|error| error.as_str().as_bytes() == text)
            .unwrap_or(Self::ProcessorFailed)
    }
}

/// Why a record is malformed, and what could be read of it all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed record: {reason}")]
pub struct WireError {
    /// Lower case, no full stop, no content of the record beyond header names.
    pub reason: String,
    /// Where an error reply can go, when these could be read.
    pub correlation_id: Option<Bytes>,
    /// See `correlation_id`.
    pub reply_topic: Option<String>,
    /// See `correlation_id`.
    pub reply_partition: Option<i32>,
}

/// An upper bound, from the sizes of each header's name and value together. It counts the batch header (61 bytes), the
/// record's own numbers (librdkafka's `RD_KAFKAP_MESSAGE_V2_MAX_OVERHEAD`, 36) and two lengths of up to 5 bytes for
/// each header.
fn encoded_size(key: Option<&Bytes>, value: Option<&Bytes>, headers: impl Iterator<Item = usize>) -> usize {
    61 + 36 + key.map_or(0, Bytes::len) + value.map_or(0, Bytes::len) + headers.map(|size| 10 + size).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_error_has_its_code() {
        for (error, code) in [
            (ReplyError::BackendUnreachable, "backend-unreachable"),
            (ReplyError::BackendTimeout, "backend-timeout"),
            (ReplyError::BackendReset, "backend-reset"),
            (ReplyError::BadMessage, "bad-message"),
            (ReplyError::BreakerOpen, "breaker-open"),
            (ReplyError::ResponseTooLarge, "response-too-large"),
            (ReplyError::ProcessorFailed, "processor-failed"),
        ] {
            assert_eq!(error.as_str(), code);
            assert_eq!(ReplyError::from_text(code.as_bytes()), error);
        }
        for unknown in [&b""[..], b"Backend-Timeout", b"out-of-cheese", b"\xff\0"] {
            assert_eq!(ReplyError::from_text(unknown), ReplyError::ProcessorFailed);
        }
    }
}
