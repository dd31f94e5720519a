//! The threads that actors live on. Up to `SHARED_THREADS` actors have one each; more share them, so that a process with hundreds of actors
//! has a bounded number of threads.
//!
//! An actor that ends takes no neighbour with it: its thread goes on. An actor that freezes its thread freezes its neighbours, too; the
//! thread is given up as a whole then, and each of its actors is replaced on another one.

use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};

use crate::process::progress::Progress;
use crate::supervision::stall::{LOOK_EVERY, Watched};

/// The most threads that actors share.
const SHARED_THREADS: usize = 16;

/// Names one thread of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadId(u64);

/// All threads of the supervisor.
#[derive(Default)]
pub struct ArbiterPool {
    threads: Vec<Thread>,
    /// How many were started.
    started: u64,
}

struct Thread {
    id: ThreadId,
    arbiter: Arbiter,
    /// Touched by a task on the thread: whether the thread itself turns, whatever its actors do.
    watched: Watched,
    /// Actors that live here.
    actors: usize,
    /// Nobody else may live here.
    is_private: bool,
}

impl ArbiterPool {
    /// A thread for an actor: one of its own where `private`, or while there are few; else the one with the fewest actors.
    pub fn enter(&mut self, private: bool) -> (ThreadId, ArbiterHandle) {
        let shared = || self.threads.iter().enumerate().filter(|(_, thread)| !thread.is_private);
        let fewest = shared().min_by_key(|(_, thread)| thread.actors).map(|(index, _)| index);
        let index = match fewest {
            Some(index) if !private && shared().count() >= SHARED_THREADS => index,
            _ => self.start(private),
        };
        let thread = &mut self.threads[index];
        thread.actors += 1;
        (thread.id, thread.arbiter.handle())
    }

    /// An actor left its thread, which ends with the last one. A thread that was given up is not known any more.
    pub fn leave(&mut self, id: ThreadId) {
        let Some(thread) = self.threads.iter_mut().find(|thread| thread.id == id) else {
            return;
        };
        thread.actors -= 1;
        if thread.actors == 0 {
            self.give_up(id);
        }
    }

    /// Takes a thread out of the pool and ends it, once it turns again where it is frozen.
    pub fn give_up(&mut self, id: ThreadId) {
        if let Some(index) = self.threads.iter().position(|thread| thread.id == id) {
            self.threads.swap_remove(index).arbiter.stop();
        }
    }

    /// The threads that have stood still for too long, after another look `passed` later.
    pub fn stalled(&mut self, passed: Duration) -> Vec<ThreadId> {
        let stalled = |thread: &mut Thread| thread.watched.is_stalled(passed).then_some(thread.id);
        self.threads.iter_mut().filter_map(stalled).collect()
    }

    /// The thread turns, as far as is known. Where it does not, its actors are judged by it: else one of them, given up a moment before
    /// the thread, would be replaced on the same thread.
    pub fn turns(&self, id: ThreadId) -> bool {
        let thread = self.threads.iter().find(|thread| thread.id == id);
        thread.is_none_or(|thread| thread.watched.is_lively())
    }

    /// Hands all threads over to the shutdown.
    pub fn into_arbiters(self) -> Vec<Arbiter> {
        self.threads.into_iter().map(|thread| thread.arbiter).collect()
    }

    /// Starts a thread; returns its index.
    fn start(&mut self, is_private: bool) -> usize {
        let (arbiter, progress) = (Arbiter::new(), Progress::default());
        let sign_of_life = progress.clone();
        // False: the thread has ended already, and will show no sign of life.
        arbiter.spawn(async move {
            let mut ticks = actix::clock::interval(LOOK_EVERY);
            loop {
                ticks.tick().await;
                sign_of_life.touch();
            }
        });
        self.started += 1;
        self.threads.push(Thread {
            id: ThreadId(self.started),
            arbiter,
            watched: Watched::new(progress),
            actors: 0,
            is_private,
        });
        self.threads.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix::System;

    #[test]
    fn actors_share_a_bounded_number_of_threads_evenly() {
        System::new().block_on(async {
            let mut pool = ArbiterPool::default();
            let (alone, _) = pool.enter(true);
            let ids: Vec<_> = (0..200).map(|_| pool.enter(false).0).collect();
            assert_eq!(pool.threads.len(), SHARED_THREADS + 1);
            let counts = pool.threads.iter().map(|thread| thread.actors);
            assert!(
                counts.clone().all(|count| [1, 12, 13].contains(&count)),
                "{:?}",
                counts.collect::<Vec<_>>()
            );
            ids.iter().for_each(|id| pool.leave(*id));
            assert_eq!(
                pool.threads.iter().map(|thread| thread.id).collect::<Vec<_>>(),
                [alone],
                "a thread ends with its last actor"
            );
        });
    }

    #[test]
    fn a_thread_that_was_given_up_is_nobodys() {
        System::new().block_on(async {
            let mut pool = ArbiterPool::default();
            let ids: Vec<_> = (0..2 * SHARED_THREADS).map(|_| pool.enter(false).0).collect();
            pool.give_up(ids[0]);
            let (fresh, _) = pool.enter(false);
            assert!(!ids.contains(&fresh), "it is replaced");
            pool.leave(ids[0]);
            assert_eq!(pool.threads.len(), SHARED_THREADS);
        });
    }
}
