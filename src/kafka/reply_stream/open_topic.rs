//! A reply topic that is being read, and what can happen to it.

use std::sync::Arc;

use crate::kafka::cluster::describe::{Found, TopicId};
use crate::kafka::config::ReplyPartition;

/// A reply topic that is being read.
#[derive(Debug, Clone)]
pub struct OpenTopic {
    pub name: Arc<str>,
    /// `None`: not known (yet).
    pub(super) id: Option<TopicId>,
    /// As configured, or `All` once a replier turned out to ignore the partition that requests name.
    pub(super) choice: ReplyPartition,
    /// Each with the offset it was positioned at.
    pub partitions: Vec<(i32, i64)>,
    /// What requests name in `kafka_replyPartition`; `None`: any partition will do.
    pub named_partition: Option<i32>,
}

impl OpenTopic {
    /// Whether some partitions are not read, because requests name the one that is.
    pub fn leaves_others_out(&self) -> bool {
        self.choice != ReplyPartition::All
    }

    /// Whether this partition is read permanently.
    pub fn reads(&self, partition: i32) -> bool {
        self.partitions.iter().any(|(number, _)| *number == partition)
    }

    /// Sets the identity, by which another topic of that name is recognized from now on.
    pub fn identify(&mut self, id: TopicId) {
        self.id = Some(id);
    }

    /// The topic with these further partitions read permanently; requests no longer name a partition.
    pub fn with(mut self, others: Vec<(i32, i64)>) -> Self {
        self.choice = ReplyPartition::All;
        self.named_partition = None;
        self.partitions.extend(others);
        self.partitions.sort_unstable();
        self
    }
}

/// What a check of an open topic found.
#[derive(Debug)]
pub enum TopicChange {
    /// It has new partitions, which are read from now on.
    Grown(OpenTopic),
    /// Its identity, which was not known when it was opened.
    Identified(Arc<str>, TopicId),
    /// It was deleted and created again. Replies in the old one are lost.
    Recreated(OpenTopic),
    /// Kafka does not know it, for the first time.
    Missing(Arc<str>),
    /// It is gone.
    Deleted(Arc<str>),
}

/// Whether a topic is the one that was opened. The identity decides before the partition count: a broker that is behind the others may
/// not know of added partitions yet. `None`: neither decides.
pub(super) fn is_same_by_description(topic: &OpenTopic, now: Found) -> Option<bool> {
    match (topic.id, now.id) {
        (Some(before), Some(now)) => Some(before == now),
        // A topic never has fewer than before.
        _ if topic.partitions.iter().any(|(number, _)| *number >= now.partitions) => Some(false),
        _ => None,
    }
}

/// The partitions to read and the one to name in requests.
pub fn choose(choice: ReplyPartition, ordinal: u32, count: i32) -> (Vec<i32>, Option<i32>) {
    let count = count.max(1);
    match choice {
        ReplyPartition::All => ((0..count).collect(), None),
        ReplyPartition::Auto => single((ordinal % count as u32) as i32),
        ReplyPartition::Number(number) => single(number.rem_euclid(count)),
    }
}

fn single(partition: i32) -> (Vec<i32>, Option<i32>) {
    (vec![partition], Some(partition))
}
