//! A request of HTTP/2 as the app takes it: as if it had come in HTTP/1.1.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::error::PayloadError;
use actix_http::{HttpMessage as _, Payload, Request};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, COOKIE, HeaderValue, TRANSFER_ENCODING};
use bytes::Bytes;
use futures_util::Stream;
use h2::RecvStream;

use crate::proxy::connection::peer::Peer;

/// As many header fields as the parser of HTTP/1 takes.
const MAX_FIELDS: usize = 96;

/// The request for the app.
///
/// # Errors
/// The status that refuses it.
pub fn to_app(
    request: http::Request<RecvStream>,
    peer: Rc<Peer>,
    address: Option<SocketAddr>,
) -> Result<Request, StatusCode> {
    let (mut parts, body) = request.into_parts();
    join_cookies(&mut parts.headers);
    if parts.headers.len() > MAX_FIELDS {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let payload: Payload = if body.is_end_stream() {
        Payload::None
    } else {
        if !parts.headers.contains_key(CONTENT_LENGTH) {
            // A body follows whose length is not known. HTTP/2 has no header for that, and lets no client send this one.
            let chunked = HeaderValue::from_static("chunked");
            parts.headers.insert(TRANSFER_ENCODING, chunked);
        }
        Payload::Stream {
            payload: Box::pin(Body(body)),
        }
    };
    let mut request = Request::with_payload(payload);
    request.extensions_mut().insert(peer);
    let head = request.head_mut();
    head.method = parts.method;
    head.uri = parts.uri;
    head.version = parts.version;
    head.headers = parts.headers.into();
    head.peer_addr = address;
    Ok(request)
}

/// A client may send each cookie by itself; HTTP/1 has them in one field (RFC 9113 8.2.3).
fn join_cookies(headers: &mut http::HeaderMap) {
    let mut all = headers.get_all(COOKIE).iter();
    let (Some(_), Some(_)) = (all.next(), all.next()) else {
        return;
    };
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Err: not with parts that are values.
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// A body as it arrives. What was read makes room for more.
struct Body(RecvStream);

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let broken = |error: h2::Error| PayloadError::Io(std::io::Error::other(error));
        let Some(chunk) = ready!(self.0.poll_data(cx)) else {
            return Poll::Ready(None);
        };
        let chunk = chunk.and_then(|chunk| {
            self.0.flow_control().release_capacity(chunk.len())?;
            Ok(chunk)
        });
        Poll::Ready(Some(chunk.map_err(broken)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_one_field() {
        for (crumbs, joined) in [
            (&[][..], None),
            (&["a=1"], Some("a=1")),
            (&["a=1", "b=2", "c=3; d=4"], Some("a=1; b=2; c=3; d=4")),
        ] {
            let mut headers = http::HeaderMap::new();
            for crumb in crumbs {
                headers.append(COOKIE, HeaderValue::from_static(crumb));
            }
            join_cookies(&mut headers);
            let found: Vec<_> = headers
                .get_all(COOKIE)
                .iter()
                .map(|value| value.to_str().unwrap())
                .collect();
            assert_eq!(found, joined.into_iter().collect::<Vec<_>>());
        }
    }
}
