//! The pump's loop.
//!
//! It never waits for anybody but in `park`, from which records, completions and commands wake it. A pump that blocked would block the
//! group's rebalance, the commits and every other partition. Each turn it serves callbacks, applies rebalances, reads completions and
//! takes in records, per partition and within its window. librdkafka's callback only notes a rebalance, and the loop answers it, so a
//! revocation waits for calls under way without stopping anything else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rdkafka::Message;
use rdkafka::error::KafkaError;
use tokio::sync::mpsc;

use super::assignment::Assignment;
use super::commits::{Commits, HandOver};
use super::completion::Completion;
use super::consumer::GroupConsumer;
use super::context::CommitAnswer;
use super::error::PumpError;
use super::handle::{Command, PumpHandle};
use super::intake::Intake;
use super::partition::{Next, Partition};
use super::plan::PumpPlan;
use super::rebalance::Rebalance;
use crate::kafka::client::context::is_denied;
use crate::kafka::codes::CodeClass;
use crate::kafka::record::Fetched;

/// Main-queue events served in one turn; that queue carries callbacks, and few records.
const EVENTS_PER_TURN: usize = 32;
/// How long a parked pump sleeps at most: a queue wakes it only when it turns from empty to non-empty, and that edge can get lost.
const PARK: Duration = Duration::from_secs(1);
/// The same while time may change something: a rebalance or a drain is under way, or intake is paused, which a breaker ends by itself.
const PARK_CHANGING: Duration = Duration::from_millis(50);
/// The same while the worker's channel is full: nothing wakes the pump when it has room again.
const PARK_CONGESTED: Duration = Duration::from_millis(1);
/// How old published backlogs may be.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// The same while a partition's position is unknown: once records wait, an empty poll no longer tells it.
const PUBLISH_AT_FIRST: Duration = Duration::from_millis(50);

/// What the pump does with records; moves only forward.
#[derive(Clone, Copy)]
enum Stage {
    /// Takes records in.
    Consuming,
    /// Takes nothing more in; calls under way finish.
    Draining { since: Instant },
    /// Leaves the group.
    Closed,
}

/// How a turn of the loop ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Something was done: there may be more.
    Busy,
    /// Nothing is to be done until the pump is woken.
    Idle,
    /// The same, but time alone may change that.
    Changing,
    /// The worker's channel is full.
    Congested,
}

impl Turn {
    fn of(busy: bool) -> Self {
        if busy { Turn::Busy } else { Turn::Idle }
    }
}

/// The loop and what it owns.
pub struct Pump<'a> {
    plan: &'a PumpPlan,
    handle: &'a PumpHandle,
    consumer: Arc<GroupConsumer>,
    assignment: Assignment<'a>,
    commits: Commits,
    /// Sent to through `PumpHandle::complete`.
    completions: Receiver<Completion>,
    /// To the worker.
    records: mpsc::Sender<Intake>,
    /// Counts intakes, so that another partition comes first in each.
    turns: usize,
    /// When backlogs are published next.
    publish_at: Instant,
    /// Set when missing rights were logged.
    denial_logged: bool,
}

impl<'a> Pump<'a> {
    /// `consumer` has subscribed. `rebalances` and `answers` come from its context.
    pub fn new(
        plan: &'a PumpPlan,
        handle: &'a PumpHandle,
        consumer: Arc<GroupConsumer>,
        (rebalances, answers): (Receiver<Rebalance>, Receiver<CommitAnswer>),
        (completions, records): (Receiver<Completion>, mpsc::Sender<Intake>),
    ) -> Self {
        Pump {
            plan,
            handle,
            assignment: Assignment::new(plan, handle, consumer.clone(), rebalances),
            consumer,
            commits: Commits::new(plan, answers),
            completions,
            records,
            turns: 0,
            publish_at: Instant::now(),
            denial_logged: false,
        }
    }

    /// Pumps until the pump is told to end.
    ///
    /// # Errors
    /// The pump cannot go on.
    pub fn run(&mut self) -> Result<(), PumpError> {
        let mut stage = Stage::Consuming;
        loop {
            self.handle.progress().touch();
            let mut busy = self.serve_callbacks()?;
            busy |= self.apply_rebalances()?;
            busy |= self.read_completions();
            busy |= self.commits.read(&mut self.assignment);
            let topic_id = self.assignment.topic_id();
            if !self.commits.confirm(topic_id, &self.consumer, &self.plan.topic) {
                return Err(self.recreated());
            }
            let mut congested = false;
            match self.commits.hand_over(&self.records) {
                HandOver::Complete { busy: handed_over } => busy |= handed_over,
                HandOver::Congested => congested = true,
                HandOver::WorkerGone => return Err(PumpError::WorkerGone),
            }
            stage = self.next_stage(stage)?;
            let turn = match stage {
                Stage::Consuming if self.handle.is_paused() => {
                    let partitions = self.assignment.partitions_mut();
                    partitions.for_each(|(_, partition)| partition.intake_stands_still());
                    Turn::Changing
                }
                Stage::Consuming => self.take_in()?,
                Stage::Draining { since } => {
                    self.drain(since);
                    Turn::Changing
                }
                Stage::Closed => return Ok(()),
            };
            self.commits
                .begin(&mut self.assignment, &self.consumer, &self.plan.topic);
            self.publish_backlogs()?;
            let turn = match turn {
                _ if busy => Turn::Busy,
                Turn::Idle | Turn::Changing if congested => Turn::Congested,
                turn => turn,
            };
            self.park(turn);
        }
    }

