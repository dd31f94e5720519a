//! Tells a person who waits how far a long command is: one line of standard error, which is written over. Where nobody sits at a terminal, a
//! line of its own from time to time.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::process::output;

/// A line that changes faster cannot be read.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// In a file, a line that says how far it is comes no more often.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The line.
pub struct StatusLine {
    is_terminal: bool,
    /// When it was last written; at first, when the command began.
    written: Instant,
    /// It stands there.
    is_shown: bool,
}

impl StatusLine {
    /// Of a command that begins.
    pub fn begin() -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        StatusLine {
            is_terminal: io::stderr().is_terminal() && !is_dumb,
            written: Instant::now(),
            is_shown: false,
        }
    }

    /// How far the command is. Most of what comes too soon after another is passed over.
    pub fn show(&mut self, text: impl Display) {
        let since = self.written.elapsed();
        match self.is_terminal {
            true if self.is_shown && since < DRAW_EVERY => return,
            true => draw(text),
            false if since < SAY_EVERY => return,
            false => output::complain(text),
        }
        self.written = Instant::now();
        self.is_shown = true;
    }

    /// Takes the line away, before anything else is printed.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) && self.is_terminal {
            draw("");
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Writes from the line's beginning, and nothing stays behind it. The terminal does not go on to the next line, however long the text is.
fn draw(text: impl Display) {
    // Err: nobody sees it.
    let _ = write!(io::stderr().lock(), "\r\x1b[?7l{text}\x1b[K\x1b[?7h");
}
