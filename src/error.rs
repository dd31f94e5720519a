//! Every way a request can end other than with its backend's answer, and the one table that maps each to a status.
//!
//! Inner layers raise these and never mention a status. The documentation prints the same table, and a test compares the two.

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};

use crate::wire::{CorrelationId, ReplyError, headers};

/// Why a client gets an answer of ours instead of its backend's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RequestError {
    #[error("the request is malformed")]
    BadRequest,
    #[error("this port speaks TLS: use https")]
    TlsRequired,
    #[error("a topic name may hold only letters, digits, dot, underscore and hyphen, 249 at most")]
    BadTopic,
    #[error("{0}")]
    Unauthenticated(Unproven),
    #[error("this client may not ask for this")]
    Forbidden,
    #[error("the keys that tokens are checked with are not there yet; the request was not sent")]
    KeysUnavailable,
    #[error("this topic may not be named by a client")]
    TopicNotAllowed,
    #[error("nothing is served under this path")]
    NoRoute,
    #[error("there is no such result")]
    NoResult,
    #[error("the result is kept no longer, or its request was cancelled")]
    ResultGone,
    #[error("this path does not take this method")]
    MethodNotAllowed,
    #[error("this needs an Idempotency-Key")]
    IdempotencyKeyMissing,
    #[error("Idempotency-Key is not one key")]
    IdempotencyKeyInvalid,
    #[error("the first request with this Idempotency-Key is still at work")]
    IdempotencyKeyInUse,
    #[error("this Idempotency-Key came with another request before")]
    IdempotencyKeyReused,
    #[error("a request with this Idempotency-Key was begun, and what became of it is unknown")]
    OutcomeUnknown,
    #[error("keys cannot be remembered now; the request was not executed")]
    IdempotencyUnavailable,
    #[error("the request body did not arrive in time")]
    BodyTimeout,
    #[error("the request body is larger than this service carries")]
    BodyTooLarge,
    #[error("the request's head is larger than this service carries")]
    HeadTooLarge,
    #[error("this client asks too often; the request was not sent")]
    RateLimited {
        /// Seconds, 1 or more.
        retry_after: u32,
    },
    #[error("the processor could not make sense of the message")]
    BadMessage,
    #[error("the processor failed while it worked on the request")]
    ProcessorFailed,
    #[error("CONNECT and protocol upgrades cannot pass through a message queue")]
    UpgradeUnsupported,
    #[error("the backend could not be reached")]
    BackendUnreachable,
    #[error("the backend broke off its answer, or sent one that is not HTTP")]
    BackendReset,
    #[error("the backend's answer is larger than this service carries")]
    ResponseTooLarge,
    #[error("the request was sent, but its reply was lost: whether it was executed is unknown")]
    ReplyLost,
    #[error("too many requests are in flight; this one was not sent")]
    Overloaded,
    #[error("Kafka cannot take the request now; it was not sent")]
    KafkaUnavailable,
    #[error("this instance is shutting down; the request was not sent")]
    Draining,
    #[error("the backend is failing and is being left alone for now")]
    BreakerOpen,
    #[error("nobody takes requests of this kind now; it was not sent")]
    NoConsumers,
    #[error("this instance is not ready yet; the request was not sent")]
    Starting,
    #[error("no reply arrived in time: whether the request was executed is unknown")]
    ReplyTimeout,
    #[error("the backend did not answer in time")]
    BackendTimeout,
}

/// Why it is not known who asks. The texts name nothing that a client could learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unproven {
    #[error("the request proves nothing about who asks")]
    NoCredentials,
    #[error("the key is not known here")]
    UnknownKey,
    #[error("the token is malformed, or not for this service")]
    BadToken,
    #[error("the token has expired")]
    ExpiredToken,
    #[error("the token says nowhere when it expires")]
    EndlessToken,
    #[error("the token is not valid yet")]
    EarlyToken,
    #[error("the token is signed with a key that is not known here")]
    UnknownSigner,
}

