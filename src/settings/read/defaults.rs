//! Defaults that come from the machine, or from another setting.

use std::time::Duration;

use crate::process::memory;
use crate::process::open_files::OpenFiles;

/// Of the memory that the process may use, this part may be bodies and answers.
const PART_OF_MEMORY: u64 = 4;
/// Never more of it: 1 GiB. More has never been needed where answers come at all.
const MOST_BYTES: u64 = 1 << 30;
/// Where the memory is not known.
const UNKNOWN_MEMORY: u64 = 1 << 30;
/// Files that are no client's: Kafka's connections, listeners, the log, the management port.
const RESERVED_FILES: u64 = 100;
/// Where the limit of open files is not known.
const UNKNOWN_FILES: u64 = 1024;

/// A duration as a number of seconds, the way a user would write it.
pub fn seconds(duration: Duration) -> String {
    duration.as_secs_f64().to_string()
}

/// A time above zero that an item takes over from another setting. Zero stands for one that is at fault: that is said there, and the item
/// gets no default.
pub fn inherited(duration: Duration) -> String {
    match duration.is_zero() {
        true => String::new(),
        false => seconds(duration),
    }
}

/// The default of `max_pending_bytes`.
pub fn max_pending_bytes() -> u64 {
    (memory::limit().unwrap_or(UNKNOWN_MEMORY) / PART_OF_MEMORY).min(MOST_BYTES)
}

/// The default of `max_connections`. The soft limit of open files is raised to the hard one at start.
pub fn max_connections() -> u64 {
    let files = OpenFiles::of_this_process().map_or(UNKNOWN_FILES, |limit| limit.hard);
    files.saturating_sub(RESERVED_FILES).max(1)
}
