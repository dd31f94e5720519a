//! A thread that works again and again for as long as what it works for exists.

use std::io;
use std::sync::Arc;
use std::thread::Thread;
use std::time::Duration;

/// Runs `turn` at once, after each `every`, and whenever the returned thread is unparked. Ends once every other `Arc` of `owner` is dropped;
/// it notices that at its next turn. `name` is the thread's.
///
/// # Errors
/// The operating system has no thread left.
pub fn while_alive<T: Send + Sync + 'static>(
    name: &str,
    every: Duration,
    owner: &Arc<T>,
    mut turn: impl FnMut(&T) + Send + 'static,
) -> io::Result<Thread> {
    let owner = Arc::downgrade(owner);
    let turns = move || {
        // The strong reference ends with each turn: it would keep the owner alive through the wait.
        while let Some(owner) = owner.upgrade() {
            turn(&owner);
            drop(owner);
            std::thread::park_timeout(every);
        }
    };
    let spawned = std::thread::Builder::new().name(name.into()).spawn(turns)?;
    Ok(spawned.thread().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn it_works_when_woken_and_ends_with_its_owner() {
        let owner = Arc::new(7);
        let (sender, turns) = mpsc::channel();
        let thread = while_alive("test", Duration::from_secs(3600), &owner, move |owner| {
            sender.send(*owner).unwrap();
        })
        .unwrap();
        assert_eq!(turns.recv(), Ok(7));
        thread.unpark();
        assert_eq!(turns.recv(), Ok(7));
        drop(owner);
        thread.unpark();
        // The sender is dropped with the thread's closure; a turn that was under way may come before.
        while turns.recv().is_ok() {}
    }
}
