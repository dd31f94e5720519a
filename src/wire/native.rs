//! The `native` format: the body is the record's value, everything else a record header.
//!
//! Encoding consumes what it encodes, so that names and values move into the record instead of being copied. Decoding
//! borrows, because a record that turns out malformed is still wanted, byte for byte, as a dead letter.
//!
//! - [`afterwards`]: what is known of a request only once it was encoded.

pub mod afterwards;

use std::borrow::Cow;

use bytes::Bytes;

use crate::wire::beside::{BodyPlace, InstanceId, StreamOffer};
use crate::wire::frame::{Own, VERSION, VERSION_ELSEWHERE, check_frame, check_frame_of, http_fields, number};
use crate::wire::headers;
use crate::wire::http::{self, MAX_TIME_MS};
use crate::wire::idempotency::Idempotency;
use crate::wire::message::{Fields, RawRecord, Record, Request, Response, WireError};
use crate::wire::reply_error::ReplyError;

const NO_BODY: &[u8] = b"none";
const ELSEWHERE: &[u8] = b"elsewhere";
const STREAM: &[u8] = b"stream";
/// Besides, that nobody reads it as it comes.
pub const STORED: &[u8] = b"stored";
pub const PROCESSOR_FAILED: &str = "the processor failed";
const NO_CORRELATION_ID: &str = "no kafka_correlationId";
/// With the reply partition and the offer, which are added where replies are read.
const OWN_REQUEST_HEADERS: usize = 19;
const OWN_REPLY_HEADERS: usize = 4;

/// True if a record is of this format; any other can only be `json`.
pub fn is_native(record: &RawRecord) -> bool {
    record
        .header(headers::KHP_VERSION)
        .or_else(|| record.header(headers::KAFKA_CORRELATION_ID))
        .is_some()
}

/// Writes a request. Fields that are not end-to-end are left out once more, so that no mistake elsewhere lets a client
/// forge ours.
pub fn encode_request(request: Request) -> Record {
    let mut own = Own(Fields::with_capacity(OWN_REQUEST_HEADERS + request.headers.len()));
    own.put(
        headers::KHP_VERSION,
        Bytes::from_static(version_of(request.body_elsewhere)),
    );
    own.put(headers::KAFKA_CORRELATION_ID, request.correlation_id);
    own.put_some(headers::KAFKA_REPLY_TOPIC, request.reply_topic);
    let partition = request
        .reply_partition
        .map(|partition| Bytes::copy_from_slice(&partition.to_be_bytes()));
    own.put_some(headers::KAFKA_REPLY_PARTITION, partition);
    own.put_some(headers::KHP_DEADLINE, request.deadline_ms.map(|ms| ms.to_string()));
    own.put_some(headers::KHP_TIMEOUT, request.timeout_ms.map(|ms| ms.to_string()));
    own.put_some(headers::KHP_CLIENT_IP, request.client_ip);
    own.put_some(headers::KHP_PRINCIPAL, request.principal);
    own.put(headers::METHOD, request.method);
    own.put(headers::PATH, request.path);
    own.put(headers::AUTHORITY, request.authority);
    own.put(headers::SCHEME, request.scheme);
    match request.body_elsewhere {
        Some(place) => put_place(place, &mut own),
        None if request.body.is_none() => own.put(headers::KHP_BODY, Bytes::from_static(NO_BODY)),
        None => {}
    }
    if let Some(idempotency) = request.idempotency {
        idempotency.put(&mut own);
    }
    if let Some(offer) = request.accepts_stream {
        put_offer(offer, &mut own);
    }
    Record {
        key: request.key,
        value: request.body.unwrap_or_default(),
        headers: own.and(request.headers),
    }
}

/// Writes a reply, its key null. Fields that are not end-to-end are left out.
pub fn encode_response(response: Response) -> Record {
    let mut own = Own(Fields::with_capacity(OWN_REPLY_HEADERS + response.headers.len()));
    own.put(headers::KHP_VERSION, Bytes::from_static(VERSION));
    own.put(headers::KAFKA_CORRELATION_ID, response.correlation_id);
    own.put(headers::STATUS, response.status.to_string());
    own.put_some(
        headers::KHP_ERROR,
        response
            .error
            .map(|error| Bytes::from_static(error.as_str().as_bytes())),
    );
    Record {
        key: None,
        value: response.body,
        headers: own.and(response.headers),
    }
}