    /// Sleeps until something is to be done.
    fn park(&mut self, turn: Turn) {
        let longest = match turn {
            Turn::Busy => return,
            Turn::Congested => PARK_CONGESTED,
            Turn::Changing => PARK_CHANGING,
            Turn::Idle if self.assignment.is_changing() => PARK_CHANGING,
            Turn::Idle => PARK,
        };
        let due = self
            .commits
            .due(&mut self.assignment)
            .into_iter()
            .chain([self.publish_at]);
        let due = due.min().unwrap_or(self.publish_at);
        std::thread::park_timeout(longest.min(due.saturating_duration_since(Instant::now())));
    }

    fn apply_rebalances(&mut self) -> Result<bool, PumpError> {
        let mut errors = Vec::new();
        let busy = self.assignment.apply_rebalances(&mut errors)?;
        errors.into_iter().try_for_each(|error| self.consumer_error(error))?;
        if busy && !self.assignment.is_changing() {
            self.commits.rebalanced();
            self.publish_at = Instant::now();
        }
        Ok(busy)
    }

    /// Follows the supervisor's command, and closes once everything is finished and committed.
    fn next_stage(&mut self, stage: Stage) -> Result<Stage, PumpError> {
        match (stage, self.handle.current_command()) {
            (Stage::Closed, _) | (_, Command::Stop) => Ok(Stage::Closed),
            (stage, Command::Run) => Ok(stage),
            (_, Command::Drain) if self.assignment.outstanding() == 0 && !self.assignment.is_committing() => {
                self.handle.status().set_drained();
                Ok(Stage::Closed)
            }
            (Stage::Consuming, Command::Drain) => Ok(Stage::Draining { since: Instant::now() }),
            (_, Command::Drain) if self.assignment.outstanding() > 0 && self.records.is_closed() => {
                Err(PumpError::WorkerGone)
            }
            (stage, Command::Drain) if self.assignment.outstanding() > 0 => Ok(stage),
            (stage, Command::Drain) => match self.commits.refused() {
                None => {
                    self.commits.hurry();
                    Ok(stage)
                }
                // Another member comes or goes: once that is settled Kafka takes the commit, or the partitions have moved.
                Some(error) if CodeClass::from(error) == CodeClass::GroupRebalancing => {
                    self.commits.hurry();
                    Ok(stage)
                }
                Some(error) => {
                    tracing::error!(topic = %self.plan.topic, %error, "the last offsets were not committed; these records may run again");
                    Ok(Stage::Closed)
                }
            },
        }
    }

    /// Calls under way finish. Records whose work has not begun are given back after as long as a revocation would wait: a rate limit, or a
    /// backend that is left alone, must not hold up the end.
    fn drain(&mut self, since: Instant) {
        let over = since.elapsed() >= self.plan.revoke_timeout;
        for (_, partition) in self.assignment.partitions_mut() {
            match over {
                true => partition.revoke(),
                false => partition.give_back(),
            }
        }
    }

    /// Runs librdkafka's callbacks, and keeps the records that were buffered before their partition's queue was split off.
    fn serve_callbacks(&mut self) -> Result<bool, PumpError> {
        let consumer = self.consumer.clone();
        let mut busy = false;
        for _ in 0..EVENTS_PER_TURN {
            match consumer.poll(Duration::ZERO) {
                None => break,
                Some(Err(error)) => self.consumer_error(error)?,
                Some(Ok(message)) => {
                    if let Some(partition) = self.assignment.get_mut(message.partition()) {
                        partition.stash(Fetched::from(&message).copy(&self.plan.topic, self.plan.max_record));
                    }
                }
            }
            busy = true;
        }
        Ok(busy)
    }

    /// Fatal errors end this consumer; all others heal by themselves.
    fn consumer_error(&mut self, error: KafkaError) -> Result<(), PumpError> {
        match error {
            KafkaError::MessageConsumptionFatal(_) => Err(PumpError::Consumer {
                topic: self.plan.topic.clone(),
                source: error,
            }),
            error => {
                if is_denied(&error) && !std::mem::replace(&mut self.denial_logged, true) {
                    tracing::error!(event = "rights", topic = %self.plan.topic, %error, "Kafka refuses to let this service consume: grant its user READ on topic and group");
                }
                tracing::debug!(topic = %self.plan.topic, %error, "consumer error");
                Ok(())
            }
        }
    }

