//! A record on its way from the pump to the worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::handle::PumpHandle;
use super::window::HeldBytes;
use crate::wire::RawRecord;

/// A record on its way to the worker.
pub struct Intake {
    pub record: RawRecord,
    /// Its bytes, where they are more than is taken: then the record is cut.
    pub oversized: Option<usize>,
    /// Its partition's assignment.
    pub lease: Lease,
    /// The number of that assignment; the record's completion carries it back.
    pub epoch: u32,
    /// Nothing waited before the record in its partition, as far as the consumer saw.
    pub fresh: bool,
    /// Set for at-most-once delivery: the counts that the record is in.
    pub ahead: Option<Ahead>,
    /// Its part of what all pumps of the process may hold.
    pub held: HeldBytes,
}

/// One assignment of one partition, as its records see it. Clones share it.
#[derive(Clone, Default)]
pub struct Lease {
    revoked: CancellationToken,
    cut_off: CancellationToken,
    gone: CancellationToken,
    /// Calls of records that are done, and that the next owner must not overtake all the same.
    held: Arc<AtomicUsize>,
}

/// Keeps a partition as a call under way does, though its record is done. Given back on drop.
pub struct LeaseHold(Lease);

impl Drop for LeaseHold {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Lease {
    /// The partition is about to go: work that has not begun is given back, for the next owner to run.
    pub fn revoke(&self) {
        self.revoked.cancel();
    }

    /// The partition goes now: calls under way must end.
    pub fn cut(&self) {
        self.let_go();
        self.cut_off.cancel();
    }

    /// The partition goes now, and calls under way may go on: the next owner knows of them what was acknowledged before this, and no more.
    pub fn let_go(&self) {
        self.revoke();
        self.gone.cancel();
    }

    /// The lease of a record that is committed already: giving it back would lose it, so it is revoked only when it is cut.
    pub fn of_committed(&self) -> Self {
        Lease {
            revoked: self.cut_off.clone(),
            cut_off: self.cut_off.clone(),
            gone: self.gone.clone(),
            held: self.held.clone(),
        }
    }

    /// Has a revocation wait for a call whose record is done: an ordered one that streams its answer.
    pub fn hold(&self) -> LeaseHold {
        self.held.fetch_add(1, Ordering::AcqRel);
        LeaseHold(self.clone())
    }

    /// How many calls hold it.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Resolves when the partition is about to go.
    pub async fn revoked(&self) {
        self.revoked.cancelled().await;
    }

    /// Resolves when a call under way must end.
    pub async fn cut_off(&self) {
        self.cut_off.cancelled().await;
    }

    /// Resolves before another owner can have the partition.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

/// The counts of a record that is committed, or is about to be, before it is worked on. It is lost if the process ends before it.
pub struct Ahead {
    /// Dropped by the worker as the record's work begins.
    pub not_begun: Counted,
    /// Dropped by the worker as the record's outcome is decided: its delivery takes nobody's room.
    pub unfinished: Counted,
}

/// One unit in each of some counts. Dropped, it is taken off, and the pump is woken to use the room.
pub struct Counted {
    counts: Vec<Arc<AtomicUsize>>,
    pump: PumpHandle,
}

impl Counted {
    /// Adds one to each of `counts`, until it is dropped.
    pub fn new(counts: Vec<Arc<AtomicUsize>>, pump: &PumpHandle) -> Self {
        for count in &counts {
            count.fetch_add(1, Ordering::AcqRel);
        }
        Counted {
            counts,
            pump: pump.clone(),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        for count in &self.counts {
            count.fetch_sub(1, Ordering::AcqRel);
        }
        self.pump.wake();
    }
}
