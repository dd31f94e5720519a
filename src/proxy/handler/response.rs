//! From the wire to HTTP: a reply record as the answer that a client gets.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{self, BodySize, BoxBody, MessageBody, SizedStream};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, Version};
use actix_web::{HttpResponse, web};
use bytes::Bytes;

use crate::proxy::admission::bytes::HeldBytes;
use crate::proxy::admission::in_flight::Permit;
use crate::wire::stream::StreamHead;
use crate::wire::{self, CorrelationId, Fields, RawRecord, ReplyError, Response, WireError, headers};

/// An answer of this many bytes or more holds its permit while it is written. A socket takes a smaller one at once.
const LARGE_ANSWER: u64 = 64 << 10;

/// An answer to a request whose body may not have been read whole. The answer holds the unread rest: then actix-http answers, reads on
/// for `connection::LINGER`, and closes. Without it actix-http would read a chunked body for as long as it comes.
pub fn with_unread(response: HttpResponse, rest: web::Payload) -> HttpResponse {
    response.map_body(|_, body| BodyHolding { body, _held: rest }.boxed())
}

/// An answer that gives back its place and its bytes: a large one once the connection has taken it, or is gone, because they bound memory.
/// A small one gives them back at once. In HTTP/2 a client can ask for many answers and take none: they give back their places, or one
/// client could have them all, and hold their bytes.
pub fn with_place(response: HttpResponse, version: Version, place: (Permit, HeldBytes)) -> HttpResponse {
    match (response.body().size(), version) {
        (BodySize::Sized(1..), Version::HTTP_2) => {
            let (_, held) = place;
            response.map_body(|_, body| BodyHolding { body, _held: held }.boxed())
        }
        (BodySize::Sized(LARGE_ANSWER..), _) => response.map_body(|_, body| BodyHolding { body, _held: place }.boxed()),
        _ => response,
    }
}

/// An answer that holds its bytes until the connection has taken it, or is gone.
pub fn holding(response: HttpResponse, held: HeldBytes) -> HttpResponse {
    response.map_body(|_, body| BodyHolding { body, _held: held }.boxed())
}

/// A body that holds something until it is written, or its connection is gone.
struct BodyHolding<T> {
    body: BoxBody,
    _held: T,
}

impl<T: Unpin + 'static> MessageBody for BodyHolding<T> {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

/// The answer a client gets for a reply record, and why it is the processor's own, where it is.
///
/// # Errors
/// The record is not a reply, or not one that HTTP can carry.
pub fn to_http(
    record: &RawRecord,
    id: CorrelationId,
    method: &Method,
) -> Result<(HttpResponse, Option<ReplyError>), WireError> {
    let Response {
        status,
        headers: fields,
        body,
        error,
        ..
    } = wire::decode_response(record)?;
    let malformed = |reason: &'static str| WireError {
        reason: reason.into(),
        correlation_id: None,
        reply_topic: None,
        reply_partition: None,
    };
    let (response, content) = head(status, fields, id, method).map_err(malformed)?;
    let response = match content {
        Content::Nothing => response,
        Content::Follows(_) => response.set_body(body).map_into_boxed_body(),
    };
    Ok((response, error))
}

/// What follows a head.
pub enum Content {
    /// Nothing: the answer is whole.
    Nothing,
    /// A body; its length, if that was told.
    Follows(Option<u64>),
}

/// HTTP cannot carry the head of a streamed answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StreamHeadError(&'static str);

/// The head of an answer that comes in pieces, and what follows it.
///
/// # Errors
/// HTTP cannot carry it.
pub fn stream_head(
    streamed: StreamHead,
    id: CorrelationId,
    method: &Method,
) -> Result<(HttpResponse, Content), StreamHeadError> {
    head(streamed.status, streamed.headers, id, method).map_err(StreamHeadError)
}

fn head(
    status: u16,
    fields: Fields,
    id: CorrelationId,
    method: &Method,
) -> Result<(HttpResponse, Content), &'static str> {
    let status = StatusCode::from_u16(status).map_err(|_| "status out of range")?;
    let mut response = HttpResponse::new(status);
    let mut length: Option<u64> = None;
    for (name, value) in fields {
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| "illegal header value")?;
        if name == "content-length" {
            length = value.to_str().ok().and_then(|length| length.parse().ok());
            continue;
        }
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "illegal header name")?;
        response.headers_mut().append(name, value);
    }
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        response
            .headers_mut()
            .insert(HeaderName::from_static(headers::KHP_CORRELATION_ID), id);
    }
    // Its Content-Length is that of the answer to GET (RFC 9110 9.3.2, 15.4.5), and no body follows.
    if status == StatusCode::NOT_MODIFIED {
        if let Some(length) = length {
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        return Ok((without_body(response), Content::Nothing));
    }
    // These have no content (RFC 9110 15.3.5, 15.3.6), whatever a replier wrote. Behind a 204 a client would take it for the next answer.
    if status == StatusCode::NO_CONTENT {
        return Ok((without_body(response), Content::Nothing));
    }
    if status == StatusCode::RESET_CONTENT {
        return Ok((response.set_body(Bytes::new()).map_into_boxed_body(), Content::Nothing));
    }
    if *method == Method::HEAD {
        let response = match length {
            Some(length) => response
                .set_body(SizedStream::new(
                    length,
                    futures_util::stream::empty::<Result<Bytes, std::io::Error>>(),
                ))
                .map_into_boxed_body(),
            None => without_body(response),
        };
        return Ok((response, Content::Nothing));
    }
    Ok((response, Content::Follows(length)))
}

/// Sends no Content-Length, unlike `drop_body`, which sends 0.
fn without_body(response: HttpResponse) -> HttpResponse {
    response.set_body(body::None::new()).map_into_boxed_body()
}
