//! Which partitions the consumer reads: adds and removes them.

use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};

use super::{ReplyStream, unreachable};
use crate::kafka::cluster::admin::TopicError;
use crate::kafka::cluster::describe::TopicQuestion;

/// How often a removal is tried. Each try fails only if somebody else removed a partition of the list at that moment.
const REMOVE_TRIES: u32 = 5;

impl ReplyStream {
    /// Adds to the assignment; `assign` of a longer list would restart every other partition.
    pub(super) fn assign(&self, name: &str, partitions: &[(i32, i64)]) -> Result<(), TopicError> {
        let list = list(name, partitions)?;
        let lead_in = || {
            for (number, _) in partitions {
                self.0.fetched.lead_in(name, *number);
            }
        };
        lead_in();
        let consumer = &self.0.consumer;
        consumer
            .incremental_assign(&list)
            .map_err(|error| unreachable(name, error))?;
        // Where the partition was just unassigned, its end came after the first call, and undid it (`rd_kafka_toppar_fetch_stop`). It has come
        // before the assignment, since librdkafka's main thread does one thing after the other. What was read meanwhile is led in, too.
        lead_in();
        // The consumer learns the leaders from the answer, which nobody waits for. By itself it would ask within a second
        // (`rd_kafka_topic_scan_tmr_cb`), and the first reply would lie there as long.
        if let Err(error) = TopicQuestion::ask(consumer, name) {
            tracing::debug!(%error, "the leaders of a reply topic are not asked for");
        }
        Ok(())
    }

    /// Removes all of the topic's partitions, those of a search included.
    pub(super) fn unassign(&self, name: &str) {
        self.remove(name, |_| true);
    }

    /// Removes the topic's partitions for which `which` is true. librdkafka refuses the whole list if one of its partitions is gone already, as
    /// the end of a search can cause: then the rest is tried again.
    pub(super) fn remove(&self, name: &str, which: impl Fn(i32) -> bool) {
        for _ in 0..REMOVE_TRIES {
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
