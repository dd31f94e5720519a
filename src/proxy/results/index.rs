//! Where each result is, by its correlation id: at most 100 bytes each, whatever its size, and a bounded number of them. Pure.
//!
//! Entries lie in a slab; those that are over in one second are a queue, so that these go first in whatever order partitions are read,
//! and however long each topic's are kept. Of
//! results that had to go so, the ids are remembered, as many again: they are gone, and not awaited.

mod slab;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use self::slab::{Entry, Gone, Slab};
use crate::wire::CorrelationId;
use crate::wire::stream::{StreamId, Then};

/// Results that come in several records and are not whole yet, at most. Where there are more, the one that began first is given up.
const MOST_OPEN: usize = 10_000;

/// A record of a results topic, as far as it is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub id: CorrelationId,
    /// The number of its topic.
    pub topic: u16,
    pub partition: i32,
    pub offset: i64,
    /// When it was written, in Unix time in s.
    pub at: u32,
    pub what: What,
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A whole result.
    Whole {
        status: u16,
        /// A processor made it, because it had no answer of a backend.
        is_error: bool,
    },
    /// A part of one.
    Piece {
        stream: StreamId,
        /// From 0.
        seq: u64,
        /// Of the first.
        status: u16,
        then: Then,
    },
    /// Nobody is to have a result.
    Cancel,
}

/// Where a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub topic: u16,
    pub partition: i32,
    pub first: i64,
    /// Records of others may lie between the two.
    pub last: i64,
    pub status: u16,
}

/// What is known of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Result(Place),
    /// There was a result, or its request was cancelled.
    Gone,
    Nothing,
}

/// A result of which some records have come.
struct Open {
    stream: StreamId,
    topic: u16,
    partition: i32,
    first: i64,
    status: u16,
    /// The number of the next piece.
    next: u64,
    began: u32,
}

/// All results that this process knows.
pub struct Index {
    max: usize,
    /// How long results of each topic are kept.
    retention: Vec<Duration>,
    slab: Slab,
    /// By `key`: the place in the slab.
    by_id: HashMap<[u8; 8], u32>,
    /// By the second in which they are over: the first and the last place of a queue.
    by_end: BTreeMap<u32, (u32, u32)>,
    open: HashMap<u64, Open>,
    gone: Gone,
    /// How many were removed: their time was over, or there were too many.
    pub expired: u64,
    pub evicted: u64,
}

impl Index {
    /// Of at most `max` results. `retention`: of each topic, by its number.
    pub fn new(max: usize, retention: Vec<Duration>) -> Self {
        Index {
            max: max.max(1),
            retention,
            slab: Slab::default(),
            by_id: HashMap::new(),
            by_end: BTreeMap::new(),
            open: HashMap::new(),
            gone: Gone::new(max),
            expired: 0,
            evicted: 0,
        }
    }

    /// How many results there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Takes in a record. True: there is a result now, or there will be none.
    pub fn take(&mut self, stored: Stored, now: u32) -> bool {
        if self.end(stored.at, stored.topic) <= now {
            return false;
        }
        match stored.what {
            What::Whole { status, is_error } => {
                let kind = if is_error { Kind::Error } else { Kind::Answer };
                self.put(stored, stored.offset, status, kind)
            }
            What::Cancel => self.put(stored, stored.offset, 0, Kind::Cancelled),
            What::Piece {
                stream,
                seq,
                status,
                then,
            } => self.take_piece(stored, (stream, seq, status), then),
        }
    }

    /// The answer whose pieces began last is followed: an earlier one has no end where its processor was killed.
    fn take_piece(&mut self, stored: Stored, (stream, seq, status): (StreamId, u64, u16), then: Then) -> bool {
        let key = stored.id.low64();
        if seq == 0 {
            if self.open.len() >= MOST_OPEN && !self.open.contains_key(&key) {
                let first = self.open.iter().min_by_key(|(_, open)| open.began).map(|(key, _)| *key);
                first.and_then(|first| self.open.remove(&first));
            }
            let open = Open {
                stream,
                topic: stored.topic,
                partition: stored.partition,
                first: stored.offset,
                status,
                next: 0,
                began: stored.at,
            };
            self.open.insert(key, open);
        }
        let Some(open) = self.open.get_mut(&key) else {
            return false;
        };
        let is_next = open.stream == stream
            && (open.topic, open.partition) == (stored.topic, stored.partition)
            && open.next == seq;
        if !is_next {
            return false;
        }
        open.next += 1;
        let (first, status) = (open.first, open.status);
        let kind = match then {
            Then::More => return false,
            Then::End => Kind::Answer,
            // What came of it is told, and then cut off, unless it is answered again.
            Then::Cut(_) => Kind::Error,
        };
        self.open.remove(&key);
        self.put(stored, first, status, kind)
    }

