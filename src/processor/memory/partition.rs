//! What is known and what runs in one partition. Lives on its worker's Arbiter, through all assignments of the partition: what still runs
//! of an earlier one is not begun again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use prometheus::IntGauge;
use tokio::sync::watch;

use crate::processor::memory::index::{Entry, Index, KeyId};
use crate::processor::memory::restore::Restored;
use crate::wire::Response;
use crate::wire::idempotency::identity::Fingerprint;

/// The memory of one partition.
pub struct PartitionMemory {
    pub number: i32,
    state: RefCell<State>,
    /// True once all was read that was known when the partition was assigned.
    is_restored: watch::Sender<bool>,
    /// Keys that the topic's workers know.
    keys: IntGauge,
}

#[derive(Default)]
struct State {
    /// The assignment that it is restored for.
    epoch: Option<u32>,
    index: Index,
    /// Partitions of the request topic, as of the last restore.
    partitions: i32,
    /// What was written since an assignment, and may not have been read back.
    meanwhile: Vec<(KeyId, Option<Entry>)>,
    running: HashMap<KeyId, Running>,
}

struct Running {
    fingerprint: Fingerprint,
    answer: Ending,
}

/// How a request ends that runs: with an answer that is remembered, or, where the sender is gone, with none.
pub type Ending = watch::Receiver<Option<Rc<Response>>>;

/// What is to be done with a request.
pub enum Decision {
    /// It runs; whoever comes meanwhile hears how it ends.
    Run(watch::Sender<Option<Rc<Response>>>),
    /// The first one runs.
    Wait(Ending),
    /// The first one ended.
    Known(Entry),
    /// The first one was another request.
    Reused,
}

impl PartitionMemory {
    pub fn new(number: i32, keys: IntGauge) -> Self {
        PartitionMemory {
            number,
            state: RefCell::default(),
            is_restored: watch::Sender::new(false),
            keys,
        }
    }

    /// True: it was assigned anew, and has to be restored.
    pub fn begin(&self, epoch: u32) -> bool {
        let mut state = self.state.borrow_mut();
        if state.epoch == Some(epoch) {
            return false;
        }
        state.epoch = Some(epoch);
        state.meanwhile.clear();
        self.empty(&mut state);
        true
    }

    /// All was read that was known.
    pub fn restored(&self, epoch: u32, restored: Restored, now_ms: i64) {
        let mut state = self.state.borrow_mut();
        if state.epoch != Some(epoch) {
            return;
        }
        state.index = restored.index;
        state.partitions = restored.partitions;
        for (key, entry) in std::mem::take(&mut state.meanwhile) {
            state.index.set(key, entry, now_ms);
        }
        self.keys.add(state.index.len() as i64);
        self.is_restored.send_replace(true);
    }

    /// The partition went to another owner.
    pub fn let_go(&self, epoch: u32) {
        let mut state = self.state.borrow_mut();
        if state.epoch == Some(epoch) {
            state.epoch = None;
            self.empty(&mut state);
        }
    }

    fn empty(&self, state: &mut State) {
        if self.is_restored.send_replace(false) {
            self.keys.sub(state.index.len() as i64);
        }
        state.index = Index::default();
    }

    /// Waits until it is restored. Cancel safe.
    pub async fn is_there(&self) {
        // Err: never, the sender lives as long as this.
        drop(self.is_restored.subscribe().wait_for(|restored| *restored).await);
    }

    /// How many partitions the request topic has.
    pub fn partitions(&self) -> i32 {
        self.state.borrow().partitions
    }

