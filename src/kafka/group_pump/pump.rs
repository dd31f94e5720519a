//! The pump: the thread that owns a group consumer, and its loop.
//!
//! It never waits for anybody but in `park`, from which records, completions and commands wake it. A pump that blocked would block the
//! group's rebalance, the commits and every other partition. Each turn it serves callbacks, applies rebalances, reads completions and
//! takes in records, per partition and within its window. librdkafka's callback only notes a rebalance, and the loop answers it, so a
//! revocation waits for calls under way without stopping anything else.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rdkafka::Message;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::mpsc;

use super::assignment::Assignment;
use super::commits::{Commits, HandOver};
use super::completion::Completion;
use super::consumer::GroupConsumer;
use super::context::PumpContext;
use super::handle::{Command, PumpHandle};
use super::intake::Intake;
use super::partition::{Next, Partition};
use super::plan::PumpPlan;
use super::request_topic::await_topic;
use crate::kafka::client::context::is_denied;
use crate::kafka::codes::CodeClass;
use crate::kafka::record::raw_record;

/// Main-queue events served in one turn; that queue carries callbacks, and few records.
const EVENTS_PER_TURN: usize = 32;
/// How long a parked pump sleeps at most: the main queue wakes it only when it turns from empty to non-empty, and that edge can get lost.
const PARK: Duration = Duration::from_millis(50);
/// The same while the worker's channel is full: nothing wakes the pump when it has room again.
const PARK_CONGESTED: Duration = Duration::from_millis(1);
/// How old published backlogs may be.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// The same while a partition's position is unknown: once records wait, an empty poll no longer tells it.
const PUBLISH_AT_FIRST: Duration = Duration::from_millis(50);

/// Why a pump ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    #[error("the consumer of topic {topic} is dead")]
    Consumer {
        topic: Arc<str>,
        #[source]
        source: KafkaError,
    },
    #[error(
        "topic {topic} continues at offset {offset}, below the last one: it was recreated or truncated; its consumer starts anew"
    )]
    Rewound { topic: Arc<str>, offset: i64 },
    #[error("the worker no longer takes records")]
    WorkerGone,
}

/// Starts the pump's thread. It ends by a `PumpHandle::command`, or by an error; either way the worker's channel closes.
///
/// # Errors
/// The operating system has no thread left.
pub fn spawn(
    plan: PumpPlan,
    handle: PumpHandle,
    completions: Receiver<Completion>,
    records: mpsc::Sender<Intake>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("pump-{}", plan.topic)).spawn(move || {
        let topic = plan.topic.clone();
        handle.attach();
        if let Err(error) = pump(&plan, &handle, completions, records) {
            tracing::error!(%topic, error = &error as &dyn std::error::Error, "pump ended; its worker is restarted");
        }
    })
}

/// The thread's life: connect, wait for the topic, join the group, pump, leave the group.
fn pump(
    plan: &PumpPlan,
    handle: &PumpHandle,
    completions: Receiver<Completion>,
    records: mpsc::Sender<Intake>,
) -> Result<(), PumpError> {
    let dead = |source| PumpError::Consumer {
        topic: plan.topic.clone(),
        source,
    };
    let (events, rebalances) = crossbeam_channel::unbounded();
    let (answers, commits) = crossbeam_channel::unbounded();
    let context = PumpContext::new(handle.clone(), events, plan.ahead.map(|_| answers));
    let mut consumer = GroupConsumer::from_config_and_context(&plan.config, context).map_err(dead)?;
    let waker = handle.clone();
    consumer.set_nonempty_callback(move || waker.wake());
    if !await_topic(plan, handle, &consumer) {
        return Ok(());
    }
    consumer.subscribe(&[&plan.topic]).map_err(dead)?;
    let consumer = Arc::new(consumer);
    let mut pump = Pump {
        plan,
        handle,
        assignment: Assignment::new(plan, handle, consumer.clone(), rebalances),
        consumer,
        commits: Commits::new(plan.ahead, commits),
        completions,
        records,
        turns: 0,
        publish_at: Instant::now(),
        denial_logged: false,
    };
    let end = pump.run();
    pump.leave();
    end
}

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
    /// The worker's channel is full.
    Congested,
}

impl Turn {
    fn of(busy: bool) -> Self {
        if busy { Turn::Busy } else { Turn::Idle }
    }
}

struct Pump<'a> {
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

