//! Waits to some ten µs. The runtime's own clock counts in ms, which would show in the latencies of a paced load.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// One timer of the kernel.
pub struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    /// # Errors
    /// The process has as many files as it may have.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: it is open, and the same one, for as long as it is owned.
        let registered = unsafe { AsyncFd::register(fd) };
        registered.map(Timer).map_err(|error| error.into_parts().1)
    }

    /// Waits until then; not at all, where it has passed.
    pub async fn sleep_until(&self, at: Instant) -> io::Result<()> {
        let wait = at.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return Ok(());
        }
        self.arm(wait)?;
        // What it counts is read, so that it is readable only when it fires again.
        let read = |fd: &OwnedFd| {
            let mut count = [0; 8];
            // SAFETY: the buffer is as long as is said.
            match unsafe { libc::read(fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) } {
                8 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        loop {
            if let Ok(done) = self.0.readable().await?.try_io(|fd| read(fd.get_ref())) {
                return done;
            }
        }
    }

    fn arm(&self, wait: Duration) -> io::Result<()> {
        let once = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec {
                tv_sec: wait.as_secs() as libc::time_t,
                tv_nsec: wait.subsec_nanos().into(),
            },
        };
        // SAFETY: the setting is valid for the call, and the old one is not asked for.
        match unsafe { libc::timerfd_settime(self.0.get_ref().as_raw_fd(), 0, &once, std::ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_waits_as_long_as_is_said_again_and_again() {
        let timer = Timer::new().unwrap();
        for wait in [3, 0, 5].map(Duration::from_millis) {
            let began = Instant::now();
            timer.sleep_until(began + wait).await.unwrap();
            assert!(began.elapsed() >= wait, "{:?} instead of {wait:?}", began.elapsed());
        }
    }
}
