//! Holds a producer's records back while a batch is under way, and hands them over together once it is acknowledged.
//!
//! Batches form that way without lingering: a record that finds nothing under way goes at once. librdkafka would form the same batches by
//! itself. But once five messages of a partition are unacknowledged and more wait, it spins on `poll(0)` (`rdkafka_broker.c:4064`, 2.12),
//! which cost a fifth of both roles' CPU time. With nothing waiting inside librdkafka, it sleeps.
//!
//! Enough records for a full batch go at once, whatever is under way. Two flaws remain. A batch enters librdkafka record by record, so its
//! first records may be sent before the rest is in. Handing it over on librdkafka's own thread (an interceptor) would avoid that, but
//! librdkafka forbids to produce there. A short `linger.ms` instead of this gate would not help: librdkafka busy-waits through less than a
//! millisecond. Under load, batches do linger for a whole one ([`super::linger`]).
//!
//! When nothing was acknowledged within `patience` of the last hand-over, the gate opens for `OPEN_FOR`: during that time all records pass
//! freely. Afterwards the next batch is waited for again. So a partition without a leader delays the others by `patience`, once in each
//! `OPEN_FOR`.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

/// This many held records go at once: they are a batch already.
const FULL: usize = 1_000;
/// How long the gate stays open after a batch was not acknowledged in time. Its partition may have lost its leader, and without this
/// each further record of that partition would delay the others again.
const OPEN_FOR: Duration = Duration::from_secs(1);

struct Held<T> {
    item: T,
    bytes: usize,
}

/// What is about to be handed over.
pub struct Batch {
    pub items: usize,
    /// Since the batch before was handed over.
    pub since_last: Duration,
    /// Nothing that was handed over before is under way.
    pub is_alone: bool,
}

/// The records of one client, in the order they came.
pub struct Gate<T> {
    /// The two ends of the queue of items held back.
    entrance: Sender<Held<T>>,
    held: Receiver<Held<T>>,
    held_bytes: AtomicUsize,
    /// This many held bytes go at once: they are a batch already.
    full_bytes: usize,
    /// How long a batch is waited for before the gate opens.
    patience: Duration,
    /// About how many items are held at most: senders at the same moment may pass it by one each.
    room: usize,
    /// Handed over, and not reported yet.
    under_way: AtomicUsize,
    /// When records were last handed over, in microseconds since `began`.
    last_hand_over: AtomicU64,
    /// Since when what is under way waits for an acknowledgement; in microseconds since `began`, as the next one.
    waits_since: AtomicU64,
    /// Until then the gate is open.
    open_until: AtomicU64,
    /// When the gate was made.
    began: Instant,
    /// A thread is handing over. Only one may at a time, or records would overtake each other.
    handing_over: AtomicBool,
}

// Sequentially consistent, because two threads decide from each other's writes: the one that holds an item and finds a batch under way,
// and the one that takes the batch's last report and finds nothing held. With a weaker order both could leave the item behind.
const ORDER: Ordering = Ordering::SeqCst;

impl<T> Gate<T> {
    /// `full_bytes` is the size of the largest batch, `patience` how long one is waited for, `room` how many items are held at most.
    pub fn new(full_bytes: usize, patience: Duration, room: usize) -> Self {
        // `hold` bounds it: a bounded channel would take the memory for all its places at once.
        let (entrance, held) = crossbeam_channel::unbounded();
        Gate {
            entrance,
            held,
            held_bytes: AtomicUsize::new(0),
            full_bytes,
            patience,
            room,
            under_way: AtomicUsize::new(0),
            last_hand_over: AtomicU64::new(0),
            waits_since: AtomicU64::new(0),
            open_until: AtomicU64::new(0),
            began: Instant::now(),
            handing_over: AtomicBool::new(false),
        }
    }

    /// Takes in an item of this many bytes. The caller must call `release` next.
    ///
    /// # Errors
    /// There is no room; the item comes back.
    pub fn hold(&self, item: T, bytes: usize) -> Result<(), T> {
        if self.held() >= self.room {
            return Err(item);
        }
        self.held_bytes.fetch_add(bytes, ORDER);
        // Err: never, the receiver is ours.
        self.entrance
            .send(Held { item, bytes })
            .map_err(|closed| closed.into_inner().item)
    }

