//! The memory of the index: entries of 48 bytes in chunks, so that nothing is copied as it grows, and the ids that are gone.

use std::collections::HashSet;

/// Stands for no place.
pub const NONE: u32 = u32::MAX;
/// Entries of one chunk.
const CHUNK: usize = 4096;

/// One result.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub id: [u8; 16],
    /// The offset of its first record, big-endian: as a number it would cost eight bytes more.
    pub first: [u8; 8],
    /// How far behind the first its last record lies.
    pub records: u32,
    pub partition: i32,
    pub at: u32,
    /// The place of the next one of the same second; of a free place, the next free one.
    pub next: u32,
    pub topic: u16,
    pub status: u16,
    pub kind: u8,
}

/// All entries. A place is a number.
pub struct Slab {
    chunks: Vec<Vec<Entry>>,
    /// The first free place.
    free: u32,
}

impl Default for Slab {
    fn default() -> Self {
        Slab {
            chunks: Vec::new(),
            free: NONE,
        }
    }
}

impl Slab {
    /// Returns its place.
    pub fn insert(&mut self, entry: Entry) -> u32 {
        if self.free != NONE {
            let place = self.free;
            self.free = self.get(place).next;
            *self.get_mut(place) = entry;
            return place;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let chunks = self.chunks.len() - 1;
        let chunk = &mut self.chunks[chunks];
        chunk.push(entry);
        (chunks * CHUNK + chunk.len() - 1) as u32
    }

    pub fn get(&self, place: u32) -> &Entry {
        &self.chunks[place as usize / CHUNK][place as usize % CHUNK]
    }

    pub fn get_mut(&mut self, place: u32) -> &mut Entry {
        &mut self.chunks[place as usize / CHUNK][place as usize % CHUNK]
    }

    pub fn remove(&mut self, place: u32) {
        let free = self.free;
        self.get_mut(place).next = free;
        self.free = place;
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<Entry>()
    }
}

/// Ids of results that are gone, in two halves: when the newer is full, the older is forgotten and it takes its place.
pub struct Gone {
    half: usize,
    newer: HashSet<[u8; 8]>,
    older: HashSet<[u8; 8]>,
}

impl Gone {
    /// Remembers so many, at most.
    pub fn new(most: usize) -> Self {
        Gone {
            half: most.div_ceil(2).max(1),
            newer: HashSet::new(),
            older: HashSet::new(),
        }
    }

    pub fn insert(&mut self, id: [u8; 8]) {
        if self.newer.len() >= self.half {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(id);
    }

    pub fn has(&self, id: [u8; 8]) -> bool {
        self.newer.contains(&id) || self.older.contains(&id)
    }

    /// For how many there is room.
    #[cfg(test)]
    pub fn capacities(&self) -> impl Iterator<Item = usize> {
        [self.newer.capacity(), self.older.capacity()].into_iter()
    }
}
