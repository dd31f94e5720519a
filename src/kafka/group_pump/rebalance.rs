//! Rebalances as values: noted in librdkafka's callback, answered from the pump's loop.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::types::RDKafkaRespErr;

/// What the group asks of this member.
#[derive(Clone)]
pub enum Rebalance {
    Assign(TopicPartitionList),
    Revoke(TopicPartitionList),
}

/// The partition numbers of a list (which is of one topic: a pump subscribes to one).
pub fn partitions_of(list: &TopicPartitionList) -> impl Iterator<Item = i32> + use<> {
    list.elements()
        .iter()
        .map(|element| element.partition())
        .collect::<Vec<_>>()
        .into_iter()
}

impl Rebalance {
    pub fn new(code: RDKafkaRespErr, list: TopicPartitionList) -> Self {
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(list),
            _ => Rebalance::Revoke(list),
        }
    }

    /// Gives librdkafka the answer it waits for; the group stands still until then.
    pub fn answer<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let answered = match self {
            Rebalance::Assign(list) if cooperative => consumer.incremental_assign(list),
            Rebalance::Assign(list) => consumer.assign(list),
            Rebalance::Revoke(list) if cooperative => consumer.incremental_unassign(list),
            Rebalance::Revoke(_) => consumer.unassign(),
        };
        if let Err(error) = answered {
            tracing::warn!(%error, "a rebalance could not be answered; the consumer will join its group again");
        }
    }
}

/// A revocation that waits for the calls under way in its partitions.
pub struct Revocation {
    list: TopicPartitionList,
    deadline: Instant,
}

impl Revocation {
    pub fn new(list: TopicPartitionList, timeout: Duration) -> Self {
        Revocation {
            list,
            deadline: Instant::now() + timeout,
        }
    }

    pub fn partitions(&self) -> impl Iterator<Item = i32> + use<> {
        partitions_of(&self.list)
    }

    /// Nothing runs any more, or the wait is over, or the assignment is lost: others own it already, and there is nothing to wait for.
    pub fn is_over<C: ConsumerContext>(&self, running: usize, consumer: &BaseConsumer<C>) -> bool {
        running == 0 || Instant::now() >= self.deadline || consumer.assignment_lost()
    }

    pub fn answer<C: ConsumerContext>(self, consumer: &BaseConsumer<C>) {
        Rebalance::Revoke(self.list).answer(consumer);
    }
}
