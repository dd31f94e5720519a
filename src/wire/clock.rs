//! The time that deadlines on the wire are written in.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time, in ms since 1970.
pub fn now_ms() -> i64 {
    unix_ms(SystemTime::now())
}

/// A time in ms since 1970; 0 before.
pub fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}
