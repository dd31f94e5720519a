//! What travels: an HTTP message, and the record that carries it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::wire::beside::{BodyPlace, StreamOffer};
use crate::wire::idempotency::Idempotency;
use crate::wire::reply_error::ReplyError;

/// Header fields in order, names in lower case, values raw; a name may repeat. Names of our own are borrowed, never
/// copied.
pub type Fields = Vec<(Cow<'static, str>, Bytes)>;

/// Record headers as Kafka has them: in order, names any bytes, values any bytes or null.
pub type RawFields = Vec<(Bytes, Option<Bytes>)>;

/// A record to be produced, less its topic and partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Null, or what the route's `key` names.
    pub key: Option<Bytes>,
    /// Empty, never null: listeners elsewhere take null for a deletion.
    pub value: Bytes,
    /// Ours first, then HTTP's.
    pub headers: Fields,
}

impl Record {
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
    /// The topic it was read from, shared by all records of that topic.
    pub topic: Arc<str>,
    /// The partition it was read from.
    pub partition: i32,
    /// Its offset in that partition.
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

impl RawRecord {
    /// The values of the headers of that name, in whatever case; a value may be null.
    pub fn headers_named(&self, name: &str) -> impl DoubleEndedIterator<Item = Option<&Bytes>> {
        let named = self
            .headers
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| value.as_ref())
    }

    /// The value of a header of ours; null counts as empty. Of several with that name the last counts, as in `Headers.lastHeader` of
    /// Kafka's own client.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        static EMPTY: Bytes = Bytes::new();
        self.headers_named(name)
            .next_back()
            .map(|value| value.unwrap_or(&EMPTY))
    }

    #[cfg(test)]
    /// A test's record of which only the topic counts.
    pub fn empty(topic: &Arc<str>) -> Self {
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
    /// Opaque, never empty; ours are a `CorrelationId`.
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
    /// `None`: the request had no body at all, as distinct from an empty one; or it lies elsewhere.
    pub body: Option<Bytes>,
    /// Where a body lies that is larger than a record. Not part of the `json` format.
    pub body_elsewhere: Option<BodyPlace>,
    /// The requester takes an answer in several records. Not part of the `json` format.
    pub accepts_stream: Option<StreamOffer>,
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
    /// The name that the client has proven to the proxy. Not part of the `json` format.
    pub principal: Option<String>,
    /// The record's key.
    pub key: Option<Bytes>,
    /// It runs once for that key. Not part of the `json` format.
    pub idempotency: Option<Idempotency>,
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
pub fn encoded_size(key: Option<&Bytes>, value: Option<&Bytes>, headers: impl Iterator<Item = usize>) -> usize {
    61 + 36 + key.map_or(0, Bytes::len) + value.map_or(0, Bytes::len) + headers.map(|size| 10 + size).sum::<usize>()
}
