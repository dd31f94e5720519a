//! The pump: an OS thread that owns one group consumer and feeds one worker.
//!
//! It never waits for anybody but in `park`, from which records, completions and commands wake it: a pump that blocked would block the
//! group's rebalance, the commits and every other partition. Each turn it serves callbacks, applies rebalances, reads completions and
//! takes in records, per partition and within its window. Rebalance events are only noted in librdkafka's callback and answered from
//! the loop, so a revocation waits for running calls without stopping anything else.

mod ahead;
pub mod backlog;
mod caught_up;
mod context;
pub mod intake;
mod offsets;
mod partition;
mod rebalance;
mod shown;
mod topic;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Message};
use tokio::sync::mpsc;

pub use self::ahead::AheadLimits;
use self::context::{CommitAnswer, PumpContext};
use self::partition::{Next, Partition};
use self::rebalance::{Rebalance, Revocation};
use self::topic::await_topic;
use crate::kafka::client::context::is_denied;
use crate::kafka::cluster::admin::TopicAdmin;
use crate::kafka::group_pump::intake::{Ahead, Command, Completion, Intake, Place, PumpHandle};
use crate::kafka::record::raw_record;

/// Main-queue events served in one turn; it carries callbacks, and few records.
const EVENTS_PER_TURN: usize = 32;
/// How long a parked pump sleeps at most: the main queue wakes it only on its empty → non-empty edge (field experience: edges get lost).
const PARK: Duration = Duration::from_millis(50);
/// The same while the worker's channel is full, which nothing signals.
const PARK_CONGESTED: Duration = Duration::from_millis(1);

/// What one pump is to do.
#[derive(Clone)]
pub struct PumpPlan {
    pub topic: Arc<str>,
    /// Topics that are written to, created beside it where that is allowed.
    pub also: Vec<String>,
    pub config: ClientConfig,
    pub admin: TopicAdmin,
    /// Records per partition between intake and commit.
    pub window: usize,
    pub revoke_timeout: Duration,
    /// At most once: how far commits may run ahead of the work.
    pub ahead: Option<AheadLimits>,
    /// Records wait for each other: a call must not run on in a partition that has gone to another.
    pub ordered: bool,
}

/// Why a pump ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    #[error("the consumer of topic {topic} is dead")]
    Consumer {
        topic: Arc<str>,
        #[source]
        source: KafkaError,
    },
    #[error("topic {topic} went back to offset {offset}: it was recreated or truncated; its consumer starts anew")]
    WentBack { topic: Arc<str>, offset: i64 },
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
        if let Err(error) = pump(plan, &handle, completions, records) {
            tracing::error!(%topic, error = &error as &dyn std::error::Error, "pump ended; its worker is restarted");
        }
    })
}

fn pump(
    plan: PumpPlan,
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
    let answers = plan.ahead.map(|_| answers);
    let context = PumpContext::new(handle.clone(), events, answers);
    let mut consumer = BaseConsumer::from_config_and_context(&plan.config, context).map_err(dead)?;
    let waker = handle.clone();
    consumer.set_nonempty_callback(move || waker.wake());
    if !await_topic(&plan, handle, &consumer) {
        return Ok(());
    }
    consumer.subscribe(&[&plan.topic]).map_err(dead)?;
    let mut pump = Pump {
        plan: &plan,
        handle,
        consumer: Arc::new(consumer),
        partitions: HashMap::new(),
        revocation: None,
        rebalances,
        commits,
        committed: VecDeque::new(),
        not_begun: Arc::default(),
        unfinished: Arc::default(),
        turns: 0,
        completions,
        records,
        congested: false,
        show_at: Instant::now(),
        draining: None,
        denied: false,
        epochs: 0,
    };
    let end = pump.run();
    pump.leave();
    end
}

struct Pump<'a> {
    plan: &'a PumpPlan,
    handle: &'a PumpHandle,
    consumer: Arc<BaseConsumer<PumpContext>>,
    partitions: HashMap<i32, Partition>,
    revocation: Option<Revocation>,
    rebalances: Receiver<Rebalance>,
    commits: Receiver<CommitAnswer>,
    /// At most once: records whose commit Kafka took, on their way to the worker.
    committed: VecDeque<Intake>,
    /// At most once: records that were taken in and whose work has not begun.
    not_begun: Arc<AtomicUsize>,
    /// At most once: records that were taken in and whose outcome does not stand.
    unfinished: Arc<AtomicUsize>,
    /// Intakes so far.
    turns: usize,
    completions: Receiver<Completion>,
    records: mpsc::Sender<Intake>,
    /// The worker's channel was full at the last try.
    congested: bool,
    /// When partitions are to be shown next.
    show_at: Instant,
    /// Since when.
    draining: Option<Instant>,
    /// Missing rights were told.
    denied: bool,
    /// Assignments of partitions so far: each has a number of its own.
    epochs: u32,
}

