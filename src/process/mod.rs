//! What any process needs, whatever its role.
//!
//! - [`assemble_error`]: why a role cannot be put together.
//! - [`exit`]: exit codes.
//! - [`phase`]: where the process is in its life.
//! - [`rate`]: a rate as a quota.
//! - [`signals`]: the signals that end it.
//! - [`masked`]: how secrets are kept out of printed texts.
//! - [`periodic`]: a thread that works again and again for as long as its owner lives.
//! - [`progress`]: signs of life, and one monotonic clock.
//! - [`listener`]: listening sockets that close without losing a connection.
//! - [`telemetry`]: the log.

pub mod assemble_error;
pub mod exit;
pub mod listener;
pub mod masked;
pub mod periodic;
pub mod phase;
pub mod progress;
pub mod rate;
pub mod signals;
pub mod telemetry;
