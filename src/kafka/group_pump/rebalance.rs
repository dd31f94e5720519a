//! Rebalances as values: noted in librdkafka's callback, answered here, from the pump's loop.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::types::RDKafkaRespErr;

use super::Pump;
use super::partition::Partition;

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

/// What is cut off has so long to end.
const CUT_OFF_LIMIT: Duration = Duration::from_secs(1);

/// A revocation that waits for the calls under way in its partitions.
pub struct Revocation {
    list: TopicPartitionList,
    deadline: Instant,
    /// Calls that outlast the wait are ended before the partition goes: the next owner must not overtake them.
    ordered: bool,
    cut: bool,
}

/// What a revocation asks for next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Wait,
    /// End what still runs.
    CutOff,
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

    /// It is over when nothing runs any more, or the wait is over, or the assignment is `lost`: others own it already, and there is
    /// nothing to wait for.
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

impl Pump<'_> {
    pub(super) fn apply_rebalances(&mut self) -> bool {
        let mut busy = false;
        if let Some(revocation) = &mut self.revocation {
            let numbers = revocation.partitions();
            let going: Vec<&Partition> = numbers.filter_map(|number| self.partitions.get(&number)).collect();
            let running = going.iter().map(|partition| partition.outstanding()).sum();
            match revocation.next(running, self.consumer.assignment_lost()) {
                Step::Wait => {}
                Step::CutOff => going.into_iter().for_each(Partition::cut_off),
                Step::LetGo => {
                    self.let_go();
                    busy = true;
                }
            }
        }
        while self.revocation.is_none() {
            let Ok(event) = self.rebalances.try_recv() else { break };
            busy = true;
            match event {
                Rebalance::Assign(list) => self.accept(list),
                Rebalance::Revoke(list) => {
                    let revocation = Revocation::new(list, self.plan.revoke_timeout, self.plan.ordered);
                    let mut under_way = 0;
                    for number in revocation.partitions() {
                        if let Some(partition) = self.partitions.get_mut(&number) {
                            partition.revoke();
                            under_way += partition.outstanding();
                        }
                    }
                    if under_way > 0 {
                        tracing::info!(topic = %self.plan.topic, under_way, "partitions wait for their calls to end before they go");
                    }
                    self.revocation = Some(revocation);
                }
            }
        }
        busy
    }

    /// Splits each partition's queue off before the assignment starts to fill it, then takes the assignment.
    fn accept(&mut self, list: TopicPartitionList) {
        for number in partitions_of(&list) {
            let Some(mut queue) = self.consumer.split_partition_queue(&self.plan.topic, number) else {
                continue;
            };
            let waker = self.handle.clone();
            queue.set_nonempty_callback(move || waker.wake());
            self.epochs += 1;
            let (topic, at_most_once) = (self.plan.topic.clone(), self.plan.ahead.is_some());
            let partition = Partition::new(&self.consumer, queue, topic, number, at_most_once, self.epochs);
            self.partitions.insert(number, partition);
        }
        Rebalance::Assign(list).answer(&self.consumer);
        self.handle.status().set_partitions(self.partitions.len());
        self.show_at = Instant::now();
        tracing::info!(topic = %self.plan.topic, partitions = self.partitions.len(), "partitions assigned");
    }

    /// Ends the revocation under way: what is finished is stored already, and librdkafka commits it as it lets go.
    fn let_go(&mut self) {
        let Some(revocation) = self.revocation.take() else {
            return;
        };
        let mut cut_off = 0;
        for number in revocation.partitions() {
            cut_off += self
                .partitions
                .remove(&number)
                .map_or(0, |partition| partition.outstanding());
        }
        revocation.answer(&self.consumer);
        self.handle.status().set_partitions(self.partitions.len());
        self.show_at = Instant::now();
        tracing::info!(topic = %self.plan.topic, partitions = self.partitions.len(), cut_off, "partitions revoked");
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
