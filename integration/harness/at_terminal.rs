//! A command at a terminal: what it draws there, and the keys that somebody presses.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::ExitStatus;

use crossbeam_channel::Receiver;
use tokio::process::Child;

use super::binary;
use super::temp_dir::TempDir;
use super::wait::{PATIENCE, eventually};

/// How large the terminal is.
const SIZE: libc::winsize = libc::winsize {
    ws_row: 40,
    ws_col: 160,
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// A command under way. Dropped, it is killed.
pub struct AtTerminal {
    child: Child,
    /// Our end of the terminal.
    screen: File,
    drawing: Receiver<Vec<u8>>,
    drawn: Vec<u8>,
    _dir: TempDir,
}

impl AtTerminal {
    /// Starts the binary with these arguments, a configuration file (unless `config` is empty) and this environment. Its input, its output and
    /// its errors are the terminal.
    pub fn start(args: &[&str], config: &str, env: &[(&str, &str)]) -> Self {
        let (screen, terminal) = pair();
        let (dir, mut command) = (TempDir::new(), binary::command());
        command
            .args(args)
            .env("TERM", "xterm-256color")
            .envs(env.iter().copied());
        if !config.is_empty() {
            command.arg("--config").arg(dir.write("config.yaml", config));
        }
        let end = || terminal.try_clone().expect("another handle");
        let child = command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .kill_on_drop(true)
            .spawn();
        let mut reader = screen.try_clone().expect("another handle");
        let (drawings, drawing) = crossbeam_channel::unbounded();
        // An error: nobody has the terminal any more.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if drawings.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        AtTerminal {
            child: child.expect("the binary runs"),
            screen,
            drawing,
            drawn: Vec::new(),
            _dir: dir,
        }
    }

    /// Everything that was written so far, with what moves the cursor.
    pub fn drawn(&mut self) -> String {
        self.drawn.extend(self.drawing.try_iter().flatten());
        String::from_utf8_lossy(&self.drawn).into_owned()
    }

    /// Waits until this was written.
    pub async fn wait_for(&mut self, text: &str) {
        eventually(&format!("{text:?} at the terminal"), async || {
            let drawn = self.drawn();
            drawn.contains(text).then_some(()).ok_or(drawn)
        })
        .await;
    }

    pub fn press(&mut self, keys: &str) {
        self.screen.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Sends a signal: TERM, INT.
    pub fn signal(&self, name: &str) {
        binary::signal(name, self.child.id().expect("it still runs"));
    }

    /// Keys are shown, and taken line by line: as whoever comes next expects it.
    pub fn is_as_usual(&self) -> bool {
        // SAFETY: the call writes the struct, which was zero before, and nothing else.
        let modes = unsafe {
            let mut modes: libc::termios = std::mem::zeroed();
            assert_eq!(libc::tcgetattr(self.screen.as_raw_fd(), &mut modes), 0);
            modes
        };
        modes.c_lflag & (libc::ECHO | libc::ICANON) == libc::ECHO | libc::ICANON
    }

    /// Waits for the end of the command.
    pub async fn wait_exit(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status: ExitStatus = ended.expect("it ends by itself").expect("it can be waited for");
        status.code()
    }
}

/// Our end of a new terminal, and the command's.
fn pair() -> (File, File) {
    let (mut ours, mut theirs) = (0, 0);
    let (name, modes) = (std::ptr::null_mut(), std::ptr::null_mut());
    let size = SIZE;
    // SAFETY: both numbers are written, the size is read, and the rest may be null; the descriptors are new, and nobody else's.
    unsafe {
        assert_eq!(
            libc::openpty(&mut ours, &mut theirs, name, modes, &size),
            0,
            "a terminal"
        );
        libc::fcntl(ours, libc::F_SETFD, libc::FD_CLOEXEC);
        libc::fcntl(theirs, libc::F_SETFD, libc::FD_CLOEXEC);
        (OwnedFd::from_raw_fd(ours).into(), OwnedFd::from_raw_fd(theirs).into())
    }
}