impl Pump<'_> {
    fn run(&mut self) -> Result<(), PumpError> {
        let mut stage = Stage::Consuming;
        loop {
            self.handle.progress().touch();
            let mut busy = self.serve_callbacks()?;
            if self.assignment.apply_rebalances() {
                self.publish_at = Instant::now();
                busy = true;
            }
            busy |= self.read_completions();
            busy |= self.commits.read(&mut self.assignment);
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
                    Turn::Idle
                }
                Stage::Consuming => self.take_in()?,
                Stage::Draining { since } => {
                    self.drain(since);
                    Turn::Idle
                }
                Stage::Closed => return Ok(()),
            };
            self.publish_backlogs();
            match turn {
                _ if busy => {}
                Turn::Busy => {}
                Turn::Idle if !congested => std::thread::park_timeout(PARK),
                Turn::Idle | Turn::Congested => std::thread::park_timeout(PARK_CONGESTED),
            }
        }
    }

    /// Follows the supervisor's command, and closes once everything is finished and committed.
    fn next_stage(&self, stage: Stage) -> Result<Stage, PumpError> {
        match (stage, self.handle.current_command()) {
            (Stage::Closed, _) | (_, Command::Stop) => Ok(Stage::Closed),
            (stage, Command::Run) => Ok(stage),
            (stage, Command::Drain) if self.assignment.outstanding() == 0 => Ok(match self.commit() {
                Ok(()) => {
                    self.handle.status().set_drained();
                    Stage::Closed
                }
                // Another member comes or goes: once that is settled Kafka takes the commit, or the partitions have moved.
                Err(error) if CodeClass::from(error) == CodeClass::GroupRebalancing => stage,
                Err(error) => {
                    tracing::error!(topic = %self.plan.topic, %error, "the last offsets were not committed; these records may run again");
                    Stage::Closed
                }
            }),
            (_, Command::Drain) if self.records.is_closed() => Err(PumpError::WorkerGone),
            (Stage::Consuming, Command::Drain) => Ok(Stage::Draining { since: Instant::now() }),
            (stage, Command::Drain) => Ok(stage),
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
                        partition.stash(raw_record(&message, &self.plan.topic));
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
                    tracing::error!(topic = %self.plan.topic, %error, "Kafka refuses to let this service consume: grant its user READ on topic and group");
                }
                tracing::debug!(topic = %self.plan.topic, %error, "consumer error");
                let now = Instant::now();
                self.assignment
                    .partitions_mut()
                    .for_each(|(_, partition)| partition.doubt(now));
                Ok(())
            }
        }
    }

    /// Stores the offsets of finished records; librdkafka commits what is stored.
    fn read_completions(&mut self) -> bool {
        let mut busy = false;
        while let Ok(completion) = self.completions.try_recv() {
            busy = true;
            let partition = self.assignment.get_mut(completion.partition);
            let Some(next) = partition.and_then(|partition| partition.complete(&completion)) else {
                continue;
            };
            // store_offset stores its argument + 1 (rdkafka_offset.c:648).
            let stored = self
                .consumer
                .store_offset(&self.plan.topic, completion.partition, next - 1);
            if let Err(error) = stored {
                tracing::debug!(topic = %self.plan.topic, partition = completion.partition, %error, "offset not stored: the partition is gone");
            }
        }
        busy
    }

    /// Takes in records of each partition, as far as its window, the limits and the worker's channel have room.
    fn take_in(&mut self) -> Result<Turn, PumpError> {
        let consumer = self.consumer.clone();
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
            while partition.has_room(self.plan.window) && self.commits.leave_room(partition.unfinished()) {
                let slot = match self.records.try_reserve() {
                    Ok(slot) => slot,
                    Err(mpsc::error::TrySendError::Closed(())) => return Err(PumpError::WorkerGone),
                    Err(mpsc::error::TrySendError::Full(())) if busy => return Ok(Turn::Busy),
                    Err(mpsc::error::TrySendError::Full(())) => return Ok(Turn::Congested),
                };
                match partition.next(&consumer, |of_partition| self.commits.count(of_partition, self.handle)) {
                    Next::Empty => break,
                    Next::Record(intake) => slot.send(intake),
                    Next::AwaitsCommit => {}
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
        self.commits.ask(&mut self.assignment, &consumer, &self.plan.topic);
        Ok(Turn::of(busy))
    }

    fn commit(&self) -> Result<(), RDKafkaErrorCode> {
        match self.consumer.commit_consumer_state(CommitMode::Sync) {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
            Err(error) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        }
    }

    /// Publishes what lies before the consumer, where that is due.
    fn publish_backlogs(&mut self) {
        let now = Instant::now();
        if now < self.publish_at {
            return;
        }
        let paused = self.handle.is_paused();
        let backlogs = self.assignment.partitions_mut().map(|(number, partition)| {
            let stands_still = paused || !partition.has_room(self.plan.window);
            partition.backlog(number, &self.consumer, stands_still)
        });
        let backlogs: Vec<_> = backlogs.collect();
        let all_known = backlogs.iter().all(|backlog| backlog.next.is_some());
        self.publish_at = now + if all_known { PUBLISH_EVERY } else { PUBLISH_AT_FIRST };
        self.handle.status().set_backlogs(backlogs);
    }

    /// Leaves the group, so that its partitions move on at once. Blocks until the broker has heard, or the session has run out.
    fn leave(mut self) {
        // The worker reports the loss of what it can no longer finish. WorkerGone: nobody is left to report it.
        let _ = self.commits.hand_over(&self.records);
        let Pump {
            assignment,
            consumer,
            plan,
            ..
        } = self;
        assignment.close();
        let began = Instant::now();
        drop(consumer);
        tracing::info!(topic = %plan.topic, seconds = began.elapsed().as_secs_f32(), "left the consumer group");
    }
}