impl Pump<'_> {
    fn run(&mut self) -> Result<(), PumpError> {
        loop {
            self.handle.progress().touch();
            let mut busy = self.serve_callbacks()?;
            busy |= self.apply_rebalances();
            busy |= self.read_completions();
            busy |= self.read_commits();
            busy |= self.hand_over_committed()?;
            match self.handle.current_command() {
                Command::Run if self.handle.is_paused() => {
                    self.partitions.values_mut().for_each(Partition::not_looked_at);
                }
                Command::Run => busy |= self.take_in()?,
                Command::Drain if self.outstanding() == 0 => match self.commit() {
                    Ok(()) => {
                        self.handle.status().set_drained();
                        return Ok(());
                    }
                    // Another member comes or goes: once that is settled Kafka takes the commit, or the partitions have moved.
                    Err(
                        RDKafkaErrorCode::RebalanceInProgress
                        | RDKafkaErrorCode::IllegalGeneration
                        | RDKafkaErrorCode::StaleMemberEpoch,
                    ) => {}
                    Err(error) => {
                        tracing::error!(topic = %self.plan.topic, %error, "the last offsets were not committed; these records may run again");
                        return Ok(());
                    }
                },
                Command::Drain if self.records.is_closed() => return Err(PumpError::WorkerGone),
                Command::Drain => self.drain(),
                Command::Stop => return Ok(()),
            }
            self.show();
            if !busy {
                std::thread::park_timeout(if self.congested { PARK_CONGESTED } else { PARK });
            }
        }
    }

    /// What is under way finishes. What has not begun by the time that a revocation would wait is given back: a rate limit, or a backend
    /// that is left alone, must not hold up the end.
    fn drain(&mut self) {
        let since = *self.draining.get_or_insert_with(Instant::now);
        let over = since.elapsed() >= self.plan.revoke_timeout;
        for partition in self.partitions.values_mut() {
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
                    if let Some(partition) = self.partitions.get_mut(&message.partition()) {
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
                if is_denied(&error) && !std::mem::replace(&mut self.denied, true) {
                    tracing::error!(topic = %self.plan.topic, %error, "Kafka refuses to let this service consume: grant its user READ on topic and group");
                }
                tracing::debug!(topic = %self.plan.topic, %error, "consumer error");
                let now = Instant::now();
                self.partitions.values_mut().for_each(|partition| partition.doubt(now));
                Ok(())
            }
        }
    }

    fn read_completions(&mut self) -> bool {
        let mut busy = false;
        while let Ok(completion) = self.completions.try_recv() {
            busy = true;
            let Some(partition) = self.partitions.get_mut(&completion.partition) else {
                continue;
            };
            let Some(next) = partition.complete(&completion) else {
                continue;
            };
            // store_offset stores its argument + 1 (rdkafka_offset.c:648).
            if let Err(error) = self
                .consumer
                .store_offset(&self.plan.topic, completion.partition, next - 1)
            {
                tracing::debug!(topic = %self.plan.topic, partition = completion.partition, %error, "offset not stored: the partition is gone");
            }
        }
        busy
    }

    fn take_in(&mut self) -> Result<bool, PumpError> {
        let consumer = self.consumer.clone();
        let mut busy = false;
        let mut errors = Vec::new();
        self.congested = false;
        let mut partitions: Vec<&mut Partition> = self.partitions.values_mut().collect();
        // Another is first in each turn: where there is room for few records, none takes it all.
        self.turns = self.turns.wrapping_add(1);
        let first = self.turns.checked_rem(partitions.len()).unwrap_or(0);
        partitions.rotate_left(first);
        for partition in partitions {
            while partition.has_room(self.plan.window)
                && self.plan.ahead.is_none_or(|limits| {
                    let [in_all, not_begun] =
                        [&self.unfinished, &self.not_begun].map(|count| count.load(Ordering::Acquire));
                    limits.leave_room(in_all, partition.unfinished(), not_begun)
                })
            {
                let slot = match self.records.try_reserve() {
                    Ok(slot) => slot,
                    Err(mpsc::error::TrySendError::Closed(())) => return Err(PumpError::WorkerGone),
                    Err(mpsc::error::TrySendError::Full(())) => {
                        self.congested = true;
                        return Ok(busy);
                    }
                };
                let ahead = |of_partition: &Arc<AtomicUsize>| Ahead {
                    not_begun: Place::new(vec![self.not_begun.clone()], self.handle),
                    unfinished: Place::new(vec![self.unfinished.clone(), of_partition.clone()], self.handle),
                };
                match partition.next(&consumer, ahead) {
                    Next::None => break,
                    Next::Record(intake) => slot.send(intake),
                    Next::Waits => {}
                    Next::Error(error) => errors.push(error),
                    Next::WentBack(offset) => {
                        return Err(PumpError::WentBack {
                            topic: self.plan.topic.clone(),
                            offset,
                        });
                    }
                }
                busy = true;
            }
        }
        errors.into_iter().try_for_each(|error| self.consumer_error(error))?;
        self.ask_commits();
        Ok(busy)
    }

    fn outstanding(&self) -> usize {
        self.partitions.values().map(Partition::outstanding).sum()
    }

    fn commit(&self) -> Result<(), RDKafkaErrorCode> {
        match self.consumer.commit_consumer_state(CommitMode::Sync) {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
            Err(error) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        }
    }

    /// Leaves the group, so that its partitions move on at once. Blocks until the broker has heard, or the session has run out.
    fn leave(mut self) {
        // Err: the worker is gone. Else it tells of their loss.
        let _ = self.hand_over_committed();
        for partition in self.partitions.values_mut() {
            partition.revoke();
            // What is committed is ended, too, so that its loss is told.
            if self.plan.ordered || self.plan.ahead.is_some() {
                partition.cut_off();
            }
        }
        // Queues hold the consumer, and rebalance events of its closing are answered in the callback once nobody receives them.
        self.partitions.clear();
        let Pump {
            consumer,
            rebalances,
            revocation,
            plan,
            ..
        } = self;
        if let Some(revocation) = revocation {
            revocation.answer(&consumer);
        }
        for event in rebalances.try_iter() {
            event.answer(&consumer);
        }
        drop(rebalances);
        let began = Instant::now();
        drop(consumer);
        tracing::info!(topic = %plan.topic, seconds = began.elapsed().as_secs_f32(), "left the consumer group");
    }
}
