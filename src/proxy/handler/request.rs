//! Between actix-web's HTTP and the wire's: what a client sent as a record's content, and a reply record as what the client gets.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{self, BodySize, BoxBody, MessageBody, SizedStream};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::error::RequestError;
use crate::proxy::admission::in_flight::Permit;
use crate::proxy::routing::routes::Route;
use crate::wire::{self, CorrelationId, Fields, RawRecord, Request, Response, WireError, headers};

/// What this gateway calls itself in `Via` (RFC 9110 7.6.3).
const VIA: &[u8] = b"1.1 actix-khp";
/// A client's request id is passed on up to this length.
const MAX_REQUEST_ID: usize = 128;

/// What cannot cross a message queue, told before anything else is read: the parser gives both precedence over Content-Length.
pub fn is_upgrade(request: &HttpRequest) -> bool {
    request.method() == Method::CONNECT || request.headers().contains_key(header::UPGRADE)
}

/// Bytes of target and header fields; the parser alone would take 128 KiB.
pub fn head_size(request: &HttpRequest) -> usize {
    let fields = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    request.uri().path_and_query().map_or(1, |target| target.as_str().len()) + fields.sum::<usize>()
}

/// Bytes of an answer from which on it holds its permit while it is written; what a socket takes at once is not worth that.
const LARGE_ANSWER: u64 = 64 << 10;

/// The longest that a body may pause.
const BODY_PAUSE: Duration = Duration::from_secs(10);

/// Reads the whole body; `None` when the request has none at all, as distinct from an empty one.
///
/// # Errors
/// `BodyTooLarge` by Content-Length before a byte is read, or while reading; `BodyTimeout` past `deadline`, or when nothing comes for `BODY_PAUSE`; `BadRequest` when the body
/// breaks off or is malformed.
pub async fn read_body(
    request: &HttpRequest,
    payload: &mut web::Payload,
    limit: usize,
    deadline: Instant,
) -> Result<Option<Bytes>, RequestError> {
    let declared = request.headers().get(header::CONTENT_LENGTH);
    if declared.is_none() && !request.headers().contains_key(header::TRANSFER_ENCODING) {
        return Ok(None);
    }
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(RequestError::BodyTooLarge);
    }
    let mut body = Body::Empty;
    let read = async {
        loop {
            // A client that sends a byte now and then must not hold a place of its topic for the whole timeout.
            let next = tokio::time::timeout(BODY_PAUSE, payload.next()).await;
            let Some(chunk) = next.map_err(|_| RequestError::BodyTimeout)? else {
                break;
            };
            body.push(chunk.map_err(|_| RequestError::BadRequest)?, declared.unwrap_or(0));
            if body.len() > limit {
                return Err(RequestError::BodyTooLarge);
            }
        }
        Ok(())
    };
    tokio::time::timeout_at(deadline, read)
        .await
        .unwrap_or(Err(RequestError::BodyTimeout))?;
    Ok(Some(body.into_bytes()))
}

/// A body as it arrives: one chunk is kept as it is, more are joined.
enum Body {
    Empty,
    One(Bytes),
    Joined(BytesMut),
}

impl Body {
    fn push(&mut self, chunk: Bytes, expected: usize) {
        match self {
            Body::Empty => *self = Body::One(chunk),
            Body::One(first) => {
                let mut joined = BytesMut::with_capacity(expected.max(first.len() + chunk.len()));
                joined.extend_from_slice(first);
                joined.extend_from_slice(&chunk);
                *self = Body::Joined(joined);
            }
            Body::Joined(joined) => joined.extend_from_slice(&chunk),
        }
    }

    fn len(&self) -> usize {
        match self {
            Body::Empty => 0,
            Body::One(chunk) => chunk.len(),
            Body::Joined(joined) => joined.len(),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Body::Empty => Bytes::new(),
            Body::One(chunk) => chunk,
            Body::Joined(joined) => joined.freeze(),
        }
    }
}

/// What a request asks for, and of whom.
pub struct Target<'a> {
    /// Path and query, byte for byte, or `*`.
    path: Cow<'a, str>,
    /// The target's own (absolute form, RFC 9112 3.2.2), which goes before `Host`; may be empty.
    authority: &'a str,
}

