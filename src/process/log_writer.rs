//! Log lines go through a bounded queue to a thread that writes them to standard error.
//!
//! A log that cannot be written, or whose reader stands still, must not stop the service: whoever logs never waits. A line that finds no
//! room, or cannot be written, is dropped and counted.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use prometheus::IntCounter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait to be written; at some 200 bytes each, 2 MiB.
const QUEUE: usize = 10_000;
/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_millis(500);
/// How often at most dropped lines are reported in the log itself.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Lines that never reached the log; registered by each process that serves metrics.
pub static DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    let made = IntCounter::new(
        "log_lines_dropped_total",
        "Log lines dropped because standard error could not be written fast enough, or at all",
    );
    made.unwrap_or_else(|error| panic!("log_lines_dropped_total: {error}"))
});

enum Message {
    Line(Vec<u8>),
    /// Answered when every line before it is written.
    Flush(Sender<()>),
}

/// Makes the writers that a subscriber writes its lines to.
#[derive(Clone)]
pub struct LogWriter(Sender<Message>);

/// The end of the log: dropped at the end of the process, it waits a moment until the last lines are written.
pub struct LastLines(LogWriter);

impl LogWriter {
    /// Starts the thread that writes to standard error.
    ///
    /// # Errors
    /// There is no thread to be had, or no file descriptor.
    pub fn start() -> io::Result<Self> {
        // A handle of its own: a thread that is stuck in a write must not hold the lock of `io::stderr`.
        let target = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Self::start_on(target)
    }

    fn start_on(target: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, waiting) = bounded(QUEUE);
        std::thread::Builder::new()
            .name("khp-log".into())
            .spawn(move || write_all(&waiting, target))?;
        Ok(LogWriter(lines))
    }

    /// Keeps the last lines from being lost.
    pub fn last_lines(&self) -> LastLines {
        LastLines(self.clone())
    }
}

impl Drop for LastLines {
    fn drop(&mut self) {
        let (written, done) = bounded(1);
        let until = Instant::now() + LAST_LINES;
        // Err of either: the reader stands still, and what is queued is lost.
        if self.0.0.send_deadline(Message::Flush(written), until).is_ok() {
            let _ = done.recv_deadline(until);
        }
    }
}

/// Runs until nobody logs any more, thus to the end of the process.
fn write_all(waiting: &Receiver<Message>, mut target: impl Write) {
    let (mut reported, mut next_report) = (0, Instant::now());
    for message in waiting {
        match message {
            Message::Line(line) => {
                if target.write_all(&line).is_err() {
                    DROPPED.inc();
                    continue;
                }
            }
            Message::Flush(written) => {
                // Err: the end of the process did not wait this long.
                let _ = written.send(());
            }
        }
        let dropped = DROPPED.get();
        if dropped > reported && waiting.is_empty() && Instant::now() >= next_report {
            tracing::warn!(
                lines = dropped - reported,
                "log lines were dropped: standard error was not read, or could not be written"
            );
            (reported, next_report) = (dropped, Instant::now() + REPORT_EVERY);
        }
    }
}

/// One event's line.
pub struct Line<'a>(&'a Sender<Message>);

impl Write for Line<'_> {
    /// The subscriber hands over a whole line at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Message::Line(line.to_vec())).is_err() {
            DROPPED.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_in_order_and_the_end_waits_for_them() {
        let (mut reader, writer) = io::pipe().unwrap();
        let log = LogWriter::start_on(writer).unwrap();
        for number in 0..100 {
            writeln!(log.make_writer(), "line {number}").unwrap();
        }
        drop(log.last_lines());
        drop(log);
        let text = io::read_to_string(&mut reader).unwrap();
        let expected: String = (0..100).map(|number| format!("line {number}\n")).collect();
        assert_eq!(text, expected);
    }

    #[test]
    fn whoever_logs_never_waits_and_the_end_waits_a_moment() {
        let (_reader, writer) = io::pipe().unwrap();
        let log = LogWriter::start_on(writer).unwrap();
        let (before, began) = (DROPPED.get(), Instant::now());
        // 64 KiB fill the pipe.
        for _ in 0..QUEUE + 1000 {
            log.make_writer().write_all(&[b'x'; 200]).unwrap();
        }
        assert!(DROPPED.get() > before);
        drop(log.last_lines());
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let log = LogWriter::start_on(full).unwrap();
        let before = DROPPED.get();
        writeln!(log.make_writer(), "line").unwrap();
        drop(log.last_lines());
        assert!(DROPPED.get() > before);
    }
}
