//! Child processes, and how much of the machine they use.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::protocol::READY;

/// A child process. It is killed when this is dropped; the kernel kills it when this process ends in any other way.
pub struct Process {
    name: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub fn start(name: impl Into<String>, command: &mut Command) -> Result<Self> {
        let name = name.into();
        // SAFETY: prctl only sets a flag of the new process; it is async-signal-safe.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{name}: {:?}: {error}", command.get_program()))?;
        let stdout = child.stdout.take().ok_or("a piped stdout is there")?;
        Ok(Process {
            name,
            child,
            lines: BufReader::new(stdout).lines(),
        })
    }

    /// Starts this program again, in a role.
    pub fn role<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Result<Self> {
        Self::start(name, Command::new(std::env::current_exe()?).args(args))
    }

    /// Reads the next line of its output.
    ///
    /// # Errors
    /// The process ended instead.
    pub fn line(&mut self) -> Result<String> {
        match self.lines.next() {
            Some(line) => Ok(line?),
            None => Err(format!("{} ended: {}", self.name, self.child.wait()?).into()),
        }
    }

    /// Waits until it takes work, and returns its port.
    pub fn ready(&mut self) -> Result<u16> {
        let line = self.line()?;
        let port = line.strip_prefix(READY).and_then(|port| port.trim().parse().ok());
        port.ok_or_else(|| format!("{}: not a ready line: {line}", self.name).into())
    }

    pub fn watched(&self) -> Watched {
        Watched {
            name: self.name.clone(),
            pid: self.child.id(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process whose use of the machine is measured.
#[derive(Debug, Clone)]
pub struct Watched {
    pub name: String,
    pub pid: u32,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub cpu: Duration,
    /// Resident memory at present.
    pub rss_mib: f64,
    /// The most that it was since `begin`.
    pub peak_mib: f64,
    /// Bytes received over the TCP connections that are open.
    pub received: u64,
    pub switches: Switches,
}

/// Context switches of the threads that live.
#[derive(Debug, Default, Clone, Copy)]
pub struct Switches {
    /// A thread had nothing to do: it waited.
    pub voluntary: u64,
    /// Another one was due.
    pub involuntary: u64,
}

/// What one process used in an interval.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Used {
    pub name: String,
    pub cpu_us_per_request: f64,
    pub rss_mib: f64,
    /// What the resident memory was above that of the beginning, at most.
    pub grown_mib: f64,
    pub received_bytes_per_request: f64,
    /// Context switches of a thread that had nothing more to do: each is a wake-up.
    pub switches_per_request: f64,
    /// Context switches of a thread that had to make room for another.
    pub involuntary_per_request: f64,
}

impl Watched {
    /// Begins an interval.
    pub fn begin(&self) -> Result<Usage> {
        // Resets the peak of the resident memory (proc(5)).
        std::fs::write(format!("/proc/{}/clear_refs", self.pid), "5")?;
        self.usage()
    }

    pub fn usage(&self) -> Result<Usage> {
        Ok(Usage {
            cpu: cpu(self.pid)?,
            rss_mib: rss_mib(self.pid)?,
            peak_mib: status_mib(self.pid, "VmHWM:")?,
            received: received(self.pid),
            switches: switches(self.pid)?,
        })
    }

    pub fn used(&self, before: &Usage, after: &Usage, requests: u64) -> Used {
        let requests = requests.max(1) as f64;
        // A thread that ended takes its counts with it.
        let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / requests;
        Used {
            name: self.name.clone(),
            cpu_us_per_request: after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / requests,
            rss_mib: after.rss_mib,
            grown_mib: (after.peak_mib - before.rss_mib).max(0.0),
            received_bytes_per_request: each(before.received, after.received),
            switches_per_request: each(before.switches.voluntary, after.switches.voluntary),
            involuntary_per_request: each(before.switches.involuntary, after.switches.involuntary),
        }
    }
}

/// CPU time of all threads, including those that ended, to the nanosecond. (/proc/PID/stat counts in hundredths of a second.)
fn cpu(pid: u32) -> Result<Duration> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both out pointers are valid for the calls.
    let failed = unsafe {
        libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) != 0 || libc::clock_gettime(clock, &mut time) != 0
    };
    if failed {
        return Err(format!("process {pid} is gone").into());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Resident memory.
pub fn rss_mib(pid: u32) -> Result<f64> {
    status_mib(pid, "VmRSS:")
}

fn status_mib(pid: u32, name: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = kib.and_then(|rest| rest.trim().split(' ').next()?.parse::<f64>().ok());
    Ok(kib.ok_or_else(|| format!("no {name} in /proc/PID/status"))? / 1024.0)
}

/// Of all its threads.
fn switches(pid: u32) -> Result<Switches> {
    let mut sum = Switches::default();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // Err: it has just ended.
        let Ok(status) = std::fs::read_to_string(thread?.path().join("status")) else {
            continue;
        };
        let count = |name: &str| {
            let count = status.lines().find_map(|line| line.strip_prefix(name));
            count.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        sum.voluntary += count("voluntary_ctxt_switches:");
        sum.involuntary += count("nonvoluntary_ctxt_switches:");
    }
    Ok(sum)
}

/// Bytes that its open TCP connections have received, as `ss` (iproute2) shows them; 0 where `ss` is missing. /proc/PID/io does not
/// count recv(2).
fn received(pid: u32) -> u64 {
    let Ok(output) = Command::new("ss").args(["-tinpOH"]).output() else {
        return 0;
    };
    let owner = format!("pid={pid},");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.contains(&owner))
        .filter_map(|line| {
            line.split("bytes_received:")
                .nth(1)?
                .split(' ')
                .next()?
                .parse::<u64>()
                .ok()
        })
        .sum()
}

/// Lets this process and its children open as many files as the system allows.
pub fn raise_file_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointers are valid; a limit that cannot be raised shows as failed connections.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn each_wait_of_a_thread_is_a_switch() {
        let mut cat = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = cat.stdin.take().unwrap();
        let mut output = BufReader::new(cat.stdout.take().unwrap()).lines();
        let mut waits = |count: u64| {
            for _ in 0..count {
                // It waits by now, however busy the machine is.
                std::thread::sleep(Duration::from_millis(2));
                input.write_all(b"line\n").unwrap();
                output.next().unwrap().unwrap();
            }
            switches(cat.id()).unwrap().voluntary
        };
        let before = waits(1);
        assert!(waits(20) >= before + 10);
        cat.kill().unwrap();
        cat.wait().unwrap();
    }
}
