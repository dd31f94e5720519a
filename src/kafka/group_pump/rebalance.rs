//! What the group asks of this member, as values: `PumpContext` notes them in librdkafka's callback, `Assignment` answers them from the
//! pump's loop.

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

/// The partition numbers of a list. It is of one topic: a pump subscribes to one.
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

/// How long calls that are cut off have to end.
const CUT_OFF_LIMIT: Duration = Duration::from_secs(1);

/// A revocation that waits for the calls under way in its partitions.
pub struct Revocation {
    list: TopicPartitionList,
    /// When the wait ends. Moved by `next` when it cuts calls off.
    deadline: Instant,
    /// Calls that outlast the wait are ended before the partition goes: the next owner must not overtake them.
    ordered: bool,
    /// Set by `next` when it asked for calls to be cut off.
    cut: bool,
}

/// What a revocation asks for next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Calls are still under way.
    Wait,
    /// End the calls that are still under way.
    CutOff,
    /// Give the partitions back.
    LetGo,
}

impl Revocation {
    pub fn new(list: TopicPartitionList, timeout: Duration, ordered: bool) -> Self {
        Revocation {
            list,
            deadline: Instant::now() + timeout,
            ordered,
            cut: false,
        }
    }

    pub fn partitions(&self) -> impl Iterator<Item = i32> + use<> {
        partitions_of(&self.list)
    }

    /// The revocation ends when no call is `running` any more, when the wait is over, or when the assignment is `lost`: others own the
    /// partitions already, so waiting gains nothing.
    pub fn next(&mut self, running: usize, lost: bool) -> Step {
        let time_is_up = Instant::now() >= self.deadline || (lost && !self.cut);
        match (running, time_is_up) {
            (0, _) => Step::LetGo,
            (_, false) => Step::Wait,
            (_, true) if self.ordered && !self.cut => {
                self.cut = true;
                self.deadline = Instant::now() + CUT_OFF_LIMIT;
                Step::CutOff
            }
            (_, true) => Step::LetGo,
        }
    }

    pub fn answer<C: ConsumerContext>(self, consumer: &BaseConsumer<C>) {
        Rebalance::Revoke(self.list).answer(consumer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revocation(timeout: Duration, ordered: bool) -> Revocation {
        Revocation::new(TopicPartitionList::new(), timeout, ordered)
    }

    #[test]
    fn a_revocation_waits_for_what_runs_but_not_for_ever_nor_for_others() {
        let hour = Duration::from_secs(3600);
        assert_eq!(revocation(hour, false).next(0, false), Step::LetGo);
        assert_eq!(revocation(hour, false).next(1, false), Step::Wait);
        assert_eq!(revocation(hour, false).next(1, true), Step::LetGo);
        assert_eq!(revocation(Duration::ZERO, false).next(1, false), Step::LetGo);
    }

    #[test]
    fn where_order_counts_what_runs_is_ended_first() {
        for (timeout, lost) in [(Duration::ZERO, false), (Duration::from_secs(3600), true)] {
            let mut revocation = revocation(timeout, true);
            assert_eq!(revocation.next(1, lost), Step::CutOff);
            assert_eq!(revocation.next(1, lost), Step::Wait);
            assert_eq!(revocation.next(0, lost), Step::LetGo);
        }
    }
}
