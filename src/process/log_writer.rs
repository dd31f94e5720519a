//! Log lines go through a bounded queue to a thread that writes them to standard error.
//!
//! A log that cannot be written, or whose reader stands still, must not stop the service: whoever logs never waits. A line that finds no
//! room, or cannot be written, is dropped and counted.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use prometheus::IntCounter;
use tracing_subscriber::fmt::MakeWriter;

use crate::process::repeats;

/// Lines that wait to be written, and their bytes.
const QUEUE: usize = 10_000;
const QUEUE_BYTES: usize = 4 << 20;
/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_millis(500);
/// How often at most dropped lines are reported in the log itself, and repeated ones.
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
pub struct LogWriter {
    lines: Sender<Message>,
    /// Bytes that wait.
    bytes: Arc<AtomicUsize>,
}

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
        let bytes = Arc::new(AtomicUsize::new(0));
        std::thread::Builder::new().name("khp-log".into()).spawn({
            let bytes = bytes.clone();
            move || write_all(&waiting, &bytes, target)
        })?;
        Ok(LogWriter { lines, bytes })
    }

    /// Keeps the last lines from being lost.
    pub fn last_lines(&self) -> LastLines {
        LastLines(self.clone())
    }
}

impl Drop for LastLines {
    fn drop(&mut self) {
        repeats::say_counts();
        let (written, done) = bounded(1);
        let until = Instant::now() + LAST_LINES;
        // Err of either: the reader stands still, and what is queued is lost.
        if self.0.lines.send_deadline(Message::Flush(written), until).is_ok() {
            let _ = done.recv_deadline(until);
        }
    }
}

/// Runs until nobody logs any more, thus to the end of the process.
fn write_all(waiting: &Receiver<Message>, bytes: &AtomicUsize, mut target: impl Write) {
    let (mut reported, mut next_report) = (0, Instant::now());
    // A line may have been written in part.
    let mut is_broken_off = false;
    let mut next_counts = Instant::now() + REPORT_EVERY;
    loop {
        let message = waiting.recv_timeout(REPORT_EVERY);
        if Instant::now() >= next_counts {
            repeats::say_counts();
            next_counts = Instant::now() + REPORT_EVERY;
        }
        let message = match message {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match message {
            Message::Line(line) => {
                bytes.fetch_sub(line.len(), Ordering::Relaxed);
                let begun = if is_broken_off { target.write_all(b"\n") } else { Ok(()) };
                is_broken_off = begun.and_then(|()| target.write_all(&line)).is_err();
                if is_broken_off {
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
pub struct Line<'a>(&'a LogWriter);

impl Write for Line<'_> {
    /// The subscriber hands over a whole line at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let LogWriter { lines, bytes } = self.0;
        let waiting = bytes.fetch_add(line.len(), Ordering::Relaxed);
        if waiting > QUEUE_BYTES || lines.try_send(Message::Line(line.to_vec())).is_err() {
            bytes.fetch_sub(line.len(), Ordering::Relaxed);
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
        Line(self)
    }
}

#[cfg(test)]
mod tests {
    use arc_swap::ArcSwap;

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
    fn long_lines_wait_up_to_their_bytes() {
        let (_reader, writer) = io::pipe().unwrap();
        let log = LogWriter::start_on(writer).unwrap();
        let before = DROPPED.get();
        for _ in 0..100 {
            log.make_writer().write_all(&vec![b'x'; 100 << 10]).unwrap();
        }
        let waiting = log.bytes.load(Ordering::Relaxed);
        assert!(waiting <= QUEUE_BYTES + (100 << 10), "{waiting}");
        assert!(DROPPED.get() >= before + 50);
    }

    /// Takes a part of the first line, and then all.
    #[derive(Clone, Default)]
    struct Choking(Arc<ArcSwap<Vec<u8>>>, usize);

    impl Write for Choking {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            let taken = match self.1 {
                1 => 3,
                2 => return Err(io::ErrorKind::WouldBlock.into()),
                _ => bytes.len(),
            };
            let all = [&self.0.load()[..], &bytes[..taken]].concat();
            self.0.store(Arc::new(all));
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_broke_off_is_not_glued_to_the_next() {
        let target = Choking::default();
        let log = LogWriter::start_on(target.clone()).unwrap();
        writeln!(log.make_writer(), "first").unwrap();
        writeln!(log.make_writer(), "second").unwrap();
        drop(log.last_lines());
        assert_eq!(String::from_utf8_lossy(&target.0.load()), "fir\nsecond\n");
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