impl<'a> Target<'a> {
    /// Reads request line and `Host`.
    ///
    /// # Errors
    /// `BadRequest`: the target is none that a backend could be asked for, or `Host` is not text.
    pub fn of(request: &'a HttpRequest) -> Result<Self, RequestError> {
        let (uri, bad) = (request.uri(), RequestError::BadRequest);
        let authority = match (uri.scheme_str(), uri.authority()) {
            (None, None) => match request.headers().get(header::HOST) {
                Some(host) => host.to_str().map_err(|_| bad)?,
                None => "",
            },
            (Some("http" | "https"), Some(authority)) => authority.as_str(),
            // `GET shop.example`: the parser takes that for an authority, whose path would be "/".
            _ => return Err(bad),
        };
        let path = path_and_query(uri);
        // User and password before a host are an attempt to deceive (RFC 9110 4.2.4).
        if authority.contains('@') || wire::check_target(request.method().as_str(), &path).is_err() {
            return Err(bad);
        }
        Ok(Target { path, authority })
    }
}

/// An empty path is `/` (RFC 9110 4.2.3), also before a query.
fn path_and_query(uri: &Uri) -> Cow<'_, str> {
    let given = uri.path_and_query().map_or("/", |target| target.as_str());
    match given.starts_with('?') {
        true => Cow::Owned(format!("/{given}")),
        false => Cow::Borrowed(given),
    }
}

/// The request as it travels, with the gateway's own headers. `remaining` is how long the client still waits.
pub fn to_wire(
    request: &HttpRequest,
    target: &Target<'_>,
    route: &Route,
    body: Option<Bytes>,
    id: CorrelationId,
    reply_topic: &str,
    remaining: Duration,
) -> Request {
    let client_ip = request.peer_addr().map(|peer| peer.ip().to_string());
    let timeout_ms = remaining.as_millis() as i64;
    Request {
        correlation_id: Bytes::copy_from_slice(&id.to_bytes()),
        method: request.method().as_str().to_string(),
        path: route.on_wire(&target.path).into_owned(),
        headers: fields(request, id, client_ip.as_deref(), target.authority),
        authority: target.authority.to_string(),
        scheme: "http".into(),
        body,
        reply_topic: Some(reply_topic.to_string()),
        reply_partition: None,
        deadline_ms: Some(wire::now_ms() + timeout_ms),
        timeout_ms: Some(timeout_ms),
        client_ip,
        key: route.key(request.uri(), request.headers()),
    }
}

