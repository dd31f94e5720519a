//! The machine on which it runs.

use std::thread;

use crate::figures::Machine;

/// What /proc tells of it.
pub fn machine() -> Machine {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo");
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    Machine {
        cpu: model.unwrap_or("unknown CPU").to_owned(),
        cores: thread::available_parallelism().map_or(1, usize::from),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
    }
}
