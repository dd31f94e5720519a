//! How many backend calls may be under way in the process: each worker has a few places of its own, and borrows the rest.
//!
//! A borrowed place goes back when its call ends. So a worker that is alone with work has nearly all places, and one whose backend hangs
//! can take all that are borrowed and none that are others' own. At most one record of each worker waits for a borrowed place at a time:
//! they go round, however many records a worker has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::processor::metrics::Counted;

/// The places of the process.
pub struct CallPool {
    /// The most calls, as the settings say.
    calls: usize,
    borrowable: Semaphore,
    /// Borrowable places in all.
    most_borrowed: AtomicUsize,
    /// Own places of each worker, as the workers of the start had them.
    most_own: usize,
    /// The same now. A worker that has others takes note when it next looks for a place.
    own: AtomicUsize,
    /// Places that are taken now.
    taken: IntGauge,
    /// Those of them that are borrowed.
    borrowed: IntGauge,
}

impl CallPool {
    /// Divides `calls` among so many workers. A quarter is theirs for good, at least one each; the rest is borrowed. There are never more
    /// calls than `calls`, or, with more workers than a quarter of it, than three quarters and one for each worker.
    pub fn new(calls: usize, workers: usize, [taken, borrowed]: [IntGauge; 2]) -> Self {
        let own = (calls / (4 * workers.max(1))).max(1);
        let most_borrowed = most_of(calls, own, workers);
        CallPool {
            calls,
            borrowable: Semaphore::new(most_borrowed),
            most_borrowed: most_borrowed.into(),
            most_own: own,
            own: own.into(),
            taken,
            borrowed,
        }
    }

    /// From now on there are so many workers. Their own places stay as many each for as long as half of all are left to borrow. What is
    /// borrowed grows and shrinks, and so does what is their own, as places come free.
    pub fn resize(self: &Arc<Self>, workers: usize) {
        let own = self.most_own.min((self.calls / (2 * workers.max(1))).max(1));
        self.own.store(own, Ordering::Relaxed);
        let most = most_of(self.calls, own, workers);
        let before = self.most_borrowed.swap(most, Ordering::Relaxed);
        self.borrowable.add_permits(most.saturating_sub(before));
        let (pool, taken) = (self.clone(), before.saturating_sub(most));
        if let Some(taken) = u32::try_from(taken).ok().filter(|taken| *taken > 0) {
            actix::spawn(async move {
                // Err: never, it is not closed.
                if let Ok(places) = pool.borrowable.acquire_many(taken).await {
                    places.forget();
                }
            });
        }
    }

    /// The most calls that one worker can have under way.
    pub fn most_of_one(&self) -> usize {
        self.own() + self.most_borrowed()
    }

    /// How many calls a worker could begin now that has none under way.
    pub fn free_for_one(&self) -> usize {
        self.own() + self.borrowable.available_permits()
    }

    fn own(&self) -> usize {
        self.own.load(Ordering::Relaxed)
    }

    /// Places that can be borrowed in all.
    pub fn most_borrowed(&self) -> usize {
        self.most_borrowed.load(Ordering::Relaxed)
    }

    /// The places of one worker, which has at most `concurrency` calls under way; `waiting` shows how many records wait.
    pub fn places(self: &Arc<Self>, concurrency: usize, waiting: IntGauge) -> CallPlaces {
        let own = self.own();
        CallPlaces {
            concurrency: Semaphore::new(concurrency),
            head: Semaphore::new(1),
            own: Semaphore::new(own),
            owns: own.into(),
            pool: self.clone(),
            waiting,
        }
    }
}

/// Places that so many workers can borrow, of which each has so many of its own.
fn most_of(calls: usize, own: usize, workers: usize) -> usize {
    let left = calls.saturating_sub(own * workers.max(1));
    // Where there are too few places for that: no worker has more than all, and one stays at least, for a worker that has none of its own free.
    let least = match own {
        1 => (calls * 3).div_ceil(4).min(calls.saturating_sub(own)),
        _ => 1,
    };
    left.max(least)
}

/// One worker's way to places for its calls.
pub struct CallPlaces {
    /// Of this worker alone.
    concurrency: Semaphore,
    /// Held by the first of this worker's records that wait for a place.
    head: Semaphore,
    /// Places that nobody else can take.
    own: Semaphore,
    /// How many those are.
    owns: AtomicUsize,
    pool: Arc<CallPool>,
    /// Records that wait for a place. The partition windows bound them.
    waiting: IntGauge,
}

