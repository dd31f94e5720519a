//! Admission: how many requests may be in flight, in all and for each request topic. The first bounds memory; the second keeps one slow
//! topic from taking all places. A request that would only wait in vain is not admitted either.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::IntGauge;

use crate::proxy::admission::limit::ALWAYS_ADMITTED;
use crate::proxy::admission::pace::Pace;
use crate::proxy::admission::span::Seen;

/// The limits and how far they are used up. Clones share them.
#[derive(Clone)]
pub struct Admission(Arc<Limits>);

struct Limits {
    total: AtomicUsize,
    max_total: AtomicUsize,
    max_per_topic: AtomicUsize,
    gauge: IntGauge,
}

/// The requests of one topic that are in flight.
#[derive(Debug, Default)]
pub struct TopicLoad {
    /// All of them. Written as permits are taken and given back.
    pending: AtomicUsize,
    /// Those whose answer has not begun.
    waiting: AtomicUsize,
    /// One for each timeout that its requests have, in the order in which they first came. Routes bound their number.
    queues: ArcSwap<Vec<Arc<Queue>>>,
}

/// A topic's requests of one timeout, and what became of them since the last tick. A queue that is short enough for one timeout is too
/// long for a shorter one, and an answer that is quick for one timeout is slow for another.
#[derive(Debug)]
pub struct Queue {
    timeout: Duration,
    /// Requests whose answer has not begun.
    pending: AtomicUsize,
    /// Requests that may be in flight. Written each tick, from the estimate.
    limit: AtomicUsize,
    answered: AtomicU64,
    /// Microseconds; 0: no answer came.
    quickest: AtomicU64,
    in_vain: AtomicU64,
    refused: AtomicU64,
    came: AtomicBool,
}

/// The right to be in flight; given back on drop.
pub struct Permit {
    limits: Arc<Limits>,
    load: Arc<TopicLoad>,
    queue: Arc<Queue>,
    /// Its answer has not begun.
    waits: bool,
}

impl Permit {
    /// The queue that its request belongs to.
    pub fn queue(&self) -> Arc<Queue> {
        self.queue.clone()
    }

    /// The answer has begun: its request waits no more. The places in the topic and in all are held on, until drop. Without this, streams
    /// that stay open would count as a queue that does not move.
    pub fn head_came(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.queue.pending.fetch_sub(1, Ordering::Relaxed);
            self.load.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Admission {
    /// `gauge` shows the requests in flight.
    pub fn new(max_total: usize, max_per_topic: usize, gauge: IntGauge) -> Self {
        Admission(Arc::new(Limits {
            total: AtomicUsize::new(0),
            max_total: max_total.into(),
            max_per_topic: max_per_topic.into(),
            gauge,
        }))
    }

    /// From now on these are the limits. What is in flight beyond them stays.
    pub fn set_limits(&self, max_total: usize, max_per_topic: usize) {
        self.0.max_total.store(max_total, Ordering::Relaxed);
        self.0.max_per_topic.store(max_per_topic, Ordering::Relaxed);
    }

    /// A permit. `None`: a limit is reached, or a reply within `timeout` is not to be expected. Never waits.
    pub fn admit(&self, load: &Arc<TopicLoad>, timeout: Duration) -> Option<Permit> {
        let queue = load.queue(timeout);
        queue.came.store(true, Ordering::Relaxed);
        // Beyond them, a timeout with nothing in flight still admits one, to learn whether the queue moves.
        let few = load.waiting.load(Ordering::Relaxed) < ALWAYS_ADMITTED;
        if !few && !queue.moves() {
            queue.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        take(&load.pending, self.0.max_per_topic.load(Ordering::Relaxed))?;
        if take(&self.0.total, self.0.max_total.load(Ordering::Relaxed)).is_none() {
            load.pending.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.0.gauge.inc();
        load.waiting.fetch_add(1, Ordering::Relaxed);
        queue.pending.fetch_add(1, Ordering::Relaxed);
        Some(Permit {
            limits: self.0.clone(),
            load: load.clone(),
            queue,
            waits: true,
        })
    }
}

impl TopicLoad {
    /// The queue of the requests that have this timeout.
    pub fn queue(&self, timeout: Duration) -> Arc<Queue> {
        let find = |queues: &[Arc<Queue>]| queues.iter().find(|queue| queue.timeout == timeout).cloned();
        if let Some(queue) = find(&self.queues.load()) {
            return queue;
        }
        let new = Arc::new(Queue::new(timeout));
        self.queues.rcu(|queues| match find(queues) {
            Some(_) => queues.clone(),
            None => Arc::new(queues.iter().chain([&new]).cloned().collect()),
        });
        find(&self.queues.load()).unwrap_or(new)
    }

    /// Takes what happened since the last tick into the estimates, one for each queue. Called by the router each `span::TICK`.
    pub fn tick(&self, paces: &mut Vec<Pace>) {
        let queues = self.queues.load();
        paces.resize_with(queues.len(), Pace::default);
        for (queue, pace) in queues.iter().zip(paces) {
            let limit = pace.tick(queue.take_seen(), queue.pending.load(Ordering::Relaxed));
            queue.limit.store(limit.unwrap_or(usize::MAX), Ordering::Relaxed);
        }
    }

    /// Forgets what happened since the last tick: this process stood still, and what timed out says nothing about the topic.
    pub fn skip_tick(&self) {
        for queue in self.queues.load().iter() {
            queue.take_seen();
        }
    }
}

impl Queue {
    fn new(timeout: Duration) -> Self {
        Queue {
            timeout,
            pending: AtomicUsize::new(0),
            limit: AtomicUsize::new(usize::MAX),
            answered: AtomicU64::new(0),
            quickest: AtomicU64::new(0),
            in_vain: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            came: AtomicBool::new(false),
        }
    }

    /// One more would be answered in time. With none in flight that is always assumed.
    fn moves(&self) -> bool {
        let pending = self.pending.load(Ordering::Relaxed);
        pending == 0 || pending < self.limit.load(Ordering::Relaxed)
    }

    /// A request got its reply, this long after it was produced.
    pub fn answered(&self, after: Duration) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let after = micros(after);
        let quicker = |before| (before == 0 || after < before).then_some(after);
        // Err: an earlier one was quicker.
        let _ = self
            .quickest
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, quicker);
    }

    /// A request reached its deadline.
    pub fn waited_in_vain(&self) {
        self.in_vain.fetch_add(1, Ordering::Relaxed);
    }

    /// What happened since this was last called.
    fn take_seen(&self) -> Seen {
        let taken = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        let duration = |micros| (micros > 0).then(|| Duration::from_micros(micros));
        Seen {
            answered: taken(&self.answered),
            quickest: duration(taken(&self.quickest)),
            in_vain: taken(&self.in_vain),
            refused: taken(&self.refused),
            timeout: self.came.swap(false, Ordering::Relaxed).then_some(self.timeout),
        }
    }
}

/// At least 1: 0 stands for none.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}

fn take(count: &AtomicUsize, limit: usize) -> Option<usize> {
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            (taken < limit).then_some(taken + 1)
        })
        .ok()
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.head_came();
        self.load.pending.fetch_sub(1, Ordering::Relaxed);
        self.limits.total.fetch_sub(1, Ordering::Relaxed);
        self.limits.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn one_topic_cannot_take_the_others_places() {
        let gauge = IntGauge::new("g", "g").unwrap();
        let admission = Admission::new(3, 2, gauge.clone());
        let (slow, quick) = (Arc::new(TopicLoad::default()), Arc::new(TopicLoad::default()));
        let held: Vec<_> = (0..2).map(|_| admission.admit(&slow, TIMEOUT).unwrap()).collect();
        assert!(admission.admit(&slow, TIMEOUT).is_none());
        let third = admission.admit(&quick, TIMEOUT).unwrap();
        assert!(admission.admit(&quick, TIMEOUT).is_none(), "the total is reached");
        assert_eq!(gauge.get(), 3);
        drop((held, third));
        assert_eq!(gauge.get(), 0);
        assert!(admission.admit(&slow, TIMEOUT).is_some());
    }