    /// Keys that are known.
    pub fn len(&self) -> usize {
        self.state.borrow().index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be done with a request.
    pub fn decide(&self, key: KeyId, fingerprint: Fingerprint, now_ms: i64) -> Decision {
        let mut state = self.state.borrow_mut();
        if let Some(running) = state.running.get(&key) {
            return match running.fingerprint == fingerprint {
                true => Decision::Wait(running.answer.clone()),
                false => Decision::Reused,
            };
        }
        match state.index.get(key, now_ms) {
            Some(entry) if entry.fingerprint == fingerprint => Decision::Known(entry),
            Some(_) => Decision::Reused,
            None => {
                let (ends, answer) = watch::channel(None);
                state.running.insert(key, Running { fingerprint, answer });
                Decision::Run(ends)
            }
        }
    }

    /// Kafka has what was written of a key.
    pub fn written(&self, key: KeyId, entry: Option<Entry>, now_ms: i64) {
        let mut state = self.state.borrow_mut();
        if !*self.is_restored.borrow() {
            state.meanwhile.push((key, entry));
            return;
        }
        self.change(&mut state, |index| index.set(key, entry, now_ms));
    }

    /// Lets some of the keys go that have expired.
    pub fn forget_expired(&self, now_ms: i64) {
        if *self.is_restored.borrow() {
            self.change(&mut self.state.borrow_mut(), |index| index.let_go(now_ms));
        }
    }

    /// Changes the index of a memory that is restored.
    fn change(&self, state: &mut State, change: impl FnOnce(&mut Index)) {
        let before = state.index.len() as i64;
        change(&mut state.index);
        self.keys.add(state.index.len() as i64 - before);
    }

    /// A request runs no more.
    pub fn ended(&self, key: KeyId) {
        self.state.borrow_mut().running.remove(&key);
    }
}

impl Drop for PartitionMemory {
    fn drop(&mut self) {
        self.empty(&mut self.state.borrow_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::FutureExt;

    use crate::wire::idempotency::memory::{Known, Mark};

    fn memory() -> (PartitionMemory, IntGauge) {
        let keys = IntGauge::new("a", "a").unwrap();
        (PartitionMemory::new(3, keys.clone()), keys)
    }

    fn key(text: &'static str) -> KeyId {
        KeyId::of(&Bytes::from_static(text.as_bytes()))
    }

    fn entry(offset: i64) -> Option<Entry> {
        let mark = Mark {
            key: Bytes::new(),
            fingerprint: Fingerprint([1; 16]),
            known: Known::Answered,
            expires_ms: 60_000,
            partitions: 4,
        };
        Entry::new(&mark, 3, offset)
    }

    fn restored(keys: &[(&'static str, i64)]) -> Restored {
        let mut index = Index::default();
        for (name, offset) in keys {
            index.set(key(name), entry(*offset), 0);
        }
        Restored { index, partitions: 4 }
    }

    const SAME: Fingerprint = Fingerprint([1; 16]);
    const OTHER: Fingerprint = Fingerprint([2; 16]);

    #[test]
    fn one_runs_and_the_others_wait_for_it() {
        let (memory, _) = memory();
        memory.begin(1);
        memory.restored(1, restored(&[]), 0);
        let Decision::Run(ends) = memory.decide(key("a"), SAME, 0) else {
            panic!("the first")
        };
        let Decision::Wait(mut answer) = memory.decide(key("a"), SAME, 0) else {
            panic!("the second")
        };
        assert!(matches!(memory.decide(key("a"), OTHER, 0), Decision::Reused));
        assert!(matches!(memory.decide(key("b"), OTHER, 0), Decision::Run(_)));
        assert!(answer.changed().now_or_never().is_none());
        memory.ended(key("a"));
        drop(ends);
        assert!(
            answer.changed().now_or_never().unwrap().is_err(),
            "it ended without an answer"
        );
        assert!(
            matches!(memory.decide(key("a"), OTHER, 0), Decision::Run(_)),
            "and the next runs"
        );
    }

    #[test]
    fn what_is_known_is_not_run_again_and_belongs_to_one_request() {
        let (memory, keys) = memory();
        assert!(memory.begin(1) && !memory.begin(1));
        assert!(memory.is_there().now_or_never().is_none());
        memory.restored(1, restored(&[("a", 7)]), 0);
        assert!(memory.is_there().now_or_never().is_some());
        assert_eq!((memory.partitions(), keys.get()), (4, 1));
        assert!(matches!(memory.decide(key("a"), SAME, 0), Decision::Known(found) if found.offset == 7));
        assert!(matches!(memory.decide(key("a"), OTHER, 0), Decision::Reused));
        memory.written(key("b"), entry(8), 0);
        assert_eq!((memory.len(), keys.get()), (2, 2));
        memory.let_go(1);
        assert_eq!(keys.get(), 0);
    }

    #[test]
    fn what_has_expired_is_let_go_and_counted_so() {
        let (memory, keys) = memory();
        memory.begin(1);
        memory.restored(1, restored(&[("a", 7), ("b", 8)]), 0);
        memory.forget_expired(60_000);
        assert_eq!((memory.len(), keys.get()), (2, 2), "they count until 60 s");
        memory.forget_expired(120_000);
        assert_eq!((memory.len(), keys.get()), (0, 0));
    }

    #[test]
    fn what_ran_through_a_new_assignment_is_known_in_it() {
        let (memory, keys) = memory();
        memory.begin(1);
        memory.restored(1, restored(&[("a", 7)]), 0);
        let Decision::Run(_ends) = memory.decide(key("b"), SAME, 0) else {
            panic!("the first")
        };
        memory.begin(2);
        memory.restored(1, restored(&[]), 0);
        assert!(
            memory.is_there().now_or_never().is_none(),
            "that was an earlier assignment's"
        );
        memory.written(key("b"), entry(9), 0);
        memory.restored(2, restored(&[("a", 7)]), 0);
        assert!(
            matches!(memory.decide(key("b"), SAME, 0), Decision::Wait(_)),
            "it has not ended"
        );
        memory.ended(key("b"));
        assert!(matches!(memory.decide(key("b"), SAME, 0), Decision::Known(found) if found.offset == 9));
        assert_eq!(keys.get(), 2);
        drop(memory);
        assert_eq!(keys.get(), 0);
    }
}
