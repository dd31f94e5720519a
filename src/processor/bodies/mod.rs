//! Bodies of requests that are larger than a record: read from their topic while the backend takes them.
//!
//! - [`readers`]: the consumers, and who may read with one.
//! - [`assembly`]: which records are the body, and whether it is whole. Pure.
//! - [`stream`]: the body as the HTTP client sends it.
//! - [`metrics`]: what is counted of them.

pub mod assembly;
pub mod metrics;
pub mod readers;
pub mod stream;

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
