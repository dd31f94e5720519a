//! The group that consumes the requests: who has which partition, as cooperative-sticky assigns them. A partition that changes hands is
//! nobody's until the group has settled.

/// The owners of the request topic's partitions.
pub struct Group {
    /// `None`: nobody's now.
    owners: Vec<Option<usize>>,
    members: Vec<bool>,
}

impl Group {
    pub fn new(partitions: usize, members: usize) -> Self {
        let owners = (0..partitions).map(|partition| Some(partition % members)).collect();
        Group {
            owners,
            members: vec![true; members],
        }
    }

    pub fn owner(&self, partition: usize) -> Option<usize> {
        self.owners[partition]
    }

    /// A member leaves, or is missed. Its partitions are nobody's.
    pub fn leave(&mut self, member: usize) {
        self.members[member] = false;
        let own = self.owners.iter_mut().filter(|owner| **owner == Some(member));
        own.for_each(|owner| *owner = None);
    }

    pub fn join(&mut self, member: usize) {
        self.members[member] = true;
    }

    /// Gives each partition an owner, evenly; partitions stay with theirs as far as that goes. Returns those that have another one now.
    pub fn settle(&mut self) -> Vec<usize> {
        let present = self.members.iter().filter(|present| **present).count();
        if present == 0 {
            return Vec::new();
        }
        let (least, rest) = (self.owners.len() / present, self.owners.len() % present);
        let mut counts = vec![0; self.members.len()];
        let mut with_more = 0;
        let mut free = Vec::new();
        for (partition, owner) in self.owners.iter_mut().enumerate() {
            match *owner {
                Some(member) if counts[member] < least => counts[member] += 1,
                Some(member) if counts[member] == least && with_more < rest => {
                    counts[member] += 1;
                    with_more += 1;
                }
                _ => free.push(partition),
            }
        }
        let mut present = (0..self.members.len()).filter(|member| self.members[*member]).cycle();
        for partition in &free {
            // The first that has room; one that has `least` has room while others may have one more.
            let room = present
                .by_ref()
                .take(self.members.len())
                .find(|member| counts[*member] < least);
            let room = room.or_else(|| {
                present
                    .by_ref()
                    .take(self.members.len())
                    .find(|member| counts[*member] == least)
            });
            let Some(member) = room else { continue };
            counts[member] += 1;
            self.owners[*partition] = Some(member);
        }
        free
    }
}