/// Reads a request.
///
/// # Errors
/// If the record is malformed; the error carries where an answer can go, if that much could be read.
pub fn decode_request(record: &RawRecord) -> Result<Request, WireError> {
    let reply_to = ReplyTo::read(record);
    read_request(record, &reply_to).map_err(|reason| reply_to.error(reason))
}

/// Where the body of a request lies that is larger than a record; `None`: it is in the record, there is none, or it cannot be read where.
pub fn body_place(record: &RawRecord) -> Option<BodyPlace> {
    read_place(record).ok().flatten()
}

/// Reads a reply, of our processor or of anything that echoes `kafka_correlationId`.
///
/// # Errors
/// If the record is malformed; the error carries the correlation id, if that much could be read.
pub fn decode_response(record: &RawRecord) -> Result<Response, WireError> {
    let reply_to = ReplyTo::read(record);
    read_response(record, &reply_to).map_err(|reason| reply_to.error(reason))
}

/// Where an answer to this record would go, whatever else is wrong with it.
pub fn reply_address(record: &RawRecord) -> WireError {
    ReplyTo::read(record).error(PROCESSOR_FAILED.to_string())
}

/// Where an answer goes. Read first, whatever else is wrong with the record: its client waits too.
struct ReplyTo {
    correlation_id: Option<Bytes>,
    topic: Option<String>,
    partition: Option<i32>,
}

impl ReplyTo {
    fn read(record: &RawRecord) -> Self {
        let filled = |name| record.header(name).filter(|value| !value.is_empty());
        Self {
            correlation_id: filled(headers::KAFKA_CORRELATION_ID).cloned(),
            // What is not UTF-8 stays a name, and one that no list of allowed topics has.
            topic: filled(headers::KAFKA_REPLY_TOPIC).map(|name| String::from_utf8_lossy(name).into_owned()),
            partition: filled(headers::KAFKA_REPLY_PARTITION).and_then(|bytes| read_partition(bytes)),
        }
    }

    fn error(self, reason: String) -> WireError {
        let Self {
            correlation_id,
            topic,
            partition,
        } = self;
        WireError {
            reason,
            correlation_id,
            reply_topic: topic,
            reply_partition: partition,
        }
    }
}

/// Spring writes four bytes, NestJS decimal text. The first of the four is a zero byte, or the number would be larger
/// than any topic's, and text has no zero byte: the two cannot be confused. Anything else is out of range, thus not
/// named.
fn read_partition(bytes: &[u8]) -> Option<i32> {
    match *bytes {
        [0, a, b, c] => Some(i32::from_be_bytes([0, a, b, c])),
        _ => number(bytes).filter(|partition| *partition >= 0),
    }
}

/// The version of a request, by where its body lies.
fn version_of(body_elsewhere: Option<BodyPlace>) -> &'static [u8] {
    if body_elsewhere.is_some() {
        VERSION_ELSEWHERE
    } else {
        VERSION
    }
}

fn read_request(record: &RawRecord, reply_to: &ReplyTo) -> Result<Request, String> {
    let body_elsewhere = read_place(record)?;
    check_frame_of(record, version_of(body_elsewhere))?;
    let correlation_id = reply_to.correlation_id.clone().ok_or(NO_CORRELATION_ID)?;
    let required = |name| text(record, name)?.ok_or_else(|| format!("no {name}"));
    let method = required(headers::METHOD)?;
    let path = required(headers::PATH)?;
    http::check_target(&method, &path)?;
    let value = record.value.clone().unwrap_or_default();
    // The value decides if the two disagree: bytes that were sent are never lost.
    let no_body = record.value.is_none() || record.header(headers::KHP_BODY).is_some_and(|body| body == NO_BODY);
    Ok(Request {
        correlation_id,
        method,
        path,
        authority: text(record, headers::AUTHORITY)?.unwrap_or_default(),
        scheme: text(record, headers::SCHEME)?.unwrap_or_default(),
        headers: http_fields(record)?,
        body: ((!no_body && body_elsewhere.is_none()) || !value.is_empty()).then_some(value),
        body_elsewhere,
        accepts_stream: read_offer(record)?,
        reply_topic: reply_to.topic.clone(),
        reply_partition: reply_to.partition,
        deadline_ms: milliseconds(record, headers::KHP_DEADLINE)?,
        timeout_ms: milliseconds(record, headers::KHP_TIMEOUT)?,
        client_ip: text(record, headers::KHP_CLIENT_IP)?,
        principal: text(record, headers::KHP_PRINCIPAL)?,
        key: record.key.clone(),
        idempotency: Idempotency::read(record)?,
    })
}

