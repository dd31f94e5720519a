//! The partitions that this member has, and how they come and go.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crossbeam_channel::Receiver;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::consumer::{GroupConsumer, PartitionQueues, add_commit, begin_commit};
use super::error::PumpError;
use super::handle::PumpHandle;
use super::opening::{Opening, Positions};
use super::partition::Partition;
use super::plan::PumpPlan;
use super::rebalance::{Rebalance, Revocation, Step};
use crate::kafka::cluster::describe::TopicId;
use crate::kafka::fetch_queue::FetchQueue;

/// The partitions that this member has. Owned by the pump's loop.
pub struct Assignment<'a> {
    plan: &'a PumpPlan,
    handle: &'a PumpHandle,
    consumer: Arc<GroupConsumer>,
    /// By number.
    partitions: HashMap<i32, Partition>,
    /// Set while a rebalance is under way. Further ones wait in `rebalances` meanwhile.
    change: Option<Change>,
    /// Sent to by `PumpContext`.
    rebalances: Receiver<Rebalance>,
    /// Counts assignments of partitions: each has a number of its own.
    epochs: u32,
    /// The topic that the partitions are of, and since when that is known; set by `open`.
    topic: Option<(Option<TopicId>, Instant)>,
}

/// A rebalance that takes a while.
enum Change {
    /// Partitions wait until it is known where their intake begins.
    Opening(Opening),
    /// Partitions wait for their calls to end.
    Revoking(Revocation),
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
            change: None,
            rebalances,
            epochs: 0,
            topic: None,
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

    /// A commit is under way, or something is to be committed.
    pub fn is_committing(&self) -> bool {
        self.partitions.values().any(Partition::is_committing)
    }

    /// A rebalance is under way.
    pub fn is_changing(&self) -> bool {
        self.change.is_some()
    }

    /// The topic that the partitions are of, if the brokers tell.
    pub fn topic_id(&self) -> Option<TopicId> {
        self.topic.and_then(|(id, _)| id)
    }

    /// Another topic stands behind the name now.
    pub fn is_of_another_topic(&self) -> bool {
        let differs = |(id, since)| self.plan.topic_ids.differs(&self.plan.topic, id, since);
        !self.partitions.is_empty() && self.topic.is_some_and(differs)
    }

    /// Goes on with the rebalance under way, and begins what the group asked for since. True: something was done. `errors`: Kafka's, after
    /// which it is asked again.
    ///
    /// # Errors
    /// The pump cannot go on.
    pub fn apply_rebalances(&mut self, errors: &mut Vec<KafkaError>) -> Result<bool, PumpError> {
        let mut busy = match &self.change {
            None => false,
            Some(Change::Opening(_)) => self.advance_opening(errors)?,
            Some(Change::Revoking(_)) => self.advance_revocation(),
        };
        while self.change.is_none() {
            let Ok(event) = self.rebalances.try_recv() else { break };
            busy = true;
            match event {
                Rebalance::Assign(list) => self.begin_opening(list)?,
                Rebalance::Revoke(list) => self.begin_revocation(list),
            }
        }
        Ok(busy)
    }

    fn begin_opening(&mut self, list: TopicPartitionList) -> Result<(), PumpError> {
        if list.count() == 0 {
            self.accept(&list);
            return Ok(());
        }
        let opening = Opening::begin(list, self.consumer.clone(), self.plan, self.handle);
        self.change = Some(Change::Opening(opening.map_err(|source| PumpError::NoThread {
            topic: self.plan.topic.clone(),
            source,
        })?));
        Ok(())
    }

    fn advance_opening(&mut self, errors: &mut Vec<KafkaError>) -> Result<bool, PumpError> {
        let answer = match &self.change {
            Some(Change::Opening(opening)) => opening.answer(),
            _ => None,
        };
        match answer {
            None => Ok(false),
            Some(Err(error)) => {
                errors.push(error);
                Ok(true)
            }
            Some(Ok(found)) => {
                if let Some(Change::Opening(opening)) = self.change.take() {
                    let list = opening.end();
                    self.open(list, found)?;
                }
                Ok(true)
            }
        }
    }

