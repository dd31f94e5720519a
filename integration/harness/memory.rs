//! How much the memory of a process grows over a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::service::Service;

/// Looks at a process again and again until it is dropped.
pub struct Growth {
    before: usize,
    most: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Growth {
    pub fn of(service: &Service) -> Self {
        let (most, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (pid, kept, stopped) = (service.pid(), most.clone(), stop.clone());
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
                let pages: Option<usize> = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok());
                kept.fetch_max(pages.unwrap_or(0) * 4096, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Growth {
            before: service.resident_memory(),
            most,
            stop,
        }
    }

    /// Bytes that it had in use more than at first, at most.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed).saturating_sub(self.before)
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
