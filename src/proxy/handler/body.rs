//! Reading a request's body.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::error::RequestError;
use crate::proxy::admission::bytes::HeldBytes;

/// The longest that a body may pause. A client that sends a byte now and then must not hold its connection for the whole timeout.
const BODY_PAUSE: Duration = Duration::from_secs(10);
/// A body may be slower than the least rate for this long, as with Apache's `mod_reqtimeout`.
const SLOW_START: Duration = Duration::from_secs(10);
/// Longer than any deadline.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a body may be.
pub struct BodyLimits {
    /// Its most bytes.
    pub size: usize,
    /// Its least bytes per second; 0: any.
    pub rate: u64,
}

/// The length that a request tells of its body. `None`: it has none. `Some(None)`: it has one, and tells no length.
pub fn declared_length(request: &HttpRequest) -> Option<Option<usize>> {
    let declared = request.headers().get(header::CONTENT_LENGTH);
    if declared.is_none() && !request.headers().contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    Some(declared.and_then(|length| length.to_str().ok()?.parse().ok()))
}

/// What was read of a body.
pub enum Part {
    /// All of it.
    Whole(Bytes),
    /// More than was asked for, and there may be more.
    Beyond(Bytes),
}

/// Reads the body of a request that has one, as far as `most` bytes or a little beyond, and counts in `held` what it takes as it comes.
/// `declared`: the length that was told.
///
/// # Errors
/// `BodyTooLarge`: it is over its limit. `Overloaded`: no more bytes may be held. `BodyTimeout` past `deadline`, when nothing comes for
/// `BODY_PAUSE`, or when it comes too slowly; `BadRequest` when the body breaks off or is malformed.
pub async fn read_body(
    payload: &mut web::Payload,
    declared: Option<usize>,
    (limits, most): (&BodyLimits, usize),
    deadline: Instant,
    held: &mut HeldBytes,
) -> Result<Part, RequestError> {
    let mut body = Body::Empty;
    let expected = declared.unwrap_or(limits.size.min(most));
    let began = Instant::now();
    let read = async {
        while let Some(chunk) = next_chunk(payload, limits, began, body.len() as u64).await? {
            let room = body.room_with(chunk.len(), expected);
            if !held.grow(room - body.room()) {
                return Err(RequestError::Overloaded);
            }
            body.push(chunk, room);
            if body.len() > most {
                // Whoever writes it elsewhere counts it anew.
                held.shrink(body.room());
                return Ok(true);
            }
        }
        Ok(false)
    };
    let read = tokio::time::timeout_at(deadline, read).await;
    match read.unwrap_or(Err(RequestError::BodyTimeout))? {
        true => Ok(Part::Beyond(body.into_bytes())),
        false => Ok(Part::Whole(body.into_bytes())),
    }
}

/// The next bytes of a body that began then and of which so many have come; `None`: that was all.
///
/// # Errors
/// As `read_body`, but for those of `held` and of the deadline.
pub async fn next_chunk(
    payload: &mut web::Payload,
    limits: &BodyLimits,
    began: Instant,
    have: u64,
) -> Result<Option<Bytes>, RequestError> {
    let until = limits.latest(began, have).min(Instant::now() + BODY_PAUSE);
    let next = tokio::time::timeout_at(until, payload.next()).await;
    let Some(chunk) = next.map_err(|_| RequestError::BodyTimeout)? else {
        return Ok(None);
    };
    let chunk = chunk.map_err(|_| RequestError::BadRequest)?;
    match have + chunk.len() as u64 > limits.size as u64 {
        true => Err(RequestError::BodyTooLarge),
        false => Ok(Some(chunk)),
    }
}

impl BodyLimits {
    /// When more must have come than `bytes`.
    fn latest(&self, began: Instant, bytes: u64) -> Instant {
        match bytes.checked_div(self.rate) {
            Some(seconds) => began + SLOW_START + Duration::from_secs(seconds),
            None => began + FOREVER,
        }
    }
}

/// A body as it arrives: one chunk is kept as it is, more are joined.
enum Body {
    Empty,
    One(Bytes),
    Joined(Vec<u8>),
}

impl Body {
    /// Takes in a chunk, in no more memory than `room` bytes.
    fn push(&mut self, chunk: Bytes, room: usize) {
        match self {
            Body::Empty => *self = Body::One(chunk),
            Body::One(first) => {
                let mut joined = Vec::with_capacity(room);
                joined.extend_from_slice(first);
                joined.extend_from_slice(&chunk);
                *self = Body::Joined(joined);
            }
            Body::Joined(joined) => {
                joined.reserve_exact(room.saturating_sub(joined.len()));
                joined.extend_from_slice(&chunk);
            }
        }
    }

    /// Bytes that it takes.
    fn room(&self) -> usize {
        match self {
            Body::Empty | Body::One(_) => self.len(),
            Body::Joined(joined) => joined.capacity(),
        }
    }

    /// Bytes that it takes with so many more. They double, so that little is copied, and go no further than `expected`: a length that is
    /// only told takes no memory.
    fn room_with(&self, more: usize, expected: usize) -> usize {
        let have = self.len() + more;
        match self {
            Body::Empty => have,
            Body::Joined(joined) if have <= joined.capacity() => joined.capacity(),
            Body::One(_) | Body::Joined(_) => expected.min(2 * have).max(have),
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
            Body::Joined(joined) => joined.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_takes_what_is_counted_for_it() {
        for (expected, most) in [(850_000, 850_000), (5_000_000, 2 * 850_000)] {
            let mut body = Body::Empty;
            for _ in 0..85 {
                let room = body.room_with(10_000, expected);
                body.push(vec![b'x'; 10_000].into(), room);
                assert_eq!(body.room(), room);
                assert!(room <= (2 * body.len()).min(most), "{room}");
            }
            assert_eq!(body.into_bytes().len(), 850_000);
        }
    }

    #[test]
    fn a_body_may_be_slow_at_first_and_then_must_keep_its_rate() {
        let began = Instant::now();
        let seconds = |rate: u64, bytes: u64| BodyLimits { size: 0, rate }.latest(began, bytes) - began;
        assert_eq!(seconds(240, 0), SLOW_START);
        assert_eq!(seconds(240, 2400), SLOW_START + Duration::from_secs(10));
        assert_eq!(seconds(0, 0), FOREVER);
    }
}