impl RequestError {
    /// The table: status and `code` of each error. Clients and proxies retry on 503, so it is used only where nothing was sent.
    fn row(self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadRequest => (S::BAD_REQUEST, "bad-request"),
            Self::TlsRequired => (S::BAD_REQUEST, "tls-required"),
            Self::BadTopic => (S::BAD_REQUEST, "bad-topic"),
            Self::Unauthenticated(_) => (S::UNAUTHORIZED, "unauthenticated"),
            Self::Forbidden => (S::FORBIDDEN, "forbidden"),
            Self::KeysUnavailable => (S::SERVICE_UNAVAILABLE, "keys-unavailable"),
            Self::TopicNotAllowed => (S::FORBIDDEN, "topic-not-allowed"),
            Self::NoRoute => (S::NOT_FOUND, "no-route"),
            Self::NoResult => (S::NOT_FOUND, "no-result"),
            Self::ResultGone => (S::GONE, "result-gone"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method-not-allowed"),
            Self::IdempotencyKeyMissing => (S::BAD_REQUEST, "idempotency-key-missing"),
            Self::IdempotencyKeyInvalid => (S::BAD_REQUEST, "idempotency-key-invalid"),
            Self::IdempotencyKeyInUse => (S::CONFLICT, "idempotency-key-in-use"),
            Self::IdempotencyKeyReused => (S::UNPROCESSABLE_ENTITY, "idempotency-key-reused"),
            Self::OutcomeUnknown => (S::BAD_GATEWAY, "outcome-unknown"),
            Self::IdempotencyUnavailable => (S::SERVICE_UNAVAILABLE, "idempotency-unavailable"),
            Self::BodyTimeout => (S::REQUEST_TIMEOUT, "body-timeout"),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body-too-large"),
            Self::HeadTooLarge => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large"),
            Self::RateLimited { .. } => (S::TOO_MANY_REQUESTS, "rate-limited"),
            Self::ProcessorFailed => (S::INTERNAL_SERVER_ERROR, "processor-failed"),
            Self::BadMessage => (S::INTERNAL_SERVER_ERROR, "bad-message"),
            Self::UpgradeUnsupported => (S::NOT_IMPLEMENTED, "upgrade-unsupported"),
            Self::BackendUnreachable => (S::BAD_GATEWAY, "backend-unreachable"),
            Self::BackendReset => (S::BAD_GATEWAY, "backend-reset"),
            Self::ResponseTooLarge => (S::BAD_GATEWAY, "response-too-large"),
            Self::ReplyLost => (S::BAD_GATEWAY, "reply-lost"),
            Self::Overloaded => (S::SERVICE_UNAVAILABLE, "overloaded"),
            Self::KafkaUnavailable => (S::SERVICE_UNAVAILABLE, "kafka-unavailable"),
            Self::Draining => (S::SERVICE_UNAVAILABLE, "draining"),
            Self::BreakerOpen => (S::SERVICE_UNAVAILABLE, "breaker-open"),
            Self::NoConsumers => (S::SERVICE_UNAVAILABLE, "no-consumers"),
            Self::Starting => (S::SERVICE_UNAVAILABLE, "starting"),
            Self::ReplyTimeout => (S::GATEWAY_TIMEOUT, "reply-timeout"),
            Self::BackendTimeout => (S::GATEWAY_TIMEOUT, "backend-timeout"),
        }
    }

    /// The HTTP status of this error.
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    /// The `code` member of the problem document, which programs can rely on.
    pub fn code(self) -> &'static str {
        self.row().1
    }

    /// Seconds until it is worth trying again, where it is.
    pub fn retry_after(self) -> Option<u32> {
        match self {
            Self::RateLimited { retry_after } => Some(retry_after),
            _ => (self.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_SECONDS),
        }
    }

    /// The `application/problem+json` document (RFC 9457). Names no broker and no backend: clients see it.
    pub fn problem(self, id: Option<&str>) -> Vec<u8> {
        let mut problem = serde_json::json!({
            "type": "about:blank",
            "title": self.status().canonical_reason().unwrap_or("Error"),
            "status": self.status().as_u16(),
            "detail": self.to_string(),
            "code": self.code(),
        });
        if let Some(id) = id {
            problem["correlation_id"] = id.into();
        }
        problem.to_string().into_bytes()
    }

    /// The answer a client gets.
    pub fn response(self, id: Option<CorrelationId>) -> HttpResponse {
        let id = id.map(|id| id.to_string());
        let mut response = HttpResponse::build(self.status());
        response.insert_header((header::CONTENT_TYPE, PROBLEM_JSON));
        if let Some(seconds) = self.retry_after() {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some(id) = &id {
            response.insert_header((headers::KHP_CORRELATION_ID, id.as_str()));
        }
        response.body(self.problem(id.as_deref()))
    }
}

