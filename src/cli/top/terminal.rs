//! The terminal: a page of its own, keys one by one, and everything as it was at the end.

use std::io::{self, Read};
use std::mem::MaybeUninit;

use tokio::sync::mpsc;

use crate::process::output;

/// Keys that wait to be read.
const KEYS: usize = 16;

/// A page that shows nothing but ours, with no cursor.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l";
const END: &str = "\x1b[?25h\x1b[?1049l";
/// To the top; and from here on nothing more on the line, or on the page.
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_PAGE: &str = "\x1b[J";

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Quit,
    Sort,
    Up,
    Down,
    PageUp,
    PageDown,
}

/// In characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// The terminal of standard output. Dropped, it is as it was.
pub struct Terminal {
    /// Of standard input. `None`: it is no terminal.
    before: Option<libc::termios>,
}

impl Terminal {
    /// Takes it over.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open() -> io::Result<Self> {
        let before = modes();
        if let Some(mut keys) = before {
            // Each key at once, and none shown. Signals stay, but for that of ctrl-z, which would leave the page behind.
            keys.c_lflag &= !(libc::ICANON | libc::ECHO);
            keys.c_cc[libc::VMIN] = 1;
            keys.c_cc[libc::VTIME] = 0;
            keys.c_cc[libc::VSUSP] = 0;
            set_modes(&keys);
        }
        let terminal = Terminal { before };
        output::print(BEGIN)?;
        Ok(terminal)
    }

    pub fn size(&self) -> Size {
        let mut size = MaybeUninit::<libc::winsize>::zeroed();
        // SAFETY: the call writes the struct, which was zero before, and nothing else.
        let (done, size) = unsafe {
            let done = libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, size.as_mut_ptr());
            (done, size.assume_init())
        };
        match (done, size.ws_col, size.ws_row) {
            (0, columns @ 1.., rows @ 1..) => Size {
                columns: columns.into(),
                rows: rows.into(),
            },
            _ => Size { columns: 80, rows: 24 },
        }
    }

    /// Shows these lines and one below them, in one write, so that nothing flickers.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn draw(&self, lines: &str, last: &str) -> io::Result<()> {
        let lines = lines.replace('\n', &format!("{REST_OF_LINE}\r\n"));
        output::print(format_args!("{HOME}{lines}{last}{REST_OF_LINE}{REST_OF_PAGE}"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            set_modes(before);
        }
        // Err: it is gone.
        let _ = output::print(END);
    }
}

fn modes() -> Option<libc::termios> {
    let mut modes = MaybeUninit::<libc::termios>::zeroed();
    // SAFETY: the call writes the struct, which was zero before, and nothing else.
    let (done, modes) = unsafe {
        let done = libc::tcgetattr(libc::STDIN_FILENO, modes.as_mut_ptr());
        (done, modes.assume_init())
    };
    (done == 0).then_some(modes)
}

/// It may fail where the terminal is gone: then nobody sees it either.
fn set_modes(modes: &libc::termios) {
    // SAFETY: the struct lives through the call, which only reads it.
    unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, modes) };
}

/// The keys that are pressed from now on. The thread that reads them ends with the process.
///
/// # Errors
/// The operating system has no thread left.
pub fn keys() -> io::Result<mpsc::Receiver<Key>> {
    let (pressed, keys) = mpsc::channel(KEYS);
    let read = move || {
        let mut bytes = [0; 64];
        // What is read at once may be many keys: one that is held down, or those pressed while nothing was read.
        while let Ok(count @ 1..) = io::stdin().read(&mut bytes) {
            for key in all(&bytes[..count]) {
                if pressed.blocking_send(key).is_err() {
                    return;
                }
            }
        }
    };
    std::thread::Builder::new().name("khp-keys".into()).spawn(read)?;
    Ok(keys)
}

/// The keys of what was read at once.
fn all(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while !bytes.is_empty() {
        let (one, rest) = bytes.split_at(length(bytes));
        keys.extend(key(one));
        bytes = rest;
    }
    keys
}

/// The bytes that the first key is: one, or a sequence (ECMA-48, 5.4: `ESC [`, and its end is the first byte from `@` to `~`; and `ESC O` with
/// one more).
fn length(bytes: &[u8]) -> usize {
    let sequence = match bytes {
        [0x1b, b'O', rest @ ..] => (!rest.is_empty()).then_some(3),
        [0x1b, b'[', rest @ ..] => rest
            .iter()
            .position(|byte| matches!(byte, b'@'..=b'~'))
            .map(|end| end + 3),
        _ => Some(1),
    };
    // One that is cut off is nothing that is known.
    sequence.unwrap_or(bytes.len())
}

/// What terminals send for a key.
fn key(bytes: &[u8]) -> Option<Key> {
    match bytes {
        // q, escape alone, F10.
        b"q" | b"Q" | b"\x1b" | b"\x1b[21~" => Some(Key::Quit),
        b"s" | b"S" => Some(Key::Sort),
        b"\x1b[A" | b"\x1bOA" | b"k" => Some(Key::Up),
        b"\x1b[B" | b"\x1bOB" | b"j" => Some(Key::Down),
        b"\x1b[5~" => Some(Key::PageUp),
        b"\x1b[6~" | b" " => Some(Key::PageDown),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_terminals_send() {
        let known = [
            b"q".as_slice(),
            b"\x1b",
            b"s",
            b"\x1b[A",
            b"\x1b[B",
            b"\x1b[5~",
            b"\x1b[6~",
        ]
        .map(key);
        let expected = [
            Key::Quit,
            Key::Quit,
            Key::Sort,
            Key::Up,
            Key::Down,
            Key::PageUp,
            Key::PageDown,
        ];
        assert_eq!(known, expected.map(Some));
        assert_eq!(key(b"\x1b[1;5A"), None);
    }

    #[test]
    fn keys_that_are_read_at_once_are_all_taken() {
        let expected = [Key::Down, Key::PageDown, Key::Sort, Key::Up, Key::Quit];
        assert_eq!(all(b"\x1b[B\x1b[1;5A\x1b[6~sx\x1bOA\x1b"), expected);
        // The first two bytes of an arrow are no escape.
        assert_eq!(all(b"j\x1b["), [Key::Down]);
    }
}
