//! The `json` format: the envelope of kafka-http-proxy 1.0.1, one JSON object as the record's value.
//!
//! That envelope has no room for bytes that are not text, names that repeat, the query as it was written, and a deadline. They are in
//! members which that program ignores. A record without them is read as that program would read it.

mod fields;
mod target;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::wire::correlation::CorrelationId;
use crate::wire::headers;
use crate::wire::http::{self, MAX_TIME_MS};
use crate::wire::json::fields::{HeaderList, Object, read_fields, write_fields};
use crate::wire::json::target::{query_params, target};
use crate::wire::message::{Fields, RawRecord, Record, Request, Response, WireError};
use crate::wire::reply_error::ReplyError;

const BASE64_ENCODING: &str = "base64";
const HOST: &str = "host";

#[derive(Serialize)]
struct RequestOut<'a> {
    correlation_id: Cow<'a, str>,
    timestamp: f64,
    method: &'a str,
    path: &'a str,
    /// For others; ours read `query`.
    query_params: Object<Cow<'a, str>, Value>,
    /// Null: there was no `?`. When this member is present, it and `path` are as they were received.
    query: Option<&'a str>,
    headers: Object<&'a str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header_list: Option<HeaderList<'a>>,
    body: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_encoding: Option<&'static str>,
    client_ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<i64>,
}

#[derive(Deserialize)]
struct RequestIn<'a> {
    correlation_id: Option<String>,
    timestamp: Option<f64>,
    method: String,
    path: String,
    query_params: Option<Object<String, Value>>,
    #[serde(default, deserialize_with = "present")]
    query: Option<Option<String>>,
    headers: Option<Object<String, String>>,
    header_list: Option<HeaderList<'a>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    body_encoding: Option<String>,
    client_ip: Option<String>,
    deadline: Option<i64>,
}

#[derive(Serialize)]
struct ReplyOut<'a> {
    correlation_id: Cow<'a, str>,
    timestamp: f64,
    status_code: u16,
    headers: Object<&'a str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header_list: Option<HeaderList<'a>>,
    body: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

#[derive(Deserialize)]
struct ReplyIn<'a> {
    correlation_id: Option<String>,
    status_code: u16,
    headers: Option<Object<String, String>>,
    header_list: Option<HeaderList<'a>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    body_encoding: Option<String>,
    error: Option<String>,
}

/// Writes a request. An id of ours goes as text; `reply_topic` and `reply_partition` are not part of this format.
pub fn encode_request(request: Request, now_ms: i64) -> Record {
    let id = match CorrelationId::from_bytes(&request.correlation_id) {
        Some(id) if request.correlation_id.len() == 16 => Bytes::from(id.to_string()),
        _ => request.correlation_id,
    };
    let mut fields: Fields = headers::end_to_end(request.headers, &[]).collect();
    if !request.authority.is_empty() {
        fields.insert(0, (HOST.into(), request.authority.into()));
    }
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (request.path.as_str(), None),
    };
    let (headers, header_list) = write_fields(&fields);
    let (body, body_encoding) = request.body.as_deref().map(write_body).unzip();
    let sent_ms = request.deadline_ms.zip(request.timeout_ms);
    let envelope = RequestOut {
        correlation_id: String::from_utf8_lossy(&id),
        // So that what reads the deadline knows the span too.
        timestamp: seconds(sent_ms.map_or(now_ms, |(deadline, timeout)| deadline - timeout)),
        method: &request.method,
        path,
        query_params: query_params(query.unwrap_or_default()),
        query,
        headers,
        header_list,
        body,
        body_encoding: body_encoding.flatten(),
        client_ip: request.client_ip.as_deref(),
        deadline: request.deadline_ms,
    };
    let mut record = record(&envelope, request.key, id.clone());
    // Where tracing looks for it.
    let traces = fields
        .iter()
        .filter(|(name, _)| *name == headers::TRACEPARENT || *name == headers::TRACESTATE);
    record.headers.extend(traces.cloned());
    record
}