    #[test]
    fn where_nothing_moves_a_few_are_admitted_and_their_answers_open_the_door() {
        let admission = Admission::new(1000, 1000, IntGauge::new("g", "g").unwrap());
        let (load, mut paces) = (Arc::new(TopicLoad::default()), Vec::new());
        let queue = load.queue(TIMEOUT);
        let held: Vec<_> = (0..100).map(|_| admission.admit(&load, TIMEOUT).unwrap()).collect();
        for _ in 0..2 {
            queue.waited_in_vain();
            load.tick(&mut paces);
        }
        assert!(admission.admit(&load, TIMEOUT).is_none());
        drop(held);
        let few: Vec<_> = std::iter::from_fn(|| admission.admit(&load, TIMEOUT)).collect();
        assert_eq!(few.len(), ALWAYS_ADMITTED);
        for _ in 0..2 {
            (0..10).for_each(|_| queue.answered(Duration::from_millis(5)));
            load.tick(&mut paces);
        }
        assert!(admission.admit(&load, TIMEOUT).is_some());
    }
    #[test]
    fn open_streams_are_no_queue_but_hold_their_places() {
        let admission = Admission::new(1000, 21, IntGauge::new("g", "g").unwrap());
        let (load, mut paces) = (Arc::new(TopicLoad::default()), Vec::new());
        let queue = load.queue(TIMEOUT);
        let mut streams: Vec<_> = (0..20).map(|_| admission.admit(&load, TIMEOUT).unwrap()).collect();
        streams.iter_mut().for_each(Permit::head_came);
        // One that waits, so that the queue is not empty.
        let waits = admission.admit(&load, TIMEOUT).unwrap();
        for _ in 0..2 {
            queue.waited_in_vain();
            load.tick(&mut paces);
        }
        assert!(
            admission.admit(&load, TIMEOUT).is_none(),
            "the topic's places are taken"
        );
        streams.pop();
        assert!(admission.admit(&load, TIMEOUT).is_some());
        drop((streams, waits));
        assert_eq!(queue.pending.load(Ordering::Relaxed), 0);
        assert_eq!(load.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(load.pending.load(Ordering::Relaxed), 0);
    }
}
