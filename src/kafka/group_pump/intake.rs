//! What passes between a group pump (an OS thread) and its worker (an actor): records one way, what became of them the other.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

use crate::kafka::group_pump::backlog::Backlog;
use crate::process::progress::Progress;
use crate::wire::RawRecord;

/// A record on its way to the worker, with the partition's lease at the time.
pub struct Intake {
    pub record: RawRecord,
    pub lease: Lease,
    /// Comes back in the record's completion.
    pub epoch: u32,
    /// When the consumer last had nothing left to take in: the record was written after that, whatever its deadline claims.
    pub caught_up: Option<Instant>,
    /// At most once: what it counts among.
    pub ahead: Option<Ahead>,
}

impl Intake {
    /// It cannot have waited longer than `span` for anybody to work on it.
    pub fn is_newer_than(&self, span: Duration) -> bool {
        self.caught_up.is_some_and(|at| at.elapsed() < span)
    }
}

/// One assignment of one partition, as its records see it. Clones share it.
#[derive(Clone, Default)]
pub struct Lease {
    revoked: CancellationToken,
    cut_off: CancellationToken,
}

impl Lease {
    /// The partition is to go: work that has not begun is given back, for the next owner to run.
    pub fn revoke(&self) {
        self.revoked.cancel();
    }

    /// The partition goes, and nothing of it may be under way then.
    pub fn cut(&self) {
        self.revoke();
        self.cut_off.cancel();
    }

    /// The same for a record that is committed already: giving it back would lose it.
    pub fn of_committed(&self) -> Self {
        Lease {
            revoked: self.cut_off.clone(),
            cut_off: self.cut_off.clone(),
        }
    }

    /// Comes when the partition is to go.
    pub async fn revoked(&self) {
        self.revoked.cancelled().await;
    }

    /// Comes when a call under way must end.
    pub async fn cut_off(&self) {
        self.cut_off.cancelled().await;
    }
}

/// The places of a record that is committed, or is about to be, before it is worked on: it is lost if its process goes before its end.
pub struct Ahead {
    /// Given up as its work begins.
    pub not_begun: Place,
    /// Given up as its outcome stands: to deliver that takes nobody's place.
    pub unfinished: Place,
}

/// One among those that are counted. Given up on drop.
pub struct Place {
    counts: Vec<Arc<AtomicUsize>>,
    pump: PumpHandle,
}

impl Place {
    /// Adds one to each of `counts`, until it is dropped.
    pub fn new(counts: Vec<Arc<AtomicUsize>>, pump: &PumpHandle) -> Self {
        for count in &counts {
            count.fetch_add(1, Ordering::AcqRel);
        }
        Place {
            counts,
            pump: pump.clone(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for count in &self.counts {
            count.fetch_sub(1, Ordering::AcqRel);
        }
        self.pump.wake();
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do for it: its offset may be committed.
    Done,
    /// Given back unanswered.
    Released,
}

/// One record's end, as the pump learns it.
#[derive(Debug, Clone, Copy)]
pub struct Completion {
    pub partition: i32,
    pub epoch: u32,
    pub offset: i64,
    pub outcome: Outcome,
}

/// What the pump is asked to do; moves only forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Command {
    Run,
    /// Take nothing more in, but go on polling while the worker finishes; then commit and leave the group.
    Drain,
    /// Store nothing more, leave the group.
    Stop,
}

/// What a pump shows of itself to `/health/ready`, `/status` and the metrics.
#[derive(Debug, Default)]
pub struct PumpStatus {
    /// The group gave this member its share (which may be empty).
    assigned: AtomicBool,
    partitions: AtomicUsize,
    drained: AtomicBool,
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

/// The worker's and the supervisor's end of a pump.
#[derive(Clone)]
pub struct PumpHandle(Arc<Shared>);

/// Tells whether intake stands still for now; asked at every turn.
pub type Paused = Arc<dyn Fn() -> bool + Send + Sync>;

struct Shared {
    /// Bounded by the pump itself: a completion is sent once for each record taken in, and the partition windows bound those.
    completions: Sender<Completion>,
    command: AtomicU8,
    paused: Paused,
    thread: OnceLock<Thread>,
    status: PumpStatus,
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

    /// Tells the pump what became of a record. Never blocks; a pump that is gone no longer cares.
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

    /// Records wait in Kafka: an operator, or a breaker, stopped the intake.
    pub fn is_paused(&self) -> bool {
        (self.0.paused)()
    }

    /// The pump's thread introduces itself, so that it can be woken.
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
