//! What comes of one call: an answer, or why there is none.

use std::time::Duration;

use bytes::Bytes;

use crate::processor::backend::open_body::OpenBody;
use crate::processor::bodies::BodyError;
use crate::wire::{Fields, ReplyError};

/// What a backend answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// End-to-end fields only.
    pub headers: Fields,
    /// The whole body, or what came of it so far.
    pub body: Bytes,
    /// The rest of the body, where it is streamed. `None`: there is none.
    pub rest: Option<OpenBody>,
}

/// Why there is no answer. The text is for logs and dead letters; clients see only the code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    #[error("no connection: {0}")]
    Unreachable(String),
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    #[error("answer broken off: {0}")]
    Reset(String),
    /// It is the backend's last word: another attempt would bring the same.
    #[error("answer is not HTTP: {0}")]
    NotHttp(String),
    #[error("answer of more than {0} bytes")]
    TooLarge(usize),
    #[error("cannot be sent as HTTP: {0}")]
    BadMessage(String),
    /// Nothing of it is the backend's doing. Where the call had `begun`, the backend saw its connection break off.
    #[error("{error}")]
    Body { error: BodyError, begun: bool },
}

impl BackendError {
    /// The code that the waiting client gets.
    pub fn reply_error(&self) -> ReplyError {
        match self {
            BackendError::Unreachable(_) => ReplyError::BackendUnreachable,
            BackendError::Timeout(_) => ReplyError::BackendTimeout,
            BackendError::Reset(_) | BackendError::NotHttp(_) => ReplyError::BackendReset,
            BackendError::TooLarge(_) => ReplyError::ResponseTooLarge,
            BackendError::BadMessage(_)
            | BackendError::Body {
                error: BodyError::Gone(_),
                ..
            } => ReplyError::BadMessage,
            BackendError::Body {
                error: BodyError::Unread(_),
                ..
            } => ReplyError::ProcessorFailed,
        }
    }

    /// The backend may have executed the request.
    pub fn may_have_run(&self) -> bool {
        let was_not_sent = matches!(
            self,
            BackendError::Unreachable(_) | BackendError::BadMessage(_) | BackendError::Body { begun: false, .. }
        );
        !was_not_sent
    }
}

/// Whether an outcome speaks against the backend, whatever the request was. `None`: it says nothing of the backend.
pub fn failed(outcome: &Result<Answer, BackendError>) -> Option<bool> {
    match outcome {
        Ok(answer) => Some(matches!(answer.status, 502..=504)),
        Err(
            BackendError::Unreachable(_) | BackendError::Timeout(_) | BackendError::Reset(_) | BackendError::NotHttp(_),
        ) => Some(true),
        Err(BackendError::TooLarge(_)) => Some(false),
        Err(BackendError::BadMessage(_) | BackendError::Body { .. }) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_against_a_backend() {
        let answer = |status| {
            Ok(Answer {
                status,
                headers: vec![],
                body: Bytes::new(),
                rest: None,
            })
        };
        for (status, expected) in [
            (200, false),
            (404, false),
            (429, false),
            (500, false),
            (502, true),
            (503, true),
            (504, true),
        ] {
            assert_eq!(failed(&answer(status)), Some(expected), "{status}");
        }
        assert_eq!(failed(&Err(BackendError::Unreachable(String::new()))), Some(true));
        assert_eq!(failed(&Err(BackendError::TooLarge(1))), Some(false));
        assert_eq!(failed(&Err(BackendError::BadMessage(String::new()))), None);
    }
}
