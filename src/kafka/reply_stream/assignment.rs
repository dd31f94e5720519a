//! Which partitions the consumer reads: what is added, and what is let go.

use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};

use super::{ReplyStream, unreachable};
use crate::kafka::cluster::admin::TopicError;

/// How often a list may be out of date before it is let go: each time, somebody else has just let go of a part of it.
const LET_GO_TRIES: u32 = 5;

impl ReplyStream {
    /// Adds to the assignment; `assign` of a longer list would restart every other partition.
    pub(super) fn assign(&self, name: &str, partitions: &[(i32, i64)]) -> Result<(), TopicError> {
        let list = list(name, partitions)?;
        self.0
            .consumer
            .incremental_assign(&list)
            .map_err(|error| unreachable(name, error))
    }

    /// All of the topic's partitions, those of a search included.
    pub(super) fn unassign(&self, name: &str) {
        self.let_go(name, |_| true);
    }

    /// Those of the topic's partitions that `which` takes. librdkafka refuses a list as a whole when one of it has left meanwhile, as the
    /// end of a search makes it: then what is still there is let go.
    pub(super) fn let_go(&self, name: &str, which: impl Fn(i32) -> bool) {
        for _ in 0..LET_GO_TRIES {
            let done = self.assigned(name).and_then(|mut partitions| {
                partitions.retain(|(number, _)| which(*number));
                if partitions.is_empty() {
                    return Ok(());
                }
                let list = list(name, &partitions)?;
                let unassigned = self.0.consumer.incremental_unassign(&list);
                unassigned.map_err(|error| unreachable(name, error))
            });
            match done {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "reply topic not unassigned"),
            }
        }
    }

    /// The topic's partitions that are read; their offsets mean nothing.
    pub(super) fn assigned(&self, name: &str) -> Result<Vec<(i32, i64)>, TopicError> {
        let assigned = self.0.consumer.assignment().map_err(|error| unreachable(name, error))?;
        let elements = assigned.elements();
        let own = elements.iter().filter(|element| element.topic() == name);
        Ok(own.map(|element| (element.partition(), 0)).collect())
    }
}

pub(super) fn list(name: &str, partitions: &[(i32, i64)]) -> Result<TopicPartitionList, TopicError> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for &(number, offset) in partitions {
        list.add_partition_offset(name, number, Offset::Offset(offset))
            .map_err(|error| unreachable(name, error))?;
    }
    Ok(list)
}