fn fields(request: &HttpRequest, id: CorrelationId, client_ip: Option<&str>, authority: &str) -> Fields {
    let own = request.headers();
    let connection: Vec<&[u8]> = own.get_all(header::CONNECTION).map(HeaderValue::as_bytes).collect();
    let connection = headers::connection_options(connection);
    let mut fields: Fields = Vec::with_capacity(own.len() + 6);
    for (name, value) in headers::end_to_end(own.iter().map(|(name, value)| (name.as_str(), value)), &connection) {
        // Host travels as :authority; framing is each hop's own; Expect was answered here.
        let dropped = matches!(
            name,
            "host"
                | "content-length"
                | "expect"
                | headers::X_FORWARDED_FOR
                | headers::X_REQUEST_ID
                | headers::X_ORIGINAL_METHOD
        );
        if !dropped {
            fields.push((name.to_string().into(), Bytes::copy_from_slice(value.as_bytes())));
        }
    }
    let mut gain = |name: &'static str, value: Bytes| fields.push((name.into(), value));
    gain(headers::VIA, Bytes::from_static(VIA));
    if let Some(forwarded) = forwarded_for(request, client_ip) {
        gain(headers::X_FORWARDED_FOR, forwarded);
    }
    if !own.contains_key(headers::X_FORWARDED_PROTO) {
        gain(headers::X_FORWARDED_PROTO, Bytes::from_static(b"http"));
    }
    if !own.contains_key(headers::X_FORWARDED_HOST) && !authority.is_empty() {
        gain(headers::X_FORWARDED_HOST, Bytes::copy_from_slice(authority.as_bytes()));
    }
    gain(
        headers::X_ORIGINAL_METHOD,
        Bytes::copy_from_slice(request.method().as_str().as_bytes()),
    );
    let request_id = own
        .get(headers::X_REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .filter(|id| id.len() <= MAX_REQUEST_ID && headers::name_is_legal(id));
    gain(
        headers::X_REQUEST_ID,
        request_id.map_or_else(
            || Bytes::from(id.to_string()),
            |id| Bytes::copy_from_slice(id.as_bytes()),
        ),
    );
    fields
}

/// All addresses so far in one line, ours to see appended.
fn forwarded_for(request: &HttpRequest, client_ip: Option<&str>) -> Option<Bytes> {
    let earlier = request
        .headers()
        .get_all(headers::X_FORWARDED_FOR)
        .map(HeaderValue::as_bytes);
    let all: Vec<&[u8]> = earlier.chain(client_ip.map(str::as_bytes)).collect();
    (!all.is_empty()).then(|| Bytes::from(all.join(&b", "[..])))
}

/// An answer to a request whose body may not have been read whole. While somebody could still read that, actix-http ends the connection
/// in order: it answers, reads on for `connection::LINGER`, and closes. Otherwise it would read a chunked body for as long as it comes.
pub fn with_unread(response: HttpResponse, rest: web::Payload) -> HttpResponse {
    response.map_body(|_, body| Keeps { body, _kept: rest }.boxed())
}

/// A large answer whose memory is bounded by its permit: given back once the connection has taken it, or is gone. A small one needs
/// none while it is written.
pub fn with_permit(response: HttpResponse, permit: Permit) -> HttpResponse {
    match response.body().size() {
        BodySize::Sized(LARGE_ANSWER..) => response.map_body(|_, body| Keeps { body, _kept: permit }.boxed()),
        _ => response,
    }
}

/// A body that keeps something until it is written.
struct Keeps<T> {
    body: BoxBody,
    _kept: T,
}

impl<T: Unpin + 'static> MessageBody for Keeps<T> {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

/// The answer a client gets for a reply record.
///
/// # Errors
/// The record is not a reply, or not one that HTTP can carry.
pub fn to_http(record: &RawRecord, id: CorrelationId, method: &Method) -> Result<HttpResponse, WireError> {
    let Response {
        status,
        headers: fields,
        body,
        ..
    } = wire::decode_response(record)?;
    let malformed = |reason: &str| WireError {
        reason: reason.into(),
        correlation_id: None,
        reply_topic: None,
        reply_partition: None,
    };
    let status = StatusCode::from_u16(status).map_err(|_| malformed("status out of range"))?;
    let mut response = HttpResponse::new(status);
    let mut length: Option<u64> = None;
    for (name, value) in fields {
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| malformed("illegal header value"))?;
        if name == "content-length" {
            length = value.to_str().ok().and_then(|length| length.parse().ok());
            continue;
        }
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed("illegal header name"))?;
        response.headers_mut().append(name, value);
    }
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        response
            .headers_mut()
            .insert(HeaderName::from_static(headers::KHP_CORRELATION_ID), id);
    }
    // The length is that of the answer to GET (RFC 9110 9.3.2, 15.4.5): told, and no body sent.
    if status == StatusCode::NOT_MODIFIED {
        if let Some(length) = length {
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        return Ok(without_body(response));
    }
    // These have no content, whatever a replier wrote (RFC 9110 15.3.5, 15.3.6): after a 204 its bytes would be the next answer's.
    if status == StatusCode::NO_CONTENT {
        return Ok(without_body(response));
    }
    if status == StatusCode::RESET_CONTENT {
        return Ok(response.set_body(Bytes::new()).map_into_boxed_body());
    }
    if *method == Method::HEAD {
        return Ok(match length {
            Some(length) => response
                .set_body(SizedStream::new(
                    length,
                    futures_util::stream::empty::<Result<Bytes, std::io::Error>>(),
                ))
                .map_into_boxed_body(),
            None => without_body(response),
        });
    }
    Ok(response.set_body(body).map_into_boxed_body())
}

/// Unlike `drop_body`, which tells a length of 0.
fn without_body(response: HttpResponse) -> HttpResponse {
    response.set_body(body::None::new()).map_into_boxed_body()
}
