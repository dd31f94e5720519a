//! How many bytes of records all pumps of a process hold at once, between a record's intake and the end of its work.
//!
//! Each partition has a window of its own, and hundreds of full ones would not fit a process. A partition may always hold a little, so that
//! topics with large records, or with a backend that hangs, do not stop the others.

use prometheus::IntGauge;

/// What a partition may hold, however much the others do. It is far more than small records need, and little for hundreds of partitions.
const OWN_BYTES: usize = 64 << 10;

/// One part of so many of what is free may be held by one partition. The first of 256 MiB is more than a partition's own window.
const SHARE: usize = 8;

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

    /// May a partition that holds `of_partition` bytes take in another record? It may hold a share of what is free, so that partitions
    /// whose backends hang leave room for the others (the dynamic thresholds of Choudhury and Hahne, 1998). All partitions together exceed
    /// the limit by their own bytes and one record each at most.
    pub fn has_room(&self, of_partition: usize) -> bool {
        let held = usize::try_from(self.held.get()).unwrap_or(0);
        of_partition < OWN_BYTES.max(self.limit.saturating_sub(held) / SHARE)
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
        let budget = ByteBudget::new(16 << 20, held.clone());
        assert!(budget.has_room((2 << 20) - 1) && !budget.has_room(2 << 20));
        let large = budget.hold(12 << 20);
        assert!(budget.has_room((512 << 10) - 1) && !budget.has_room(512 << 10));
        let larger = budget.hold(12 << 20);
        assert!(!budget.has_room(OWN_BYTES), "nothing is free");
        assert!(budget.has_room(0) && budget.has_room(OWN_BYTES - 1), "its own");
        drop(larger);
        assert!(budget.has_room((512 << 10) - 1));
        drop(large);
        assert_eq!(held.get(), 0);
    }

    #[test]
    fn partitions_that_stand_still_leave_room_for_the_others() {
        let budget = ByteBudget::new(256 << 20, IntGauge::new("held", "held").unwrap());
        let mut held = Vec::new();
        for _ in 0..31 {
            let mut of_partition = 0;
            // As far as a partition's own window.
            while budget.has_room(of_partition) && of_partition < 16 << 20 {
                held.push(budget.hold(100 << 10));
                of_partition += 100 << 10;
            }
        }
        let mut of_another = 0;
        while budget.has_room(of_another) && of_another < 1 << 30 {
            of_another += 100 << 10;
        }
        assert!(of_another > 512 << 10, "{of_another}");
    }
}
