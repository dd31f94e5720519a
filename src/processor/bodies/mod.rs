//! Bodies of requests that are larger than a record: read from their topic while the backend takes them.
//!
//! - [`readers`]: the consumers, and who may read with one.
//! - [`assembly`]: which records are the body, and whether it is whole. Pure.
//! - [`error`]: why a body cannot be had.
//! - [`stream`]: the body as the HTTP client sends it.
//! - [`metrics`]: what is counted of them.

pub mod assembly;
mod error;
pub mod metrics;
pub mod readers;
pub mod stream;

pub use self::error::BodyError;
