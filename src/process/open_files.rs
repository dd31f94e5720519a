//! How many files the process may have open: sockets are files, and each client, broker and backend needs one.

use std::io;

/// A limit of the operating system (`RLIMIT_NOFILE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// What the process may open now.
    pub soft: u64,
    /// The most it may raise that to.
    pub hard: u64,
}

impl OpenFiles {
    /// The limit of this process.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn of_this_process() -> io::Result<Self> {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the kernel writes one rlimit, and that is what it points to.
        match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } {
            0 => Ok(OpenFiles {
                soft: limit.rlim_cur,
                hard: limit.rlim_max,
            }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Raises the soft limit to the hard one. systemd and shells begin with a soft limit of 1,024 for the sake of programs that use
    /// `select`, which this one does not.
    ///
    /// # Errors
    /// The operating system refuses.
    fn raise(self) -> io::Result<()> {
        let limit = libc::rlimit {
            rlim_cur: self.hard,
            rlim_max: self.hard,
        };
        // SAFETY: the kernel reads one rlimit, and that is what it points to.
        match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Raises the limit of this process as far as it may, and logs both numbers.
pub fn raise_limit() {
    let raised = OpenFiles::of_this_process().and_then(|limit| limit.raise().map(|()| limit));
    match raised {
        Ok(OpenFiles { soft, hard }) => tracing::info!(soft, hard, "limit of open files raised from soft to hard"),
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised; raise it where the process is started")
        }
    }
}
