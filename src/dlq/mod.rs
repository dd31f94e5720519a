//! `actix-khp dlq`: lists dead letters, shows one, and sends them back. Each command reads the dead letter topic from its beginning to
//! its end on one thread, and ends. The console asks the same ([`list::find`], [`show::find`], [`redrive::send_back`]).
//!
//! - [`options`]: the command line.
//! - [`list`], [`show`], [`redrive`]: one command each.
//! - [`targets`]: which topics a redrive may write to.
//! - [`transactions`]: a batch of letters that is redriven as a whole or not at all.
//! - [`letters`]: the topic, read from its beginning to its end.
//! - [`letter`]: one dead letter.
//! - [`body`]: the body of a letter that is larger than a record.
//! - [`filter`]: which letters are meant.
//! - [`harmless`]: what is printed without `--reveal`.
//! - [`printable`]: foreign bytes, safe to print.
//! - [`error`]: why a command failed, and its exit code.

mod body;
pub mod error;
pub mod filter;
mod harmless;
pub mod letter;
mod letters;
pub mod list;
pub mod options;
pub mod printable;
pub mod redrive;
pub mod show;
pub mod targets;
mod transactions;

pub use options::Command;

use std::io::ErrorKind;

use crate::dlq::error::DlqError;
use crate::process::{exit, output};
use crate::settings::Settings;

/// Does what was asked for; returns the exit code.
pub fn run(settings: &Settings, command: &Command) -> u8 {
    let done = match command {
        Command::List(list) => list::run(settings, list),
        Command::Show(show) => show::run(settings, show),
        Command::Redrive(redrive) => redrive::run(settings, redrive),
    };
    match done {
        Ok(()) => exit::OK,
        // The reader has closed its end, as `head` does.
        Err(DlqError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => exit::OK,
        Err(error) => {
            output::complain(&error);
            error.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::wire::RawRecord;

    /// A record of partition 3 with the key `k`.
    pub fn record(fields: &[(&str, &[u8])], value: &[u8]) -> RawRecord {
        RawRecord {
            topic: "failed".into(),
            partition: 3,
            offset: 17,
            timestamp: Some(1_700_000_000_000),
            key: Some("k".into()),
            value: Some(value.to_vec().into()),
            headers: fields
                .iter()
                .map(|(name, value)| (name.as_bytes().to_vec().into(), Some(value.to_vec().into())))
                .collect(),
        }
    }
}
