//! The partitions that this member has, and how they come and go.

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;

use super::consumer::GroupConsumer;
use super::handle::PumpHandle;
use super::partition::Partition;
use super::plan::PumpPlan;
use super::rebalance::{Rebalance, Revocation, Step, partitions_of};

/// The partitions that this member has. Owned by the pump's loop.
pub struct Assignment<'a> {
    plan: &'a PumpPlan,
    handle: &'a PumpHandle,
    consumer: Arc<GroupConsumer>,
    /// By number.
    partitions: HashMap<i32, Partition>,
    /// Set while a revocation waits for calls under way. Further rebalances wait in `rebalances` meanwhile.
    revocation: Option<Revocation>,
    /// Sent to by `PumpContext`.
    rebalances: Receiver<Rebalance>,
    /// Counts assignments of partitions: each has a number of its own.
    epochs: u32,
}

impl<'a> Assignment<'a> {
    pub fn new(
        plan: &'a PumpPlan,
        handle: &'a PumpHandle,
        consumer: Arc<GroupConsumer>,
        rebalances: Receiver<Rebalance>,
    ) -> Self {
        Assignment {
            plan,
            handle,
            consumer,
            partitions: HashMap::new(),
            revocation: None,
            rebalances,
            epochs: 0,
        }
    }

    pub fn get_mut(&mut self, number: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(&number)
    }

    pub fn partitions_mut(&mut self) -> impl ExactSizeIterator<Item = (i32, &mut Partition)> {
        self.partitions
            .iter_mut()
            .map(|(&number, partition)| (number, partition))
    }

    /// Records that the worker has.
    pub fn outstanding(&self) -> usize {
        self.partitions.values().map(Partition::outstanding).sum()
    }

    /// Goes on with the revocation under way, and begins what the group asked for since. True: something was done.
    pub fn apply_rebalances(&mut self) -> bool {
        let mut busy = self.advance_revocation();
        while self.revocation.is_none() {
            let Ok(event) = self.rebalances.try_recv() else { break };
            busy = true;
            match event {
                Rebalance::Assign(list) => self.accept(list),
                Rebalance::Revoke(list) => self.begin_revocation(list),
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
        tracing::info!(topic = %self.plan.topic, partitions = self.partitions.len(), "partitions assigned");
    }

    fn begin_revocation(&mut self, list: TopicPartitionList) {
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

    fn advance_revocation(&mut self) -> bool {
        let Some(revocation) = &mut self.revocation else {
            return false;
        };
        let numbers = revocation.partitions();
        let going: Vec<&Partition> = numbers.filter_map(|number| self.partitions.get(&number)).collect();
        let running = going.iter().map(|partition| partition.outstanding()).sum();
        match revocation.next(running, self.consumer.assignment_lost()) {
            Step::Wait => return false,
            Step::CutOff => going.into_iter().for_each(Partition::cut_off),
            Step::LetGo => self.let_go(),
        }
        true
    }

    /// Ends the revocation under way. Offsets of finished records are stored already, and librdkafka commits them as it lets go.
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
        tracing::info!(topic = %self.plan.topic, partitions = self.partitions.len(), cut_off, "partitions revoked");
    }

    /// Lets go of everything, before the consumer closes. Rebalances that closing brings are answered by `PumpContext`, because nobody
    /// receives them any more.
    pub fn close(mut self) {
        for partition in self.partitions.values_mut() {
            partition.revoke();
            // A record that is committed is ended, too, so that its loss is reported.
            if self.plan.ordered || self.plan.ahead.is_some() {
                partition.cut_off();
            }
        }
        // The partitions' queues hold the consumer.
        self.partitions.clear();
        if let Some(revocation) = self.revocation.take() {
            revocation.answer(&self.consumer);
        }
        for event in self.rebalances.try_iter() {
            event.answer(&self.consumer);
        }
    }
}
