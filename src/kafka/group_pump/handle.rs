//! The worker's and the supervisor's end of a pump.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender};

use super::backlog::Backlog;
use super::completion::Completion;
use crate::process::progress::Progress;

/// What the pump is asked to do; moves only forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Command {
    /// Take records in.
    Run,
    /// Take nothing more in, but go on polling while the worker finishes; then commit and leave the group.
    Drain,
    /// Leave the group at once.
    Stop,
}

/// What a pump shows of itself to `/health/ready`, `/status` and the metrics. Only the pump's thread writes it.
#[derive(Debug, Default)]
pub struct PumpStatus {
    /// Set with the first assignment: the group gave this member its share, which may be empty.
    assigned: AtomicBool,
    /// Partitions that this member has; written at each assignment and revocation.
    partitions: AtomicUsize,
    /// Set once, when a drain has finished and its last commit was taken.
    drained: AtomicBool,
    /// Written about once a second.
    backlogs: ArcSwap<Vec<Backlog>>,
}

impl PumpStatus {
    pub fn set_partitions(&self, count: usize) {
        self.partitions.store(count, Ordering::Relaxed);
        self.assigned.store(true, Ordering::Release);
    }
    pub fn set_backlogs(&self, backlogs: Vec<Backlog>) {
        self.backlogs.store(Arc::new(backlogs));
    }
    /// By assigned partition; at most a second old.
    pub fn backlogs(&self) -> Arc<Vec<Backlog>> {
        self.backlogs.load_full()
    }
    pub fn set_drained(&self) {
        self.drained.store(true, Ordering::Release);
    }
    pub fn is_assigned(&self) -> bool {
        self.assigned.load(Ordering::Acquire)
    }
    pub fn partitions(&self) -> usize {
        self.partitions.load(Ordering::Relaxed)
    }
    /// The drain finished before anything was cut off.
    pub fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire)
    }
}

/// The worker's and the supervisor's end of a pump. Clones share it.
#[derive(Clone)]
pub struct PumpHandle(Arc<Shared>);

/// Tells whether intake stands still for now: an operator, or a breaker, stopped it. The pump asks at every turn.
pub type Paused = Arc<dyn Fn() -> bool + Send + Sync>;

struct Shared {
    /// The pump itself bounds it: each record taken in has one completion, and the partition windows bound those records.
    completions: Sender<Completion>,
    /// A `Command`; the supervisor and the shutdown raise it.
    command: AtomicU8,
    paused: Paused,
    /// Set by `attach`, as the pump's thread begins.
    thread: OnceLock<Thread>,
    status: PumpStatus,
    /// Touched by the pump at every turn.
    progress: Progress,
}

impl PumpHandle {
    /// A handle and the pump's end of its completions.
    pub fn new(paused: Paused) -> (Self, Receiver<Completion>) {
        let (completions, receiver) = crossbeam_channel::unbounded();
        let shared = Shared {
            completions,
            command: AtomicU8::new(Command::Run as u8),
            paused,
            thread: OnceLock::new(),
            status: PumpStatus::default(),
            progress: Progress::default(),
        };
        (PumpHandle(Arc::new(shared)), receiver)
    }

    /// Tells the pump what became of a record. Never blocks; a pump that has ended no longer cares.
    pub fn complete(&self, completion: Completion) {
        // Err: an old generation's pump; its records are redelivered.
        let _ = self.0.completions.send(completion);
        self.wake();
    }

    /// Moves the pump forward to `command`; never back.
    pub fn command(&self, command: Command) {
        self.0.command.fetch_max(command as u8, Ordering::AcqRel);
        self.wake();
    }

    pub fn current_command(&self) -> Command {
        match self.0.command.load(Ordering::Acquire) {
            0 => Command::Run,
            1 => Command::Drain,
            _ => Command::Stop,
        }
    }

    /// Records wait in Kafka for now.
    pub fn is_paused(&self) -> bool {
        (self.0.paused)()
    }

    /// Called by the pump's thread as it begins, so that it can be woken.
    pub fn attach(&self) {
        // Err: attached already, by the same thread.
        let _ = self.0.thread.set(std::thread::current());
    }

    /// Wakes the pump if it is parked; cheap otherwise.
    pub fn wake(&self) {
        if let Some(thread) = self.0.thread.get() {
            thread.unpark();
        }
    }

    pub fn status(&self) -> &PumpStatus {
        &self.0.status
    }

    pub fn progress(&self) -> &Progress {
        &self.0.progress
    }
}
