//! A sign of life: an atomic that its owner touches whenever it makes progress.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

/// Milliseconds since the first call in this process: an `Instant` that fits an atomic.
pub fn monotonic_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as u64
}

/// When its owner last made progress. Clones share it.
#[derive(Debug, Clone)]
pub struct Progress(Arc<AtomicU64>);

impl Default for Progress {
    fn default() -> Self {
        Progress(Arc::new(AtomicU64::new(monotonic_ms())))
    }
}

impl Progress {
    /// The owner is alive.
    pub fn touch(&self) {
        self.0.store(monotonic_ms(), Ordering::Relaxed);
    }

    /// When the owner last showed a sign of life, in `monotonic_ms`.
    pub fn touched_at(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