    /// Hands over what is held, if it may go now. Each item handed over must be reported once, within `hand_over` or later. `begin` hears
    /// of each batch before its first item.
    pub fn release(&self, begin: impl Fn(Batch), hand_over: impl Fn(T)) {
        while self.may_go() && !self.handing_over.swap(true, ORDER) {
            let now = self.now();
            let before = self.last_hand_over.swap(now, ORDER);
            let items = self.held();
            begin(Batch {
                items,
                since_last: Duration::from_micros(now.saturating_sub(before)),
                is_alone: self.under_way.load(ORDER) == 0,
            });
            for _ in 0..items {
                // Counted before it leaves, so that `is_idle` never misses it.
                if self.under_way.fetch_add(1, ORDER) == 0 {
                    self.acknowledged();
                }
                match self.take() {
                    Some(item) => hand_over(item),
                    None => drop(self.reported()),
                }
            }
            self.handing_over.store(false, ORDER);
        }
    }

    /// An item that was handed over is acknowledged, or failed. True: it was the last one under way, and `release` must follow, unless
    /// this is called within `hand_over`, whose `release` goes on by itself.
    pub fn reported(&self) -> bool {
        self.under_way.fetch_sub(1, ORDER) == 1
    }

    /// An item that was handed over is acknowledged; `reported` is called besides.
    pub fn acknowledged(&self) {
        self.waits_since.store(self.now(), Ordering::Relaxed);
    }

    /// Something is under way, and nothing was acknowledged for so long.
    pub fn is_stuck(&self, limit: Duration) -> bool {
        let waits = self.now().saturating_sub(self.waits_since.load(Ordering::Relaxed));
        self.under_way.load(ORDER) > 0 && waits >= limit.as_micros() as u64
    }

    /// Takes out the next held item, even while a batch is under way.
    pub fn take(&self) -> Option<T> {
        let Held { item, bytes } = self.held.try_recv().ok()?;
        self.held_bytes.fetch_sub(bytes, ORDER);
        Some(item)
    }