/// The right to have one call under way; given back on drop.
pub struct CallPlace<'a> {
    _concurrency: SemaphorePermit<'a>,
    _place: SemaphorePermit<'a>,
    _taken: Counted,
    /// Set where the place is borrowed.
    _borrowed: Option<Counted>,
}

impl CallPlaces {
    /// Waits for a place, in order. Cancel safe. `None` never comes: the semaphores are not closed.
    pub async fn place(&self) -> Option<CallPlace<'_>> {
        let _waiting = Counted::new(&self.waiting);
        let concurrency = self.concurrency.acquire().await.ok()?;
        let _head = self.head.acquire().await.ok()?;
        let (place, borrowed) = tokio::select! {
            biased;
            own = self.own_place() => (own?, None),
            borrowed = self.pool.borrowable.acquire() => (borrowed.ok()?, Some(Counted::new(&self.pool.borrowed))),
        };
        Some(CallPlace {
            _concurrency: concurrency,
            _place: place,
            _taken: Counted::new(&self.pool.taken),
            _borrowed: borrowed,
        })
    }

    /// Waits for a place of its own; gives back what is not its own any more. Cancel safe.
    async fn own_place(&self) -> Option<SemaphorePermit<'_>> {
        let owns = self.owns.load(Ordering::Relaxed);
        if let Some(more) = self.pool.own().checked_sub(owns) {
            self.owns.fetch_add(more, Ordering::Relaxed);
            self.own.add_permits(more);
        }
        loop {
            let place = self.own.acquire().await.ok()?;
            if self.owns.load(Ordering::Relaxed) <= self.pool.own() {
                return Some(place);
            }
            place.forget();
            self.owns.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use proptest::prelude::*;

    fn gauge() -> IntGauge {
        IntGauge::new("gauge", "a gauge").unwrap()
    }

    fn pool(calls: usize, workers: usize) -> Arc<CallPool> {
        Arc::new(CallPool::new(calls, workers, [gauge(), gauge()]))
    }

    #[test]
    fn places_are_divided() {
        for (calls, workers, own, borrowed) in [
            (100, 1, 25, 75),
            (100, 2, 12, 76),
            (100, 10, 2, 80),
            (100, 25, 1, 75),
            (10, 10, 1, 8),
            (100, 200, 1, 75),
            (1, 1, 1, 0),
            (1, 3, 1, 0),
            (2, 1, 1, 1),
        ] {
            let pool = pool(calls, workers);
            assert_eq!(
                (pool.own(), pool.most_borrowed()),
                (own, borrowed),
                "{calls} calls, {workers} workers"
            );
            assert!(pool.most_of_one() <= calls.max(1));
        }
    }

    #[test]
    fn one_that_is_alone_with_work_has_nearly_all_and_others_still_get_theirs_at_once() {
        let pool = pool(10, 10);
        let workers: Vec<_> = (0..10).map(|_| pool.places(10, gauge())).collect();
        let busy: Vec<_> = std::iter::from_fn(|| workers[0].place().now_or_never().flatten()).collect();
        assert_eq!(busy.len(), 9);
        assert_eq!((pool.borrowed.get(), pool.free_for_one()), (8, 1));
        assert_eq!(pool.taken.get(), 9);
        for quiet in &workers[1..] {
            let own = quiet.place().now_or_never();
            assert!(own.is_some(), "the others hold what is borrowed only");
            assert!(quiet.place().now_or_never().is_none(), "one of its own");
        }
        drop(busy);
        assert_eq!((pool.taken.get(), pool.borrowed.get()), (0, 0));
        assert!(workers[1].place().now_or_never().is_some());
    }

    #[actix::test]
    async fn workers_come_and_go() {
        let pool = pool(100, 2);
        let busy = pool.places(100, gauge());
        // Unconstrained: tokio has a task pause after so many semaphores.
        let take = || tokio::task::unconstrained(busy.place()).now_or_never().flatten();
        let held: Vec<_> = std::iter::from_fn(take).collect();
        assert_eq!(held.len(), 12 + 76);
        pool.resize(4);
        assert_eq!(pool.most_borrowed(), 76 - 24);
        drop(held);
        tokio::task::yield_now().await;
        assert_eq!(pool.borrowable.available_permits(), 76 - 24);
        pool.resize(1);
        assert_eq!(
            (pool.most_borrowed(), pool.borrowable.available_permits()),
            (76 + 12, 76 + 12)
        );
    }

    #[actix::test]
    async fn many_workers_more_have_no_more_places_than_there_are() {
        let pool = pool(100, 2);
        let mut workers = vec![pool.places(100, gauge()), pool.places(100, gauge())];
        // Unconstrained: as above.
        fn take(places: &CallPlaces) -> Vec<CallPlace<'_>> {
            std::iter::from_fn(|| tokio::task::unconstrained(places.place()).now_or_never().flatten()).collect()
        }
        let all = |workers: &[CallPlaces]| workers.iter().flat_map(take).collect::<Vec<_>>().len();
        assert_eq!(all(&workers), 100);
        let held = take(&workers[0]);
        assert_eq!(held.len(), 12 + 76);
        pool.resize(20);
        drop(held);
        tokio::task::yield_now().await;
        workers.extend((2..20).map(|_| pool.places(100, gauge())));
        assert_eq!((pool.own(), pool.most_borrowed()), (2, 60));
        assert_eq!(all(&workers), 100);
        // And back again.
        workers.truncate(2);
        pool.resize(2);
        assert_eq!((pool.own(), pool.most_borrowed()), (12, 76));
        assert_eq!(all(&workers), 100);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// However many come and go: the places are those of a pool that never had others.
        #[test]
        fn a_pool_is_as_large_as_its_workers_make_it(
            calls in 1usize..200,
            first in 1usize..20,
            steps in prop::collection::vec(0usize..60, 1..20),
        ) {
            actix::System::new().block_on(async {
                let pool = pool(calls, first);
                for workers in steps.into_iter().chain([first]) {
                    pool.resize(workers);
                    tokio::task::yield_now().await;
                    prop_assert_eq!(pool.borrowable.available_permits(), pool.most_borrowed());
                    let all = pool.own() * workers.max(1) + pool.most_borrowed();
                    prop_assert!(all <= calls.max((calls * 3).div_ceil(4) + workers.max(1)), "{}", all);
                }
                prop_assert_eq!(pool.most_borrowed(), CallPool::new(calls, first, [gauge(), gauge()]).most_borrowed());
                Ok(())
            })?;
        }
    }

    #[test]
    fn borrowed_places_go_round() {
        let pool = pool(4, 2);
        let (many, few) = (pool.places(100, gauge()), pool.places(100, gauge()));
        let held: Vec<_> = std::iter::from_fn(|| many.place().now_or_never().flatten()).collect();
        let mut of_many: Vec<_> = (0..50).map(|_| Box::pin(many.place())).collect();
        of_many
            .iter_mut()
            .for_each(|waiting| assert!(waiting.now_or_never().is_none()));
        let own = few.place().now_or_never();
        assert!(own.is_some());
        let mut of_few = Box::pin(few.place());
        assert!(of_few.as_mut().now_or_never().is_none());
        // The first two that come back: one for the first that waits, and one for the other worker, past forty-nine.
        let (mut borrowed, _own): (Vec<_>, Vec<_>) = held.into_iter().partition(|place| place._borrowed.is_some());
        drop((borrowed.pop(), borrowed.pop()));
        let first = of_many[0].as_mut().now_or_never();
        let second = of_few.as_mut().now_or_never();
        assert!(first.is_some() && second.is_some());
        assert!(of_many[1].as_mut().now_or_never().is_none());
    }

    proptest! {
        /// Whoever takes and gives back what and when: a worker that holds fewer than its own gets one at once; nobody has more than its
        /// concurrency, and all together no more than there are; with no call left all places are back.
        #[test]
        fn own_places_are_always_there_and_borrowed_ones_come_back(
            calls in 1usize..40,
            concurrency in 1usize..20,
            steps in prop::collection::vec((0usize..6, any::<bool>()), 1..400),
        ) {
            let pool = pool(calls, 6);
            let workers: Vec<_> = (0..6).map(|_| pool.places(concurrency, gauge())).collect();
            let mut held: Vec<Vec<CallPlace<'_>>> = (0..6).map(|_| Vec::new()).collect();
            for (worker, take) in steps {
                if !take {
                    held[worker].pop();
                    continue;
                }
                let own = held[worker].iter().filter(|place| place._borrowed.is_none()).count();
                let place = workers[worker].place().now_or_never().flatten();
                let must = held[worker].len() < concurrency && own < pool.own();
                prop_assert!(place.is_some() || !must, "an own place is taken by another");
                held[worker].extend(place);
                let borrowed = held.iter().flatten().filter(|place| place._borrowed.is_some()).count();
                prop_assert!(held[worker].len() <= concurrency);
                prop_assert!(borrowed <= pool.most_borrowed() && borrowed as i64 == pool.borrowed.get());
            }
            held.clear();
            prop_assert_eq!(pool.borrowable.available_permits(), pool.most_borrowed());
            prop_assert!(workers.iter().all(|worker| worker.own.available_permits() == pool.own()));
        }
    }
}
