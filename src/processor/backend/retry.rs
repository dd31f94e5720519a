//! Whether and when a backend attempt is repeated. Pure but for the jitter.

use std::time::{Duration, SystemTime};

use rand::RngExt;

use crate::processor::backend::outcome::{Answer, BackendError};
use crate::processor::bodies::BodyError;
use crate::settings::{Delivery, RetryOn, Topic};
use crate::wire::{Request, headers};

/// What may be repeated of one request.
pub struct Policy<'a> {
    topic: &'a Topic,
    /// The request can run twice without harm: its method is idempotent (RFC 9110 9.2.2), or it has an `Idempotency-Key` that its backend
    /// alone looks after.
    pub repeatable: bool,
}

impl<'a> Policy<'a> {
    pub fn new(topic: &'a Topic, request: &Request) -> Self {
        // Where the key is ours to keep, it says nothing of what the backend does with it.
        let has_key = || request.headers.iter().any(|(name, _)| name == headers::IDEMPOTENCY_KEY);
        let idempotent = topic.retry.methods.contains(&request.method) || (request.idempotency.is_none() && has_key());
        Policy {
            topic,
            repeatable: idempotent && topic.delivery == Delivery::AtLeastOnce,
        }
    }

    /// Whether an attempt with this outcome may be repeated. Over a connection that was never up nothing was sent, so any request may.
    pub fn is_worth_another(&self, outcome: &Result<Answer, BackendError>) -> bool {
        let is_on = |failure| self.repeatable && self.topic.retry.on.contains(&failure);
        match outcome {
            Err(BackendError::Unreachable(_)) => true,
            Err(BackendError::Timeout(_)) => is_on(RetryOn::Timeout),
            Err(BackendError::Reset(_)) => is_on(RetryOn::Reset),
            // The backend may have begun to work on what it got.
            Err(BackendError::Body {
                error: BodyError::Unread(_),
                ..
            }) => is_on(RetryOn::Reset),
            Err(
                BackendError::NotHttp(_)
                | BackendError::TooLarge(_)
                | BackendError::BadMessage(_)
                | BackendError::Body {
                    error: BodyError::Gone(_),
                    ..
                },
            ) => false,
            Ok(answer) => is_on(RetryOn::Status(answer.status)),
        }
    }

    /// Whether the request may be sent again at all, however many retries are left.
    pub fn can_repeat(&self, outcome: &Result<Answer, BackendError>) -> bool {
        self.repeatable || matches!(outcome, Err(BackendError::Unreachable(_)))
    }

    /// The wait before retry number `retry` (1 = the first): anything up to `wait` doubled each time, `max_wait` at most. Full jitter,
    /// so that those that failed together do not come back together. A backend that says when to come back is not asked before.
    pub fn wait_before(&self, retry: u32, outcome: &Result<Answer, BackendError>) -> Duration {
        let settings = &self.topic.retry;
        let doubled = settings.wait.saturating_mul(2u32.pow(retry.saturating_sub(1).min(16)));
        let jittered = doubled.min(settings.max_wait).mul_f64(rand::rng().random::<f64>());
        let asked_for = outcome.as_ref().ok().and_then(retry_after).unwrap_or_default();
        jittered.max(asked_for)
    }

    /// All attempts and waits together take no longer.
    pub fn longest(&self) -> Duration {
        self.topic
            .timeout
            .saturating_mul(self.topic.max_retries.saturating_add(1))
    }
}

