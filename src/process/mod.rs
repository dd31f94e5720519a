//! What any process needs, whatever its role.
//!
//! - [`exit`]: exit codes.
//! - [`phase`]: where the process is in its life.
//! - [`signals`]: the signals that end it.
//! - [`listener`]: listening sockets that close without losing a connection.
//! - [`telemetry`]: the log.

pub mod exit;
pub mod listener;
pub mod phase;
pub mod signals;
pub mod telemetry;
