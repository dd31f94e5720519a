//! Faults that come back with every record, and are logged once.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a fault was logged already; one for each kind of fault and worker generation.
#[derive(Default)]
pub struct LoggedOnce(AtomicBool);

impl LoggedOnce {
    /// True at the first call, and never again.
    pub fn is_first(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}
