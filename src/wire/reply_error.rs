//! Why a processor answered instead of its backend.

/// Why a processor answered instead of its backend (`khp-error`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyError {
    /// No connection to the backend, or it was refused.
    BackendUnreachable,
    /// The backend did not answer in time.
    BackendTimeout,
    /// The backend broke off its answer.
    BackendReset,
    /// The record is malformed.
    BadMessage,
    /// The circuit breaker of the topic is open.
    BreakerOpen,
    /// The answer does not fit into a record.
    ResponseTooLarge,
    /// The first request with this idempotency key is still at work.
    IdempotencyKeyInUse,
    /// This idempotency key came with another request before.
    IdempotencyKeyReused,
    /// A request with this idempotency key was begun, and nothing is known of its end.
    OutcomeUnknown,
    /// Nothing can be remembered of a request now, so it was not executed.
    IdempotencyUnavailable,
    /// The processor failed inside; also any code not known here, such as a newer version's.
    ProcessorFailed,
}

impl ReplyError {
    /// Each of them once.
    pub const ALL: [Self; 11] = [
        Self::BackendUnreachable,
        Self::BackendTimeout,
        Self::BackendReset,
        Self::BadMessage,
        Self::BreakerOpen,
        Self::ResponseTooLarge,
        Self::IdempotencyKeyInUse,
        Self::IdempotencyKeyReused,
        Self::OutcomeUnknown,
        Self::IdempotencyUnavailable,
        Self::ProcessorFailed,
    ];

    /// The request was not executed because of its idempotency key.
    pub const fn is_of_key(self) -> bool {
        matches!(
            self,
            Self::IdempotencyKeyInUse
                | Self::IdempotencyKeyReused
                | Self::OutcomeUnknown
                | Self::IdempotencyUnavailable
        )
    }

    /// The code in `khp-error` and in the client's problem document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BackendUnreachable => "backend-unreachable",
            Self::BackendTimeout => "backend-timeout",
            Self::BackendReset => "backend-reset",
            Self::BadMessage => "bad-message",
            Self::BreakerOpen => "breaker-open",
            Self::ResponseTooLarge => "response-too-large",
            Self::IdempotencyKeyInUse => "idempotency-key-in-use",
            Self::IdempotencyKeyReused => "idempotency-key-reused",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::IdempotencyUnavailable => "idempotency-unavailable",
            Self::ProcessorFailed => "processor-failed",
        }
    }

    /// Reads a code. One that is not known is a failure all the same, hence `ProcessorFailed`.
    pub fn from_text(text: &[u8]) -> Self {
        Self::ALL
            .into_iter()
            .find(|error| error.as_str().as_bytes() == text)
            .unwrap_or(Self::ProcessorFailed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_error_has_its_code() {
        for (error, code) in [
            (ReplyError::BackendUnreachable, "backend-unreachable"),
            (ReplyError::BackendTimeout, "backend-timeout"),
            (ReplyError::BackendReset, "backend-reset"),
            (ReplyError::BadMessage, "bad-message"),
            (ReplyError::BreakerOpen, "breaker-open"),
            (ReplyError::ResponseTooLarge, "response-too-large"),
            (ReplyError::IdempotencyKeyInUse, "idempotency-key-in-use"),
            (ReplyError::IdempotencyKeyReused, "idempotency-key-reused"),
            (ReplyError::OutcomeUnknown, "outcome-unknown"),
            (ReplyError::IdempotencyUnavailable, "idempotency-unavailable"),
            (ReplyError::ProcessorFailed, "processor-failed"),
        ] {
            assert_eq!(error.as_str(), code);
            assert_eq!(ReplyError::from_text(code.as_bytes()), error);
        }
        for unknown in [&b""[..], b"Backend-Timeout", b"out-of-cheese", b"\xff\0"] {
            assert_eq!(ReplyError::from_text(unknown), ReplyError::ProcessorFailed);
        }
    }
}
