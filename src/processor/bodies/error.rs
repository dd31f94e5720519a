//! Why a body cannot be had.

/// Why a body cannot be had. It says nothing of the backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is not there, or not whole: another attempt would find the same.
    #[error("its body is not there: {0}")]
    Gone(String),
    /// Kafka does not give it now.
    #[error("its body could not be read: {0}")]
    Unread(String),
}
