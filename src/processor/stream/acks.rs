//! What Kafka took of a streamed answer: from the producer's polling thread to the stream.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::kafka::producer::Delivered;

/// The acknowledgements of one stream's pieces, which come in the order of the pieces.
#[derive(Default)]
pub struct Acks {
    count: AtomicU64,
    /// The offset of the first piece.
    first: OnceLock<i64>,
    /// A piece was not taken. Nothing may follow it.
    failed: AtomicBool,
    changed: Notify,
}

impl Acks {
    /// What became of one piece.
    pub fn delivered(&self, outcome: Delivered) {
        match outcome {
            Ok(offset) => {
                self.first.get_or_init(|| offset);
                self.count.fetch_add(1, Ordering::AcqRel);
                self.changed.notify_one();
            }
            Err(why) => {
                tracing::debug!(%why, "a piece of a streamed answer was not taken");
                self.fail();
            }
        }
    }

    /// A piece was given up.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// How many were acknowledged so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Where the first piece lies; `None`: Kafka does not have it yet.
    pub fn first_offset(&self) -> Option<i64> {
        self.first.get().copied()
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Comes after the next change, or at once if there was one since the last call. One task waits at a time.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}