/// Writes a reply, its key null.
pub fn encode_response(response: Response, now_ms: i64) -> Record {
    let fields: Fields = headers::end_to_end(response.headers, &[]).collect();
    let (headers, header_list) = write_fields(&fields);
    let (body, body_encoding) = write_body(&response.body);
    let envelope = ReplyOut {
        correlation_id: String::from_utf8_lossy(&response.correlation_id),
        timestamp: seconds(now_ms),
        status_code: response.status,
        headers,
        header_list,
        body,
        body_encoding,
        error: response.error.map(ReplyError::as_str),
    };
    record(&envelope, None, response.correlation_id.clone())
}

/// Reads a request.
///
/// # Errors
/// If the record is malformed; the error carries the correlation id, if that much could be read.
pub fn decode_request(record: &RawRecord) -> Result<Request, WireError> {
    read_request(record).map_err(|reason| malformed(record, reason))
}

/// Reads a reply.
///
/// # Errors
/// If the record is malformed; the error carries the correlation id, if that much could be read.
pub fn decode_response(record: &RawRecord) -> Result<Response, WireError> {
    read_response(record).map_err(|reason| malformed(record, reason))
}

/// The correlation id in an envelope, whatever the rest of it is worth.
pub fn envelope_id(value: &[u8]) -> Option<Bytes> {
    #[derive(Deserialize)]
    struct Id {
        correlation_id: String,
    }
    let id = serde_json::from_slice::<Id>(value).ok()?.correlation_id;
    (!id.is_empty()).then(|| id.into())
}

/// A malformed record, and where an answer would go: the topic for it is not the record's to say.
pub fn malformed(record: &RawRecord, reason: String) -> WireError {
    WireError {
        reason,
        correlation_id: header_id(record).or_else(|| envelope_id(value(record))),
        reply_topic: None,
        reply_partition: None,
    }
}

fn record(envelope: &impl Serialize, key: Option<Bytes>, id: Bytes) -> Record {
    // Serializing fails only for maps whose keys are not strings; the envelope has none.
    let value = serde_json::to_vec(envelope).expect("the envelope is JSON");
    Record {
        key,
        value: value.into(),
        headers: vec![(headers::CORRELATION_ID.into(), id)],
    }
}

fn value(record: &RawRecord) -> &[u8] {
    record.value.as_deref().unwrap_or_default()
}

/// The id in the record header, which goes before the envelope's.
fn header_id(record: &RawRecord) -> Option<Bytes> {
    record
        .header(headers::CORRELATION_ID)
        .filter(|id| !id.is_empty())
        .cloned()
}

fn correlation_id(record: &RawRecord, in_envelope: Option<String>) -> Result<Bytes, String> {
    let in_envelope = || in_envelope.filter(|id| !id.is_empty()).map(Bytes::from);
    header_id(record)
        .or_else(in_envelope)
        .ok_or_else(|| "no correlation_id".into())
}

/// Parses an envelope. serde's own message would quote what it found there.
fn parse<'a, T: Deserialize<'a>>(record: &'a RawRecord) -> Result<T, String> {
    use serde_json::error::Category;
    serde_json::from_slice(value(record)).map_err(|error| {
        let what = match error.classify() {
            Category::Eof => "it is cut off",
            Category::Data => "a field is missing or of a wrong type",
            Category::Syntax | Category::Io => "it is not JSON",
        };
        let (line, column) = (error.line(), error.column());
        format!("the value is not an envelope: {what} (line {line}, column {column})")
    })
}