    /// Splits each partition's queue off before the assignment starts to fill it, then takes the assignment.
    fn open(&mut self, mut list: TopicPartitionList, found: Positions) -> Result<(), PumpError> {
        let known = (found.topic, found.asked_at);
        if !self.partitions.is_empty() && self.topic.is_some_and(|(id, _)| id != found.topic) {
            return Err(PumpError::Recreated {
                topic: self.plan.topic.clone(),
            });
        }
        self.topic = Some(known);
        self.plan.has_begun.store(true, Ordering::Release);
        let mut done_before = 0;
        for begin in found.positions {
            let number = begin.partition;
            let Some(mut queue) = self.consumer.split_partition_queue(&self.plan.topic, number) else {
                continue;
            };
            let waker = self.handle.clone();
            queue.set_nonempty_callback(move || waker.wake());
            let Some(records) = FetchQueue::of_partition(self.consumer.clone(), &self.plan.topic, number) else {
                continue;
            };
            let queue = PartitionQueues { _waker: queue, records };
            self.epochs += 1;
            let offset = begin.offset.map_or(Offset::Beginning, Offset::Offset);
            // Err: never, the partition is of the list, and no offset is negative.
            let _ = list.set_partition_offset(&self.plan.topic, number, offset);
            done_before += begin.done.len();
            let (topic, at_most_once) = (self.plan.topic.clone(), self.plan.ahead.is_some());
            let partition = Partition::new(
                queue,
                topic,
                found.topic,
                begin,
                at_most_once,
                self.plan.max_record,
                self.epochs,
            );
            self.partitions.insert(number, partition);
        }
        if done_before > 0 {
            tracing::info!(topic = %self.plan.topic, done_before, "records beyond the commits are done already");
        }
        self.accept(&list);
        Ok(())
    }

    fn accept(&mut self, list: &TopicPartitionList) {
        Rebalance::Assign(list.clone()).answer(&self.consumer);
        self.handle.status().set_partitions(self.partitions.len());
        tracing::info!(event = "rebalance", topic = %self.plan.topic, partitions = self.partitions.len(), "partitions assigned");
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
        self.change = Some(Change::Revoking(revocation));
        self.advance_revocation();
    }

    fn advance_revocation(&mut self) -> bool {
        let Some(Change::Revoking(revocation)) = &mut self.change else {
            return false;
        };
        let numbers = revocation.partitions();
        let going: Vec<&Partition> = numbers.filter_map(|number| self.partitions.get(&number)).collect();
        let running = going.iter().map(|partition| partition.outstanding()).sum();
        match revocation.next(running, self.consumer.assignment_lost()) {
            Step::Wait => return false,
            Step::CutOff => going.into_iter().for_each(|partition| partition.lease().cut()),
            Step::LetGo => self.let_go(),
        }
        true
    }

    /// Ends the revocation under way. librdkafka sends the commit before it lets the partitions go, and waits for the answer.
    fn let_go(&mut self) {
        let Some(Change::Revoking(revocation)) = self.change.take() else {
            return;
        };
        let mut cut_off = 0;
        let going: Vec<Partition> = revocation
            .partitions()
            .filter_map(|number| self.partitions.remove(&number))
            .collect();
        going.iter().for_each(|partition| partition.lease().let_go());
        if !self.consumer.assignment_lost() {
            self.commit_last(&going);
        }
        for partition in going {
            cut_off += partition.outstanding();
        }
        revocation.answer(&self.consumer);
        self.handle.status().set_partitions(self.partitions.len());
        tracing::info!(event = "rebalance", topic = %self.plan.topic, partitions = self.partitions.len(), cut_off, "partitions revoked");
    }

    /// Begins the last commits of partitions that go. Nobody reads the answer.
    fn commit_last<'p>(&self, going: impl IntoIterator<Item = &'p Partition>) {
        let mut list = TopicPartitionList::new();
        for partition in going {
            if let Some(commit) = partition.last_commit() {
                add_commit(&mut list, &self.plan.topic, partition.number(), commit);
            }
        }
        if list.count() > 0
            && let Err(error) = begin_commit(&self.consumer, &list)
        {
            tracing::warn!(topic = %self.plan.topic, %error, "the last offsets are not committed; these records may run again");
        }
    }

    /// Lets go of everything, before the consumer closes. Rebalances that closing brings are answered by `PumpContext`, because nobody
    /// receives them any more. Closing waits for the last commits, if they are to be made.
    pub fn close(mut self, commit: bool) {
        for partition in self.partitions.values_mut() {
            partition.revoke();
            partition.lease().let_go();
            // A record that is committed is ended, too, so that its loss is reported.
            if self.plan.ordered || self.plan.ahead.is_some() {
                partition.lease().cut();
            }
        }
        if commit && !self.consumer.assignment_lost() {
            self.commit_last(self.partitions.values());
        }
        // The partitions' queues hold the consumer.
        self.partitions.clear();
        match self.change.take() {
            Some(Change::Opening(opening)) => Rebalance::Assign(opening.end()).answer(&self.consumer),
            Some(Change::Revoking(revocation)) => revocation.answer(&self.consumer),
            None => {}
        }
        for event in self.rebalances.try_iter() {
            event.answer(&self.consumer);
        }
    }
}
