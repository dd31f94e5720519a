//! The keys of one partition: where each answer lies, and until when it counts. Pure.
//!
//! A key takes about 200 bytes with what its tables keep free, whatever its answer: bodies stay in Kafka.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::wire::idempotency::identity::Fingerprint;
use crate::wire::idempotency::memory::{Known, Mark};

/// Keys that expire together are let go together, in steps of so many seconds.
const STEP_S: i64 = 30;
/// Keys that are let go in one go.
const AT_ONCE: usize = 64;

/// A key, as short as it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// Our proxies' keys are the text of 16 bytes. Of any other, a digest stands for it.
    pub fn of(key: &Bytes) -> Self {
        let digest = || {
            let mut first = [0; 16];
            first.copy_from_slice(&openssl::sha::sha256(key)[..16]);
            first
        };
        KeyId(Fingerprint::from_text(key).map_or_else(digest, |text| text.0))
    }
}

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub fingerprint: Fingerprint,
    /// Never `Free`: then there is no entry.
    pub known: Known,
    /// Where its record lies. Keys that moved here lie in another partition.
    pub partition: i32,
    pub offset: i64,
    expires_s: u32,
}

impl Entry {
    /// What a mark at this place says. `None`: it says that nothing is known.
    pub fn new(mark: &Mark, partition: i32, offset: i64) -> Option<Self> {
        (mark.known != Known::Free).then(|| Entry {
            fingerprint: mark.fingerprint,
            known: mark.known,
            partition,
            offset,
            expires_s: u32::try_from(mark.expires_ms.div_euclid(1000)).unwrap_or(u32::MAX),
        })
    }

    fn is_over(&self, now_ms: i64) -> bool {
        i64::from(self.expires_s) < now_ms.div_euclid(1000)
    }
}

/// All keys of one partition.
#[derive(Default)]
pub struct Index {
    entries: HashMap<KeyId, Entry>,
    /// Keys by the step in which they expire. A key that was written again stands here twice.
    expiring: BTreeMap<u32, Vec<KeyId>>,
}

impl Index {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What counts of a key now.
    pub fn get(&self, key: KeyId, now_ms: i64) -> Option<Entry> {
        self.entries.get(&key).filter(|entry| !entry.is_over(now_ms)).copied()
    }

    /// Takes in what was written last of a key; `None`: nothing is known any more. What is over already is not kept.
    pub fn set(&mut self, key: KeyId, entry: Option<Entry>, now_ms: i64) {
        match entry.filter(|entry| !entry.is_over(now_ms)) {
            None => drop(self.entries.remove(&key)),
            Some(entry) => {
                self.entries.insert(key, entry);
                self.expiring
                    .entry(step(i64::from(entry.expires_s)))
                    .or_default()
                    .push(key);
            }
        }
        self.let_go(now_ms);
    }

    /// Takes in what was written of other keys before anything that is known here.
    pub fn take_older(&mut self, older: Index, now_ms: i64) {
        for (key, entry) in older.entries {
            if !self.entries.contains_key(&key) {
                self.set(key, Some(entry), now_ms);
            }
        }
    }

    /// Lets some of the keys go that are over; as many as come, on the average.
    pub fn let_go(&mut self, now_ms: i64) {
        let over = step(now_ms.div_euclid(1000));
        for _ in 0..AT_ONCE {
            let Some(mut first) = self.expiring.first_entry().filter(|first| *first.key() < over) else {
                return;
            };
            match first.get_mut().pop() {
                Some(key) if self.entries.get(&key).is_some_and(|entry| entry.is_over(now_ms)) => {
                    self.entries.remove(&key);
                }
                Some(_) => {}
                None => drop(first.remove()),
            }
        }
    }
}

fn step(seconds: i64) -> u32 {
    u32::try_from(seconds / STEP_S).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mark(known: Known, expires_ms: i64) -> Mark {
        Mark {
            key: Bytes::from_static(b"k"),
            fingerprint: Fingerprint([1; 16]),
            known,
            expires_ms,
            partitions: 1,
        }
    }

    fn entry(known: Known, expires_ms: i64, offset: i64) -> Option<Entry> {
        Entry::new(&mark(known, expires_ms), 0, offset)
    }

    fn key(number: u64) -> KeyId {
        KeyId::of(&number.to_string().into())
    }

    #[test]
    fn what_was_written_last_counts_until_it_expires() {
        let mut index = Index::default();
        index.set(key(1), entry(Known::Begun, 60_000, 1), 0);
        index.set(key(1), entry(Known::Answered, 60_000, 2), 0);
        assert_eq!(index.get(key(1), 60_000).map(|found| found.offset), Some(2));
        assert_eq!(index.get(key(1), 61_000), None);
        index.set(key(1), entry(Known::Free, 60_000, 3), 0);
        assert_eq!((index.get(key(1), 0), index.len()), (None, 0));
        index.set(key(2), entry(Known::Answered, 1_000, 4), 2_000);
        assert!(index.is_empty(), "over before it came");
        index.set(key(3), entry(Known::Answered, 60_000, 9), 0);
        let mut older = Index::default();
        older.set(key(3), entry(Known::Answered, 60_000, 5), 0);
        older.set(key(4), entry(Known::Answered, 60_000, 5), 0);
        index.take_older(older, 0);
        assert_eq!([key(3), key(4)].map(|key| index.get(key, 0).unwrap().offset), [9, 5]);
    }

    #[test]
    fn what_is_over_is_let_go_as_others_come() {
        let mut index = Index::default();
        for number in 0..1000 {
            index.set(key(number), entry(Known::Answered, 60_000, 1), 0);
        }
        assert_eq!(index.len(), 1000);
        for number in 1000..1020 {
            index.set(key(number), entry(Known::Answered, 600_000, 1), 120_000);
        }
        assert_eq!(index.len(), 20);
        for _ in 0..10 {
            index.let_go(120_000);
        }
        assert_eq!(index.expiring.len(), 1, "nothing is left of the others");
    }

    #[test]
    fn a_key_takes_what_is_said_of_it() {
        assert_eq!(std::mem::size_of::<(KeyId, Entry)>() + std::mem::size_of::<KeyId>(), 72);
    }

    #[test]
    fn keys_of_others_are_told_apart_too() {
        let ours: Bytes = "00112233445566778899aabbccddeeff".into();
        assert_eq!(KeyId::of(&ours).0[..3], [0x00, 0x11, 0x22]);
        assert_ne!(KeyId::of(&"a".into()), KeyId::of(&"b".into()));
        assert_ne!(KeyId::of(&"00112233445566778899AABBCCDDEEFF".into()), KeyId::of(&ours));
    }

    proptest! {
        /// Whatever comes and goes: what a plain map says is what the index says.
        #[test]
        fn it_says_what_a_plain_map_says(
            steps in prop::collection::vec((0u64..20, prop::sample::select(vec![Known::Answered, Known::Begun, Known::Free]), 0i64..300, 0i64..20), 1..300),
        ) {
            let (mut index, mut plain, mut now_ms) = (Index::default(), HashMap::new(), 0);
            for (offset, (number, known, lives_s, passes_s)) in steps.into_iter().enumerate() {
                now_ms += passes_s * 1000;
                let written = entry(known, now_ms + lives_s * 1000, offset as i64);
                index.set(key(number), written, now_ms);
                plain.insert(key(number), written);
                for (key, written) in &plain {
                    let counts = written.filter(|entry| !entry.is_over(now_ms));
                    prop_assert_eq!(index.get(*key, now_ms), counts);
                }
            }
            prop_assert!(index.len() <= plain.len());
        }
    }
}