    /// A cancel stays, and so does the first answer of a backend. In place of an error an answer counts: its request was run again.
    fn put(&mut self, stored: Stored, first: i64, status: u16, kind: Kind) -> bool {
        let key = key_of(stored.id);
        if let Some(place) = self.by_id.get(&key).copied() {
            let known = self.slab.get(place);
            let stays = known.id == stored.id.to_bytes() && !kind.replaces(Kind::of(known.kind));
            if stays {
                return false;
            }
            self.remove(place);
        }
        let Ok(records) = u32::try_from(stored.offset - first) else {
            return false;
        };
        let place = self.slab.insert(Entry {
            id: stored.id.to_bytes(),
            first: first.to_be_bytes(),
            records,
            partition: stored.partition,
            at: stored.at,
            next: slab::NONE,
            topic: stored.topic,
            status,
            kind: kind as u8,
        });
        self.by_id.insert(key, place);
        let queue = self
            .by_end
            .entry(self.end(stored.at, stored.topic))
            .or_insert((place, place));
        if queue.1 != place {
            self.slab.get_mut(queue.1).next = place;
            queue.1 = place;
        }
        while self.by_id.len() > self.max {
            self.evict_oldest();
        }
        true
    }

    /// What is known of an id.
    pub fn find(&self, id: CorrelationId, now: u32) -> Found {
        let Some(place) = self.by_id.get(&key_of(id)) else {
            return match self.gone.has(key_of(id)) {
                true => Found::Gone,
                false => Found::Nothing,
            };
        };
        let entry = self.slab.get(*place);
        if entry.id != id.to_bytes() {
            return Found::Nothing;
        }
        let is_over = self.end(entry.at, entry.topic) <= now;
        if is_over || Kind::of(entry.kind) == Kind::Cancelled {
            return Found::Gone;
        }
        let first = i64::from_be_bytes(entry.first);
        Found::Result(Place {
            topic: entry.topic,
            partition: entry.partition,
            first,
            last: first + i64::from(entry.records),
            status: entry.status,
        })
    }

    /// Removes what is kept no longer. Called from time to time.
    pub fn sweep(&mut self, now: u32) {
        while let Some((end, (first, _))) = self.by_end.first_key_value()
            && *end <= now
        {
            self.remove(*first);
            self.expired += 1;
        }
        let retention = &self.retention;
        self.open
            .retain(|_, open| end_of(retention, open.began, open.topic) > now);
    }

    /// Forgets a topic, which was deleted.
    pub fn forget_topic(&mut self, topic: u16) {
        for (end, (first, last)) in std::mem::take(&mut self.by_end) {
            // Each queue is walked once, and what stays of it is linked anew.
            let (mut place, mut kept) = (first, None::<(u32, u32)>);
            loop {
                let (next, of, key) = {
                    let entry = self.slab.get(place);
                    (entry.next, entry.topic, low_half(&entry.id))
                };
                if of == topic {
                    self.by_id.remove(&key);
                    self.slab.remove(place);
                } else if let Some((_, before)) = &mut kept {
                    self.slab.get_mut(*before).next = place;
                    *before = place;
                } else {
                    kept = Some((place, place));
                }
                if place == last {
                    break;
                }
                place = next;
            }
            if let Some((first, last)) = kept {
                self.slab.get_mut(last).next = slab::NONE;
                self.by_end.insert(end, (first, last));
            }
        }
        self.open.retain(|_, open| open.topic != topic);
    }

    fn evict_oldest(&mut self) {
        if let Some((_, (first, _))) = self.by_end.first_key_value().map(|(end, queue)| (*end, *queue)) {
            self.gone.insert(low_half(&self.slab.get(first).id));
            self.remove(first);
            self.evicted += 1;
        }
    }

    /// Takes an entry out. It is mostly the first of its queue.
    fn remove(&mut self, place: u32) {
        let (end, next, key) = {
            let entry = self.slab.get(place);
            (self.end(entry.at, entry.topic), entry.next, low_half(&entry.id))
        };
        self.by_id.remove(&key);
        if let Some((first, last)) = self.by_end.get(&end).copied() {
            if first == place && last == place {
                self.by_end.remove(&end);
            } else if first == place {
                self.by_end.insert(end, (next, last));
            } else {
                let mut before = first;
                while self.slab.get(before).next != place {
                    before = self.slab.get(before).next;
                }
                self.slab.get_mut(before).next = next;
                if last == place {
                    self.by_end.insert(end, (first, before));
                }
            }
        }
        self.slab.remove(place);
    }

    fn end(&self, at: u32, topic: u16) -> u32 {
        end_of(&self.retention, at, topic)
    }
}

/// When a result of this topic is over that was written then.
fn end_of(retention: &[Duration], at: u32, topic: u16) -> u32 {
    let kept = retention.get(usize::from(topic)).map_or(0, Duration::as_secs);
    at.saturating_add(u32::try_from(kept).unwrap_or(u32::MAX))
}

/// What an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Answer,
    /// There was no answer, or not all of it.
    Error,
    Cancelled,
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Kind::Answer,
            1 => Kind::Error,
            _ => Kind::Cancelled,
        }
    }

    fn replaces(self, before: Kind) -> bool {
        match before {
            Kind::Cancelled => false,
            Kind::Answer => self == Kind::Cancelled,
            Kind::Error => self != Kind::Error,
        }
    }
}

/// The random half of an id.
fn key_of(id: CorrelationId) -> [u8; 8] {
    id.low64().to_be_bytes()
}

fn low_half(id: &[u8; 16]) -> [u8; 8] {
    let mut half = [0; 8];
    half.copy_from_slice(&id[8..]);
    half
}