/// Media type of RFC 9457.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Long enough for a broker election or a restarted router, short enough to be worth waiting for.
const RETRY_AFTER_SECONDS: u32 = 1;

impl From<ReplyError> for RequestError {
    fn from(error: ReplyError) -> Self {
        match error {
            ReplyError::BackendUnreachable => Self::BackendUnreachable,
            ReplyError::BackendTimeout => Self::BackendTimeout,
            ReplyError::BackendReset => Self::BackendReset,
            ReplyError::BadMessage => Self::BadMessage,
            ReplyError::BreakerOpen => Self::BreakerOpen,
            ReplyError::ResponseTooLarge => Self::ResponseTooLarge,
            ReplyError::IdempotencyKeyInUse => Self::IdempotencyKeyInUse,
            ReplyError::IdempotencyKeyReused => Self::IdempotencyKeyReused,
            ReplyError::OutcomeUnknown => Self::OutcomeUnknown,
            ReplyError::IdempotencyUnavailable => Self::IdempotencyUnavailable,
            ReplyError::ProcessorFailed => Self::ProcessorFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RequestError::*;

    const ALL: [RequestError; 36] = [
        Unauthenticated(Unproven::BadToken),
        Forbidden,
        KeysUnavailable,
        BadRequest,
        TlsRequired,
        BadTopic,
        TopicNotAllowed,
        NoRoute,
        NoResult,
        ResultGone,
        MethodNotAllowed,
        IdempotencyKeyMissing,
        IdempotencyKeyInvalid,
        IdempotencyKeyInUse,
        IdempotencyKeyReused,
        OutcomeUnknown,
        IdempotencyUnavailable,
        BodyTimeout,
        BodyTooLarge,
        HeadTooLarge,
        RateLimited { retry_after: 1 },
        BadMessage,
        ProcessorFailed,
        UpgradeUnsupported,
        BackendUnreachable,
        BackendReset,
        ResponseTooLarge,
        ReplyLost,
        Overloaded,
        KafkaUnavailable,
        Draining,
        BreakerOpen,
        NoConsumers,
        Starting,
        ReplyTimeout,
        BackendTimeout,
    ];

    #[test]
    fn a_503_is_retryable_and_says_so() {
        for error in ALL.into_iter().filter(|error| error.status() == 503) {
            let response = error.response(None);
            assert_eq!(response.headers().get("retry-after").unwrap(), "1", "{error}");
        }
        assert!(
            RequestError::ReplyLost
                .response(None)
                .headers()
                .get("retry-after")
                .is_none()
        );
    }

    #[test]
    fn the_page_has_every_row_and_no_other() {
        let page = crate::doc_tests::files::page("docs/responses.md");
        let (statuses, codes): (Vec<_>, Vec<_>) = page
            .rows("Errors of this service")
            .into_iter()
            .partition(|row| row.len() == 3);
        let mut documented: Vec<(u16, String)> = statuses
            .iter()
            .flat_map(|row| {
                let status = row[0].parse().unwrap();
                let codes = crate::doc_tests::markdown::code_spans(&row[1]);
                codes.into_iter().map(move |code| (status, code.to_owned()))
            })
            .collect();
        documented.sort();
        let mut known = ALL.map(|error| (error.status().as_u16(), error.code().to_owned()));
        known.sort();
        assert_eq!(documented, known);
        for row in codes {
            let code = row[0].trim_matches('`');
            assert!(ALL.iter().any(|error| error.code() == code), "{code}");
        }
    }

    #[test]
    fn the_problem_names_code_and_correlation_id() {
        let problem: serde_json::Value =
            serde_json::from_slice(&RequestError::ReplyTimeout.problem(Some("abc"))).unwrap();
        assert_eq!(problem["code"], "reply-timeout");
        assert_eq!(problem["status"], 504);
        assert_eq!(problem["correlation_id"], "abc");
    }
}
