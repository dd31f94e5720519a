//! Who reads the dead letter topic at the same time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Each reader has a Kafka client and a thread: so many at a time.
const READERS: usize = 2;

/// Who reads the dead letter topic.
pub struct Readers(Arc<Semaphore>);

impl Default for Readers {
    fn default() -> Self {
        Readers(Arc::new(Semaphore::new(READERS)))
    }
}

impl Readers {
    /// A place, until it is dropped; `None`: others have all of them.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().try_acquire_owned().ok()
    }
}
