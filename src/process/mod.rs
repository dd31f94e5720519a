//! What any process needs, whatever its role.
//!
//! - [`assemble_error`]: why a role cannot be put together.
//! - [`mod@causes`]: an error, and what it came from.
//! - [`exit`]: exit codes.
//! - [`events`]: what changed in this process, kept for the console.
//! - [`phase`]: where the process is in its life.
//! - [`rate`]: a rate as a quota.
//! - [`https`]: whom a client of HTTPS trusts, and who it is.
//! - [`signals`]: the signals that end it.
//! - [`service_manager`]: systemd, which wants to know how the process is.
//! - [`masked`]: how secrets are kept out of printed texts.
//! - [`periodic`]: a thread that works again and again for as long as its owner lives.
//! - [`progress`]: signs of life, and one monotonic clock.
//! - [`mod@file`]: files whose content is needed whole.
//! - [`listener`]: listening sockets that close without losing a connection.
//! - [`telemetry`]: the log.
//! - [`log_writer`]: writes its lines without holding up whoever logs.
//! - [`repeats`]: a repeated line is said once, then counted.
//! - [`output`]: what commands print. [`status_line`]: how far they are.
//! - [`tls`]: TLS of a server, from its files.
//! - [`memory`]: how much memory the process may use.
//! - [`open_files`]: how many sockets the process may have.

pub mod assemble_error;
pub mod causes;
pub mod events;
pub mod exit;
pub mod file;
pub mod https;
pub mod listener;
pub mod log_writer;
pub mod masked;
pub mod memory;
pub mod open_files;
pub mod output;
pub mod periodic;
pub mod phase;
pub mod progress;
pub mod rate;
pub mod repeats;
pub mod service_manager;
pub mod signals;
pub mod status_line;
pub mod telemetry;
#[cfg(test)]
pub mod test_log;
pub mod tls;
