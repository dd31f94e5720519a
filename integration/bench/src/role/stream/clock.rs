//! A clock that all processes of the machine share: what one writes into an event, another compares with.

use std::time::Duration;

/// Time since some moment, the same for all processes. (`Instant` does not show its own.)
pub fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the out pointer is valid for the call, which cannot fail with this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
