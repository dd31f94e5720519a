//! What any process needs, whatever its role.
//!
//! - [`listener`]: listening sockets that close without losing a connection.
//! - [`telemetry`]: the log.

pub mod listener;
pub mod telemetry;
