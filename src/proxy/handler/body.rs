//! Reading a request's body.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::error::RequestError;

/// The longest that a body may pause. A client that sends a byte now and then must not hold a place of its topic for the whole timeout.
const BODY_PAUSE: Duration = Duration::from_secs(10);

/// Reads the whole body; `None` when the request has none at all, as distinct from an empty one.
///
/// # Errors
/// `BodyTooLarge` by Content-Length before a byte is read, or while reading; `BodyTimeout` past `deadline`, or when nothing comes for
/// `BODY_PAUSE`; `BadRequest` when the body breaks off or is malformed.
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