fn read_request(record: &RawRecord) -> Result<Request, String> {
    let envelope: RequestIn = parse(record)?;
    let correlation_id = correlation_id(record, envelope.correlation_id)?;
    let path = match envelope.query {
        Some(None) => envelope.path,
        Some(Some(query)) => format!("{}?{query}", envelope.path),
        None => target(&envelope.path, envelope.query_params)?,
    };
    http::check_target(&envelope.method, &path)?;
    let mut headers = read_fields(envelope.headers, envelope.header_list)?;
    let host = headers.extract_if(.., |(name, _)| name == HOST).next();
    let authority = host.map(|(_, host)| String::from_utf8(host.into())).transpose();
    headers.retain(|(name, _)| name != HOST);
    let client_ip = envelope.client_ip.filter(|ip| !ip.is_empty());
    if client_ip
        .as_ref()
        .is_some_and(|ip| !headers::value_is_legal(ip.as_bytes()))
    {
        return Err("client_ip is not legal text".into());
    }
    let deadline_ms = match envelope.deadline {
        Some(ms) if ms < 0 => return Err("deadline is not a number of milliseconds".into()),
        deadline => deadline.map(|ms| ms.min(MAX_TIME_MS)),
    };
    let span = |(deadline, sent): (i64, f64)| deadline.saturating_sub((sent * 1000.0).round() as i64);
    Ok(Request {
        correlation_id,
        method: envelope.method,
        path,
        authority: authority.map_err(|_| "host is not UTF-8")?.unwrap_or_default(),
        scheme: String::new(),
        headers,
        body: read_body(envelope.body, envelope.body_encoding)?.map(|(body, _)| body),
        body_elsewhere: None,
        accepts_stream: None,
        reply_topic: None,
        reply_partition: None,
        deadline_ms,
        timeout_ms: deadline_ms
            .zip(envelope.timestamp)
            .map(|times| span(times).clamp(0, MAX_TIME_MS)),
        client_ip,
        principal: None,
        idempotency: None,
        key: record.key.clone(),
    })
}

fn read_response(record: &RawRecord) -> Result<Response, String> {
    let envelope: ReplyIn = parse(record)?;
    let correlation_id = correlation_id(record, envelope.correlation_id)?;
    if !http::is_final_status(&envelope.status_code) {
        return Err("status_code is not 200 to 599".into());
    }
    let mut headers = read_fields(envelope.headers, envelope.header_list)?;
    let (body, is_json) = read_body(envelope.body, envelope.body_encoding)?.unwrap_or_default();
    // A replier that puts its result there as it is may know nothing of HTTP (RFC 9110 8.3).
    if is_json && !headers.iter().any(|(name, _)| name == headers::CONTENT_TYPE) {
        headers.push((headers::CONTENT_TYPE.into(), Bytes::from_static(b"application/json")));
    }
    Ok(Response {
        correlation_id,
        status: envelope.status_code,
        headers,
        body,
        error: envelope.error.map(|code| ReplyError::from_text(code.as_bytes())),
    })
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn write_body(body: &[u8]) -> (Cow<'_, str>, Option<&'static str>) {
    match std::str::from_utf8(body) {
        Ok(text) => (text.into(), None),
        Err(_) => (BASE64.encode(body).into(), Some(BASE64_ENCODING)),
    }
}

/// The body, and whether it was JSON rather than a string; `None` for null. JSON keeps its own text: nothing of it, a
/// large number say, is lost by being read.
fn read_body(body: Option<&RawValue>, encoding: Option<String>) -> Result<Option<(Bytes, bool)>, String> {
    let Some(json) = body.map(RawValue::get) else {
        return Ok(None);
    };
    let text = json.starts_with('"').then(|| serde_json::from_str::<String>(json));
    let text = text.transpose().map_err(|_| "body is not UTF-8 text")?;
    Ok(Some(match (text, encoding.as_deref()) {
        (Some(text), None) => (text.into(), false),
        (Some(text), Some(BASE64_ENCODING)) => (BASE64.decode(text).map_err(|_| "body is not base64")?.into(), false),
        (None, None) => (Bytes::copy_from_slice(json.as_bytes()), true),
        _ => return Err("body_encoding does not fit the body".into()),
    }))
}

/// Keeps null apart from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod malformed_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod properties;
#[cfg(test)]
mod tests;