    fn read_completions(&mut self) -> bool {
        let mut busy = false;
        while let Ok(completion) = self.completions.try_recv() {
            busy = true;
            if let Some(partition) = self.assignment.get_mut(completion.partition) {
                partition.complete(&completion);
            }
        }
        busy
    }

    /// Takes in records of each partition, as far as its window, the limits and the worker's channel have room.
    fn take_in(&mut self) -> Result<Turn, PumpError> {
        let mut busy = false;
        let mut errors = Vec::new();
        let mut partitions: Vec<&mut Partition> = self
            .assignment
            .partitions_mut()
            .map(|(_, partition)| partition)
            .collect();
        // Another partition is first in each turn, so that none takes all the room where there is little.
        self.turns = self.turns.wrapping_add(1);
        let first = self.turns.checked_rem(partitions.len()).unwrap_or(0);
        partitions.rotate_left(first);
        for partition in partitions {
            while partition.has_room(self.plan.window, &self.plan.budget)
                && self.commits.leave_room(partition.unfinished())
            {
                let slot = match self.records.try_reserve() {
                    Ok(slot) => slot,
                    Err(mpsc::error::TrySendError::Closed(())) => return Err(PumpError::WorkerGone),
                    Err(mpsc::error::TrySendError::Full(())) if busy => return Ok(Turn::Busy),
                    Err(mpsc::error::TrySendError::Full(())) => return Ok(Turn::Congested),
                };
                match partition.next(&self.consumer, &self.plan.budget, |of_partition| {
                    self.commits.count(of_partition, self.handle)
                }) {
                    Next::Empty => break,
                    Next::Record(intake) => slot.send(intake),
                    Next::AwaitsCommit | Next::Done | Next::Searching => {}
                    Next::Poisoned(batch) => {
                        self.plan.poisoned.inc();
                        tracing::error!(topic = %self.plan.topic, partition = partition.number(), first = batch.start, last = batch.end - 1,
                            "a batch of records cannot be unpacked and is passed over: its requests are lost");
                    }
                    Next::Error(error) => errors.push(error),
                    Next::Rewound(offset) => {
                        return Err(PumpError::Rewound {
                            topic: self.plan.topic.clone(),
                            offset,
                        });
                    }
                }
                busy = true;
            }
        }
        errors.into_iter().try_for_each(|error| self.consumer_error(error))?;
        // Nothing wakes the pump when another gives bytes back.
        match Turn::of(busy) {
            Turn::Idle if self.waits_for_bytes() => Ok(Turn::Changing),
            turn => Ok(turn),
        }
    }

    fn waits_for_bytes(&mut self) -> bool {
        let budget = &self.plan.budget;
        let mut partitions = self.assignment.partitions_mut();
        partitions.any(|(_, partition)| partition.waits_for_bytes(budget))
    }

    /// Publishes what lies before the consumer, where that is due, and sees whether it still is of the same topic.
    fn publish_backlogs(&mut self) -> Result<(), PumpError> {
        let now = Instant::now();
        if now < self.publish_at {
            return Ok(());
        }
        if self.assignment.is_of_another_topic() {
            return Err(self.recreated());
        }
        let paused = self.handle.is_paused();
        let backlogs = self.assignment.partitions_mut().map(|(_, partition)| {
            let stands_still = paused || !partition.has_room(self.plan.window, &self.plan.budget);
            partition.backlog(&self.consumer, stands_still)
        });
        let backlogs: Vec<_> = backlogs.collect();
        let all_known = backlogs.iter().all(|backlog| backlog.next.is_some());
        self.publish_at = now + if all_known { PUBLISH_EVERY } else { PUBLISH_AT_FIRST };
        self.handle.status().set_backlogs(backlogs);
        Ok(())
    }

    fn recreated(&self) -> PumpError {
        PumpError::Recreated {
            topic: self.plan.topic.clone(),
        }
    }

    /// Leaves the group, so that its partitions move on at once. Blocks until the broker has heard, or the session has run out.
    /// `commit`: what is done is committed before.
    pub fn leave(mut self, commit: bool) {
        if commit {
            self.commits.hand_over_last(&self.records);
        }
        let Pump {
            assignment,
            commits,
            consumer,
            plan,
            ..
        } = self;
        // Its question holds the consumer.
        drop(commits);
        assignment.close(commit);
        let began = Instant::now();
        drop(consumer);
        tracing::info!(topic = %plan.topic, seconds = began.elapsed().as_secs_f32(), "left the consumer group");
    }
}
