//! How many bytes of records all pumps of a process hold at once, between a record's intake and the end of its work.
//!
//! Each partition has a window of its own, and hundreds of full ones would not fit a process. A partition may always hold a little, so that
//! topics with large records, or with a backend that hangs, do not stop the others.

use prometheus::IntGauge;

/// What a partition may hold, however much the others do. It is far more than small records need, and little for hundreds of partitions.
const OWN_BYTES: usize = 64 << 10;

/// The bytes of a process. Clones share them.
#[derive(Clone)]
pub struct ByteBudget {
    limit: usize,
    /// Bytes that are held now.
    held: IntGauge,
}

/// The bytes of one record, held until this is dropped.
pub struct HeldBytes {
    bytes: usize,
    held: IntGauge,
}

impl ByteBudget {
    pub fn new(limit: usize, held: IntGauge) -> Self {
        ByteBudget { limit, held }
    }

    /// Partitions hold as much as all together may.
    pub fn is_exhausted(&self) -> bool {
        self.held.get() >= self.limit as i64
    }

    /// May a partition that holds `of_partition` bytes take in another record? All partitions together exceed the limit by their own
    /// bytes and one record each at most.
    pub fn has_room(&self, of_partition: usize) -> bool {
        of_partition < OWN_BYTES || !self.is_exhausted()
    }

    /// Counts a record that is taken in.
    pub fn hold(&self, bytes: usize) -> HeldBytes {
        self.held.add(bytes as i64);
        HeldBytes {
            bytes,
            held: self.held.clone(),
        }
    }
}

#[cfg(test)]
impl HeldBytes {
    /// Of a record that no pump took in.
    pub fn none() -> Self {
        // A legal name.
        let held = IntGauge::new("held", "held").unwrap();
        HeldBytes { bytes: 0, held }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.held.sub(self.bytes as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_partitions_share_a_limit_and_each_may_hold_a_little() {
        let held = IntGauge::new("held", "held").unwrap();
        let budget = ByteBudget::new(1 << 20, held.clone());
        let large = budget.hold(600 << 10);
        assert!(budget.has_room(600 << 10), "the limit is not reached");
        let larger = budget.hold(600 << 10);
        assert!(!budget.has_room(600 << 10) && !budget.has_room(OWN_BYTES));
        assert!(budget.has_room(0) && budget.has_room(OWN_BYTES - 1), "its own");
        drop(large);
        assert!(budget.has_room(600 << 10));
        drop(larger);
        assert_eq!(held.get(), 0);
    }
}
