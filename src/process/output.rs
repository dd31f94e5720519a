//! What commands print. `println!` and `eprintln!` panic when nobody reads; these do not.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::process::exit;

/// Writes text to standard output, at once.
///
/// # Errors
/// It cannot be written. `BrokenPipe`: the reader has closed its end, as `head` does, and wants no more.
pub fn print(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}")?;
    out.flush()
}

/// Writes a line to standard error. Where that cannot be written, the exit code is all that is left to say.
pub fn complain(line: impl Display) {
    // Err: see above.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The exit code of a command that has printed its result.
pub fn exit_code(printed: io::Result<()>) -> u8 {
    match printed {
        Ok(()) => exit::OK,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit::OK,
        Err(error) => {
            complain(format_args!("standard output cannot be written: {error}"));
            exit::IO_ERROR
        }
    }
}
