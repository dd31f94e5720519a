//! A control topic, as its reader and its listeners share it: whether it is read, and what came.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tokio::sync::broadcast;

use crate::processor::stream::calls::Event;
use crate::wire::beside::InstanceId;

/// Batches of events that a worker may be behind. The reader waits for one that is, for a moment.
const BEHIND: usize = 1024;
/// Requesters that wait to be looked at.
const SUSPECTS: usize = 64;

/// Whether a control topic is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reading {
    /// It is being opened.
    Opening,
    /// Everything that is written to it is heard.
    Reads,
    /// It cannot be read: it is missing, or there is no right to it.
    Cannot,
}

/// One control topic of the process.
pub struct ControlTopic {
    pub name: Arc<str>,
    /// A topic's settings say `streaming: required`. Written by a reload.
    is_required: AtomicBool,
    /// A `Reading`; set by the reader.
    reading: AtomicU8,
    events: broadcast::Sender<Arc<[Event]>>,
    /// Requesters that seem to be gone: from workers to the reader. Bounded by `SUSPECTS`; each is told again every second.
    suspects: (
        crossbeam_channel::Sender<InstanceId>,
        crossbeam_channel::Receiver<InstanceId>,
    ),
}

impl ControlTopic {
    pub fn new(name: &str, is_required: bool) -> Self {
        ControlTopic {
            name: Arc::from(name),
            is_required: is_required.into(),
            reading: AtomicU8::new(Reading::Opening as u8),
            events: broadcast::Sender::new(BEHIND),
            suspects: crossbeam_channel::bounded(SUSPECTS),
        }
    }

    pub fn reading(&self) -> Reading {
        match self.reading.load(Ordering::Acquire) {
            0 => Reading::Opening,
            1 => Reading::Reads,
            _ => Reading::Cannot,
        }
    }

    pub fn is_required(&self) -> bool {
        self.is_required.load(Ordering::Relaxed)
    }

    pub fn set_required(&self, is_required: bool) {
        self.is_required.store(is_required, Ordering::Relaxed);
    }

    pub fn is_read(&self) -> bool {
        self.reading() == Reading::Reads
    }

    pub fn set_reading(&self, reading: Reading) {
        self.reading.store(reading as u8, Ordering::Release);
    }

    /// Why the process is not ready for requests whose answers stream; `None`: it is.
    pub fn not_ready(&self) -> Option<String> {
        match self.reading() {
            Reading::Reads => None,
            Reading::Opening => Some(format!("control topic {} is not read yet", self.name)),
            Reading::Cannot if self.is_required() => Some(format!(
                "control topic {} cannot be read, and streaming is required",
                self.name
            )),
            Reading::Cannot => None,
        }
    }

    /// What comes from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<[Event]>> {
        self.events.subscribe()
    }

    /// A listener is so far behind that the next batch would cost it the oldest.
    pub fn is_behind(&self) -> bool {
        self.events.len() >= BEHIND - 1
    }

    /// All listeners hear this.
    pub fn tell(&self, events: impl Into<Arc<[Event]>>) {
        // Err: nobody listens now.
        let _ = self.events.send(events.into());
    }

    /// This requester is silent. Whether the topic was read to its end, the reader finds out.
    pub fn suspect(&self, requester: InstanceId) {
        // Err: many are suspected already; it is told again in a second.
        let _ = self.suspects.0.try_send(requester);
    }

    /// The requesters that were suspected since the last call: several workers may suspect the same one.
    pub fn suspects(&self) -> HashSet<InstanceId> {
        self.suspects.1.try_iter().collect()
    }
}
