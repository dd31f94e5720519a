//! Clients that wait for a result, by its id.

use std::collections::HashMap;

use tokio::sync::oneshot;

use crate::wire::CorrelationId;

/// All of them; a bounded number.
pub struct Waiters {
    by_id: HashMap<u64, Vec<oneshot::Sender<()>>>,
    count: usize,
    max: usize,
}

impl Waiters {
    /// Of at most `max`.
    pub fn new(max: usize) -> Self {
        Waiters {
            by_id: HashMap::new(),
            count: 0,
            max,
        }
    }

    /// One more waits. Where there are too many it is dropped, and hears that at once.
    pub fn add(&mut self, id: CorrelationId, waiter: oneshot::Sender<()>) {
        if self.count < self.max {
            self.count += 1;
            self.by_id.entry(id.low64()).or_default().push(waiter);
        }
    }

    /// There is a result.
    pub fn wake(&mut self, id: CorrelationId) {
        // Nearly always.
        if self.count == 0 {
            return;
        }
        for waiter in self.by_id.remove(&id.low64()).unwrap_or_default() {
            self.count -= 1;
            // Err: it has left.
            let _ = waiter.send(());
        }
    }

    /// Forgets those that have left; returns how many wait.
    pub fn sweep(&mut self) -> usize {
        self.by_id.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.is_closed());
            !waiters.is_empty()
        });
        self.count = self.by_id.values().map(Vec::len).sum();
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_wait_for_a_result_hear_of_it_and_too_many_hear_that() {
        let (mut waiters, id, other) = (Waiters::new(3), CorrelationId::new(1), CorrelationId::new(1));
        let mut wait = |id| {
            let (waiter, waits) = oneshot::channel();
            waiters.add(id, waiter);
            waits
        };
        let (mut one, mut two, left) = (wait(id), wait(id), wait(other));
        let mut fourth = wait(id);
        assert_eq!(fourth.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(one.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        waiters.wake(id);
        assert_eq!((one.try_recv(), two.try_recv()), (Ok(()), Ok(())));
        drop(left);
        assert_eq!((waiters.count, waiters.sweep()), (1, 0));
        assert!(waiters.by_id.is_empty());
    }
}
