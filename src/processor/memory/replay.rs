//! What a request gets that came with the key of an earlier one: that one's answer.

use bytes::Bytes;

use crate::wire::idempotency::memory::{Mark, Remembered};
use crate::wire::{RawRecord, Request, Response, Sealing, headers};

/// The answer that a record of the memory has for a key. `None`: it was too large, and not kept.
///
/// # Errors
/// It is another key's, or nothing of it is believed.
pub fn answer_of(record: &RawRecord, key: &Bytes, sealing: &Sealing) -> Result<Option<Remembered>, String> {
    let mark = Mark::of(record).filter(|mark| mark.key == *key);
    let mark = mark.ok_or("it is not of this key")?;
    mark.answer(record, sealing).map_err(|error| error.to_string())
}

/// An answer for another request with the same key. What comes again of the first one is its own answer.
pub fn again(answer: &Response, request: &Request) -> Response {
    let mut answer = answer.clone();
    if answer.correlation_id != request.correlation_id {
        answer.correlation_id = request.correlation_id.clone();
        answer.headers.retain(|(name, _)| name != headers::IDEMPOTENCY_REPLAYED);
        let replayed = (headers::IDEMPOTENCY_REPLAYED.into(), Bytes::from_static(b"true"));
        answer.headers.push(replayed);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_request_hears_that_its_answer_is_a_replay() {
        let answer = Response {
            correlation_id: Bytes::from_static(b"first"),
            status: 201,
            headers: vec![(headers::IDEMPOTENCY_REPLAYED.into(), "backend's".into())],
            body: Bytes::from_static(b"made"),
            error: None,
        };
        let request = |id: &'static str| Request {
            correlation_id: Bytes::from_static(id.as_bytes()),
            ..Request::default()
        };
        assert_eq!(again(&answer, &request("first")), answer);
        let replay = again(&answer, &request("second"));
        assert_eq!((&replay.correlation_id[..], replay.status), (&b"second"[..], 201));
        assert_eq!(
            replay.headers,
            [(headers::IDEMPOTENCY_REPLAYED.into(), Bytes::from_static(b"true"))]
        );
    }
}
