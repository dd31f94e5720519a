//! Where the process is in its life.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Where the process is in its life; moves only forward. Clones share it.
#[derive(Clone, Default)]
pub struct Phase(Arc<AtomicU8>);

impl Phase {
    /// From now on the process is not ready.
    pub fn drain(&self) {
        self.0.store(1, Ordering::Release);
    }

    pub fn is_draining(&self) -> bool {
        self.0.load(Ordering::Acquire) == 1
    }
}