/// Longer than anybody waits, and short enough to be added to an `Instant`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// `Retry-After` (RFC 9110 10.2.3), in seconds or as a date.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let (_, value) = answer.headers.iter().find(|(name, _)| name == headers::RETRY_AFTER)?;
    let text = std::str::from_utf8(value).ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            date.duration_since(SystemTime::now()).ok()?
        }
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::plain_topic;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn topic() -> Topic {
        plain_topic("a", "b", "http://c", 1)
    }

    fn request(method: &str, key: bool) -> Request {
        let idempotency_key = ("idempotency-key".into(), Bytes::from_static(b"k"));
        Request {
            method: method.into(),
            path: "/".into(),
            headers: if key { vec![idempotency_key] } else { vec![] },
            ..Request::default()
        }
    }

    fn answer(status: u16) -> Result<Answer, BackendError> {
        Ok(Answer {
            status,
            headers: vec![],
            body: Bytes::new(),
            rest: None,
        })
    }

    fn with_retry_after(value: &str) -> Result<Answer, BackendError> {
        Ok(Answer {
            status: 503,
            headers: vec![("retry-after".into(), Bytes::copy_from_slice(value.as_bytes()))],
            body: Bytes::new(),
            rest: None,
        })
    }

    #[test]
    fn only_what_cannot_happen_twice_is_repeated() {
        let unreachable = Err(BackendError::Unreachable("refused".into()));
        let reset = Err(BackendError::Reset("eof".into()));
        let timeout = Err(BackendError::Timeout(Duration::ZERO));
        let topic = topic();
        for (method, key, outcome, expected) in [
            ("POST", false, &unreachable, true),
            ("POST", false, &reset, false),
            ("POST", false, &timeout, false),
            ("POST", true, &reset, true),
            ("GET", false, &timeout, true),
            ("GET", false, &answer(503), true),
            ("GET", false, &answer(429), true),
            ("PATCH", false, &answer(503), false),
            ("GET", false, &answer(404), false),
            ("GET", false, &answer(500), false),
            ("get", false, &answer(503), false),
            ("GET", false, &Err(BackendError::TooLarge(1)), false),
            ("GET", false, &Err(BackendError::NotHttp(String::new())), false),
        ] {
            let policy = Policy::new(&topic, &request(method, key));
            assert_eq!(policy.is_worth_another(outcome), expected, "{method} {key} {outcome:?}");
        }
    }

    #[test]
    fn what_is_repeated_can_be_set() {
        let mut topic = topic();
        topic.retry.on = vec![RetryOn::Status(500)];
        topic.retry.methods = vec!["POST".into()];
        let policy = Policy::new(&topic, &request("POST", false));
        assert!(policy.is_worth_another(&answer(500)) && !policy.is_worth_another(&answer(503)));
        assert!(!policy.is_worth_another(&Err(BackendError::Reset(String::new()))));
    }

    #[test]
    fn at_most_once_repeats_only_connections_that_never_stood() {
        let mut topic = topic();
        topic.delivery = Delivery::AtMostOnce;
        let policy = Policy::new(&topic, &request("GET", true));
        assert!(policy.is_worth_another(&Err(BackendError::Unreachable(String::new()))));
        assert!(!policy.is_worth_another(&answer(503)));
    }

    #[test]
    fn a_backend_is_not_asked_before_it_says() {
        let topic = topic();
        let policy = Policy::new(&topic, &request("GET", false));
        assert_eq!(policy.wait_before(1, &with_retry_after("7")), Duration::from_secs(7));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let wait = policy.wait_before(1, &with_retry_after(&date));
        assert!((98..=100).contains(&wait.as_secs()), "{wait:?}");
        let wait = policy.wait_before(1, &with_retry_after("18446744073709551615"));
        assert_eq!(wait, LONGEST_RETRY_AFTER);
        for nonsense in ["", "soon", "-1", "Thu, 01 Jan 1970 00:00:00 GMT"] {
            assert!(policy.wait_before(1, &with_retry_after(nonsense)) <= topic.retry.wait);
        }
    }

    proptest! {
        #[test]
        fn waits_stay_under_their_ceiling(retry: u32, wait in 1u64..1000, max in 1u64..100_000) {
            let mut topic = topic();
            topic.retry.wait = Duration::from_millis(wait);
            topic.retry.max_wait = Duration::from_millis(max);
            let policy = Policy::new(&topic, &request("GET", false));
            let ceiling = u128::from(wait) << retry.saturating_sub(1).min(16);
            prop_assert!(policy.wait_before(retry, &answer(503)).as_millis() <= ceiling.min(u128::from(max)));
        }
    }
}