    /// How many items are held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Nothing is held back, and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.held() == 0 && self.under_way.load(ORDER) == 0
    }

    fn may_go(&self) -> bool {
        let held = self.held();
        if held == 0 {
            return false;
        }
        if self.under_way.load(ORDER) == 0 || held >= FULL || self.held_bytes.load(ORDER) >= self.full_bytes {
            return true;
        }
        let now = self.now();
        if now < self.open_until.load(ORDER) {
            return true;
        }
        // Another thread may have handed over since `now`.
        let waited = now.saturating_sub(self.last_hand_over.load(ORDER));
        let too_long = waited >= self.patience.as_micros() as u64;
        if too_long {
            self.open_until.store(now + OPEN_FOR.as_micros() as u64, ORDER);
        }
        too_long
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Longer than any test.
    const PATIENCE: Duration = Duration::from_secs(3600);
    const ROOM: usize = 3 * FULL;

    fn release(gate: &Gate<u32>) -> Vec<u32> {
        let (sender, handed_over) = crossbeam_channel::unbounded();
        gate.release(|_| {}, |item| sender.send(item).unwrap());
        handed_over.try_iter().collect()
    }

    #[test]
    fn what_comes_while_a_batch_is_under_way_goes_together_after_it() {
        let gate = Gate::new(1000, PATIENCE, ROOM);
        gate.hold(1, 1).unwrap();
        assert_eq!(release(&gate), [1]);
        for item in 2..5 {
            gate.hold(item, 1).unwrap();
            assert!(release(&gate).is_empty());
        }
        assert!(gate.reported());
        assert_eq!(release(&gate), [2, 3, 4]);
        assert!(!gate.reported() && !gate.reported() && gate.reported());
        assert!(release(&gate).is_empty());
    }

    #[test]
    fn it_is_stuck_while_something_under_way_is_not_acknowledged() {
        let gate = Gate::new(1000, PATIENCE, ROOM);
        let limit = Duration::from_millis(50);
        std::thread::sleep(limit);
        assert!(!gate.is_stuck(limit), "nothing is under way");
        gate.hold(1, 1).unwrap();
        gate.hold(2, 1).unwrap();
        assert_eq!(release(&gate), [1, 2]);
        assert!(!gate.is_stuck(PATIENCE));
        std::thread::sleep(limit);
        assert!(gate.is_stuck(limit));
        // One that failed is no acknowledgement.
        gate.reported();
        assert!(gate.is_stuck(limit));
        gate.acknowledged();
        assert!(!gate.is_stuck(PATIENCE));
        gate.reported();
        std::thread::sleep(limit);
        assert!(!gate.is_stuck(limit), "nothing is under way");
    }

    #[test]
    fn a_full_batch_waits_for_nothing() {
        let gate = Gate::new(1000, PATIENCE, ROOM);
        gate.hold(1, 1).unwrap();
        release(&gate);
        gate.hold(2, 400).unwrap();
        assert!(release(&gate).is_empty());
        gate.hold(3, 600).unwrap();
        assert_eq!(release(&gate), [2, 3]);
        for item in 0..FULL as u32 {
            assert!(release(&gate).is_empty());
            gate.hold(item, 0).unwrap();
        }
        assert_eq!(release(&gate).len(), FULL);
    }

    #[test]
    fn a_batch_that_takes_long_holds_up_nobody() {
        let gate = Gate::new(1000, Duration::from_millis(20), ROOM);
        gate.hold(1, 1).unwrap();
        release(&gate);
        gate.hold(2, 1).unwrap();
        while release(&gate).is_empty() {
            std::thread::yield_now();
        }
        assert!(gate.began.elapsed() >= gate.patience);
        // Nor do the next ones that are stuck behind it.
        for item in 3..10 {
            gate.hold(item, 1).unwrap();
            assert_eq!(release(&gate), [item]);
        }
        // Once the gate has closed again, the next batch is waited for.
        gate.open_until.store(0, ORDER);
        gate.hold(10, 1).unwrap();
        gate.last_hand_over.store(gate.now() + 3_600_000_000, ORDER);
        assert!(release(&gate).is_empty());
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let gate = Gate::new(usize::MAX, PATIENCE, ROOM);
        for item in 0..ROOM {
            gate.hold(item, 1).unwrap();
        }
        assert_eq!(gate.hold(ROOM, 1), Err(ROOM));
        assert_eq!(std::iter::from_fn(|| gate.take()).count(), ROOM);
        assert!(gate.is_idle() && gate.held_bytes.load(ORDER) == 0);
    }

    /// Reports come from another thread than items; none may be left behind, and none overtake another of its sender.
    #[test]
    fn nothing_is_left_behind_whoever_comes_between() {
        const EACH: u32 = 20_000;
        let gate = Arc::new(Gate::new(1000, PATIENCE, ROOM));
        let (through, came) = crossbeam_channel::unbounded::<u32>();
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let (gate, through) = (gate.clone(), through.clone());
                std::thread::spawn(move || {
                    for number in 0..EACH {
                        let mut item = number * 2 + sender;
                        while let Err(back) = gate.hold(item, 1) {
                            item = back;
                            std::thread::yield_now();
                        }
                        gate.release(|_| {}, |item| through.send(item).unwrap());
                    }
                })
            })
            .collect();
        let mut last = [None, None];
        for _ in 0..2 * EACH {
            // There is no polling thread here that would repair a lost wake-up.
            let item = came.recv_timeout(Duration::from_secs(10)).unwrap();
            let sender = &mut last[item as usize % 2];
            assert!(*sender < Some(item), "{sender:?} {item}");
            *sender = Some(item);
            if gate.reported() {
                gate.release(|_| {}, |item| through.send(item).unwrap());
            }
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert!(gate.is_idle());
    }
}
