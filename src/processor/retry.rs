//! Whether and when a backend attempt is repeated. Pure.

use std::time::Duration;

use rand::Rng;

use crate::processor::backend::{Answer, BackendError};
use crate::wire::Request;

const BASE: Duration = Duration::from_millis(50);
const CAP: Duration = Duration::from_secs(2);

/// May this be tried again without the risk that a backend does it twice? RFC 9110 9.2.2, or the client's own word.
fn is_idempotent(request: &Request) -> bool {
    matches!(
        request.method.as_str(),
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
    ) || request.headers.iter().any(|(name, _)| name == "idempotency-key")
}

/// Is the outcome of an attempt worth another? A connection that never stood carried nothing, so anything may try again.
pub fn is_worth_another(request: &Request, outcome: &Result<Answer, BackendError>) -> bool {
    match outcome {
        Err(BackendError::Unreachable(_)) => true,
        Err(BackendError::Timeout(_) | BackendError::Reset(_)) => is_idempotent(request),
        Err(BackendError::TooLarge(_) | BackendError::BadMessage(_)) => false,
        Ok(answer) => matches!(answer.status, 429 | 502 | 503 | 504) && is_idempotent(request),
    }
}

/// The wait before retry number `retry` (1 = the first): anything up to 50 ms doubled each time, 2 s at most. Full jitter, so that
/// those that failed together do not come back together.
pub fn wait_before(retry: u32) -> Duration {
    let ceiling = (BASE * 2u32.pow(retry.saturating_sub(1).min(16))).min(CAP);
    ceiling.mul_f64(rand::rng().random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn request(method: &str, key: bool) -> Request {
        let idempotency_key = ("idempotency-key".into(), Bytes::from_static(b"k"));
        Request {
            method: method.into(),
            path: "/".into(),
            headers: if key { vec![idempotency_key] } else { vec![] },
            ..Request::default()
        }
    }

    #[test]
    fn only_what_cannot_happen_twice_is_repeated() {
        let unreachable = Err(BackendError::Unreachable("refused".into()));
        let reset = Err(BackendError::Reset("eof".into()));
        let busy = Ok(Answer {
            status: 503,
            headers: vec![],
            body: Bytes::new(),
        });
        let not_found = Ok(Answer {
            status: 404,
            headers: vec![],
            body: Bytes::new(),
        });
        assert!(is_worth_another(&request("POST", false), &unreachable));
        assert!(!is_worth_another(&request("POST", false), &reset));
        assert!(is_worth_another(&request("POST", true), &reset));
        assert!(is_worth_another(&request("GET", false), &busy));
        assert!(!is_worth_another(&request("PATCH", false), &busy));
        assert!(!is_worth_another(&request("GET", false), &not_found));
    }

    #[test]
    fn waits_stay_under_their_ceiling() {
        for (retry, ceiling_ms) in [(1, 50), (2, 100), (3, 200), (10, 2000), (u32::MAX, 2000)] {
            assert!((0..100).all(|_| wait_before(retry) <= Duration::from_millis(ceiling_ms)));
        }
    }
}