fn read_response(record: &RawRecord, reply_to: &ReplyTo) -> Result<Response, String> {
    check_frame(record)?;
    let correlation_id = reply_to.correlation_id.clone().ok_or(NO_CORRELATION_ID)?;
    let status = match record.header(headers::STATUS) {
        None => 200,
        Some(text) => number(text)
            .filter(http::is_final_status)
            .ok_or(":status is not 200 to 599")?,
    };
    let body = record.value.clone().unwrap_or_default();
    let mut fields = http_fields(record)?;
    // Our processor passes on what its backend sent, even if that is no content type. Other repliers may know nothing
    // of HTTP, and RFC 9110 8.3 asks whoever generates content to name its type. Some copy all headers of the request,
    // but that has no `:status`.
    let of_ours = record
        .header(headers::KHP_VERSION)
        .and(record.header(headers::STATUS))
        .is_some();
    if !of_ours && !body.is_empty() && !fields.iter().any(|(name, _)| name == headers::CONTENT_TYPE) {
        fields.push((
            Cow::Borrowed(headers::CONTENT_TYPE),
            Bytes::from_static(b"application/octet-stream"),
        ));
    }
    Ok(Response {
        correlation_id,
        status,
        headers: fields,
        body,
        error: record
            .header(headers::KHP_ERROR)
            .map(|code| ReplyError::from_text(code)),
    })
}

fn put_offer(offer: StreamOffer, own: &mut Own) {
    if offer.is_stored() {
        return own.put(headers::KHP_ACCEPT, Bytes::from_static(STORED));
    }
    own.put(headers::KHP_ACCEPT, Bytes::from_static(STREAM));
    own.put(headers::KHP_WINDOW, offer.window.to_string());
    own.put(headers::KHP_INSTANCE, offer.instance.to_bytes());
}

/// `None`: the answer is awaited in one record. What a later version may accept besides is passed over.
fn read_offer(record: &RawRecord) -> Result<Option<StreamOffer>, String> {
    match record.header(headers::KHP_ACCEPT) {
        Some(accept) if accept == STREAM => {}
        Some(accept) if accept == STORED => return Ok(Some(StreamOffer::STORED)),
        _ => return Ok(None),
    }
    let window = record.header(headers::KHP_WINDOW).and_then(|window| number(window));
    let instance = record
        .header(headers::KHP_INSTANCE)
        .and_then(|instance| InstanceId::from_bytes(instance));
    match (window, instance) {
        (Some(window), Some(instance)) => Ok(Some(StreamOffer { window, instance })),
        _ => Err(format!(
            "{} without a legal {} and {}",
            headers::KHP_ACCEPT,
            headers::KHP_WINDOW,
            headers::KHP_INSTANCE
        )),
    }
}

pub(super) fn put_place(place: BodyPlace, own: &mut Own) {
    own.put(headers::KHP_BODY, Bytes::from_static(ELSEWHERE));
    own.put(
        headers::KHP_BODY_PARTITION,
        Bytes::copy_from_slice(&place.partition.to_be_bytes()),
    );
    own.put(
        headers::KHP_BODY_FIRST,
        Bytes::copy_from_slice(&place.first.to_be_bytes()),
    );
    own.put(
        headers::KHP_BODY_LAST,
        Bytes::copy_from_slice(&place.last.to_be_bytes()),
    );
    own.put(headers::KHP_BODY_LENGTH, place.length.to_string());
}

/// `None`: the body is the record's value, or there is none.
pub(super) fn read_place(record: &RawRecord) -> Result<Option<BodyPlace>, String> {
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

/// Reads a header of ours that may end up in an HTTP message. An empty one counts as absent.
fn text(record: &RawRecord, name: &str) -> Result<Option<String>, String> {
    let Some(value) = record.header(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    match std::str::from_utf8(value) {
        Ok(text) if headers::value_is_legal(value) => Ok(Some(text.to_owned())),
        _ => Err(format!("{name} is not legal text")),
    }
}

fn milliseconds(record: &RawRecord, name: &str) -> Result<Option<i64>, String> {
    let Some(value) = record.header(name) else {
        return Ok(None);
    };
    match number::<i64>(value) {
        Some(ms) if ms >= 0 => Ok(Some(ms.min(MAX_TIME_MS))),
        _ => Err(format!("{name} is not a number of milliseconds")),
    }
}

#[cfg(test)]
mod place_tests;
#[cfg(test)]
pub mod properties;
#[cfg(test)]
pub mod tests;
