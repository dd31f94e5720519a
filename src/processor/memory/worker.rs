//! The partitions of one worker, and what becomes of a request that comes: it runs, it waits for the first one, it gets what that one got,
//! or it is refused. Lives on the worker's Arbiter.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::kafka::group_pump::intake::{Intake, Lease};
use crate::kafka::partitioner::partition_of;
use crate::processor::bodies::assembly::Wanted;
use crate::processor::memory::answers::{Answers, Body};
use crate::processor::memory::claim::Claim;
use crate::processor::memory::identity::Identity;
use crate::processor::memory::index::{Entry, KeyId};
use crate::processor::memory::metrics::TopicMemoryMetrics;
use crate::processor::memory::partition::{Decision, Ending, PartitionMemory};
use crate::processor::memory::recall::Recall;
use crate::processor::memory::replay::{again, answer_of};
use crate::processor::memory::restore::Restorer;
use crate::processor::memory::stored::{StoredAnswer, StoredBody};
use crate::processor::memory::writer::Writer;
use crate::processor::metrics::Counted;
use crate::processor::record::deadline::Deadline;
use crate::processor::record::logged_once::LoggedOnce;
use crate::processor::record::outbox::TOPIC_PATIENCE;
use crate::settings::Memory;
use crate::wire::idempotency::memory::{Known, Remembered, Stored, is_replayed};
use crate::wire::sealing::is_sealed;
use crate::wire::{RawRecord, ReplyError, Request, Response, SharedSealing, now_ms};

/// The memory of one worker.
pub struct WorkerMemory {
    settings: Memory,
    at_most_once: bool,
    partitions: RefCell<HashMap<i32, Rc<PartitionMemory>>>,
    restorer: Arc<Restorer>,
    writer: Rc<Writer>,
    answers: Rc<Answers>,
    recall: Recall,
    sealing: SharedSealing,
    metrics: TopicMemoryMetrics,
    off_logged: LoggedOnce,
    moved_logged: LoggedOnce,
    full_logged: LoggedOnce,
    /// Ends what is being restored, as the worker ends.
    over: CancellationToken,
    _over: DropGuard,
}

/// What a worker's memory is made of.
pub struct MemoryParts {
    pub settings: Memory,
    pub at_most_once: bool,
    pub restorer: Arc<Restorer>,
    pub writer: Writer,
    pub answers: Answers,
    pub recall: Recall,
    pub sealing: SharedSealing,
    pub metrics: TopicMemoryMetrics,
}

/// What becomes of a request that does not run.
pub enum Instead {
    /// It ran already, and this was its answer.
    Answered(Response),
    /// The same, of an answer that is larger than a record.
    Stored(Box<StoredAnswer>),
    /// It gets this error.
    Refused(ReplyError),
    /// Its record repeats another, and nobody waits for an answer to it.
    PassedOver,
    /// Its partition goes to another owner.
    Released,
    /// Nobody waits for it any more.
    Expired,
}

/// A request that is to be decided on.
#[derive(Clone, Copy)]
struct Asked<'a> {
    record: &'a RawRecord,
    request: &'a Request,
    lease: &'a Lease,
    deadline: &'a Deadline,
}

impl WorkerMemory {
    pub fn new(parts: MemoryParts) -> Self {
        let over = CancellationToken::new();
        WorkerMemory {
            settings: parts.settings,
            at_most_once: parts.at_most_once,
            partitions: RefCell::default(),
            restorer: parts.restorer,
            writer: Rc::new(parts.writer),
            answers: Rc::new(parts.answers),
            recall: parts.recall,
            sealing: parts.sealing,
            metrics: parts.metrics,
            off_logged: LoggedOnce::default(),
            moved_logged: LoggedOnce::default(),
            full_logged: LoggedOnce::default(),
            _over: over.clone().drop_guard(),
            over,
        }
    }

    /// Reads what is known of a partition, if its assignment is new. Called for each of its records, whether or not that runs once.
    pub fn prepare(&self, intake: &Intake) {
        if self.settings.is_on() {
            self.partition(intake);
        }
    }

    /// The right to run a request. `Ok(None)`: it runs as often as it comes.
    ///
    /// # Errors
    /// What becomes of it instead.
    pub async fn admit(
        &self,
        intake: &Intake,
        request: &Request,
        deadline: &Deadline,
    ) -> Result<Option<Claim>, Instead> {
        let Some(identity) = Identity::of(request, &self.settings) else {
            return Ok(None);
        };
        let asked = Asked {
            record: &intake.record,
            request,
            lease: &intake.lease,
            deadline,
        };
        let decided = match identity.of_client && !self.settings.idempotency {
            true => {
                if self.off_logged.is_first() {
                    tracing::error!(topic = %asked.record.topic, "requests with an idempotency key are refused: set the topic's idempotency to true (said once)");
                }
                Err(Instead::Refused(ReplyError::IdempotencyUnavailable))
            }
            false => self.decide(asked, self.partition(intake), &identity).await,
        };
        decided
            .map(Some)
            .inspect_err(|instead| {
                let answer = match instead {
                    Instead::Answered(answer) => answer,
                    Instead::Stored(stored) => &stored.head,
                    _ => return,
                };
                // A record that came again after a kill gets its own answer.
                if is_replayed(&answer.headers) {
                    self.metrics.replayed.inc();
                }
            })
            .map_err(|instead| match instead {
                Instead::Refused(error) => {
                    self.metrics.refused(error);
                    // A record that repeats another is no request of its own.
                    match identity.of_client || error == ReplyError::IdempotencyUnavailable {
                        true => Instead::Refused(error),
                        false => Instead::PassedOver,
                    }
                }
                other => other,
            })
    }

    async fn decide(
        &self,
        asked: Asked<'_>,
        memory: Rc<PartitionMemory>,
        identity: &Identity,
    ) -> Result<Claim, Instead> {
        let unavailable = Err(Instead::Refused(ReplyError::IdempotencyUnavailable));
        tokio::select! {
            biased;
            () = memory.is_there() => {}
            () = asked.lease.revoked() => return Err(Instead::Released),
            () = asked.deadline.passed() => return unavailable,
        }
        let belongs_to = partition_of(&identity.key, memory.partitions());
        if identity.of_client && belongs_to != Some(memory.number) {
            // Another partition may remember it.
            if self.moved_logged.is_first() {
                tracing::warn!(topic = %asked.record.topic, partition = memory.number, ?belongs_to,
                    "a request with an idempotency key came in a partition that is not its key's, and is refused: partitions were added a moment ago, or its writer does not place keys as Kafka's Java client does (said once)");
            }
            return unavailable;
        }
        let key = KeyId::of(&identity.key);
        loop {
            match memory.decide(key, identity.fingerprint, now_ms()) {
                Decision::Reused => return Err(Instead::Refused(ReplyError::IdempotencyKeyReused)),
                Decision::Known(entry) => return Err(self.known(asked, identity, entry).await),
                Decision::Wait(ending) => match self.wait(asked, ending).await {
                    // It has ended without an answer that is kept: the next one runs.
                    None => {}
                    Some(ended) => return Err(ended),
                },
                Decision::Run(ends) => {
                    let mut claim = Claim {
                        memory,
                        writer: self.writer.clone(),
                        metrics: self.metrics.clone(),
                        identity: identity.clone(),
                        sealing: is_sealed(asked.record).then(|| self.sealing.load_full()),
                        ends,
                        is_begun: false,
                    };
                    if self.is_full() {
                        if self.full_logged.is_first() {
                            tracing::error!(topic = %asked.record.topic, keys = self.len(),
                                "requests with new idempotency keys are refused: raise max_idempotency_keys, or add workers (said once)");
                        }
                        return unavailable;
                    }
                    if self.at_most_once {
                        claim.begin().await;
                    }
                    return Ok(claim);
                }
            }
        }
    }

    /// Waits for the first request with its key. `None`: that has ended without an answer for both.
    async fn wait(&self, asked: Asked<'_>, mut ending: Ending) -> Option<Instead> {
        let _waiting = Counted::new(&self.metrics.waiting);
        let answer = tokio::select! {
            biased;
            ended = ending.wait_for(Option::is_some) => ended.ok().and_then(|answer| answer.clone()),
            () = asked.lease.revoked() => return Some(Instead::Released),
            () = asked.deadline.passed() => return Some(Instead::Refused(ReplyError::IdempotencyKeyInUse)),
        };
        answer.map(|answer| Instead::Answered(again(&answer, asked.request)))
    }

    /// What a request gets whose key is known.
    async fn known(&self, asked: Asked<'_>, identity: &Identity, entry: Entry) -> Instead {
        match entry.known {
            // Nobody waits for another answer to the same record.
            Known::TooLarge if !identity.of_client => return Instead::Refused(ReplyError::ResponseTooLarge),
            Known::Begun | Known::Free => return Instead::Refused(ReplyError::OutcomeUnknown),
            Known::Answered | Known::TooLarge => {}
        }
        let read = tokio::select! {
            biased;
            read = self.remembered(asked.request, identity, entry) => read,
            () = asked.lease.revoked() => return Instead::Released,
            () = asked.deadline.passed() => Err("it took too long".into()),
        };
        read.unwrap_or_else(|why| {
            tracing::warn!(topic = %self.restorer.topic, partition = entry.partition, offset = entry.offset, why,
                "a remembered answer cannot be read; its client gets 502, and its request is not run again");
            Instead::Refused(ReplyError::OutcomeUnknown)
        })
    }

    /// Reads what is remembered of a key, for another request with it: of a body that lies elsewhere, the first pieces.
    async fn remembered(&self, request: &Request, identity: &Identity, entry: Entry) -> Result<Instead, String> {
        let read = self
            .recall
            .read(&self.restorer.topic, entry.partition, entry.offset)
            .await;
        let record = read.map_err(|error| error.to_string())?;
        let Some(Remembered { answer, stored }) = answer_of(&record, &identity.key, &self.sealing.load())? else {
            return Ok(Instead::Refused(ReplyError::ResponseTooLarge));
        };
        let answer = again(&answer, request);
        let Some(Stored { id, place }) = stored else {
            return Ok(Instead::Answered(answer));
        };
        let wanted = Wanted {
            topic: self.answers.topic.clone(),
            correlation_id: id.to_bytes(),
            place,
        };
        let body = StoredBody::open(&self.recall, wanted, &self.sealing).await;
        let body = body.map_err(|error| error.to_string())?;
        Ok(Instead::Stored(Box::new(StoredAnswer { head: answer, body })))
    }

    /// Where the body of an answer goes that is larger than a record.
    pub fn body_of(&self, record: &RawRecord, claim: &Claim) -> Rc<Body> {
        Rc::new(Body::new(&self.answers, record.partition, claim.sealing.clone()))
    }

    /// It takes no further key. Of those that have expired some are let go at each look: none comes in that would do it.
    fn is_full(&self) -> bool {
        let is_over = || self.len() >= self.settings.max_keys;
        if is_over() {
            let now_ms = now_ms();
            self.partitions
                .borrow()
                .values()
                .for_each(|memory| memory.forget_expired(now_ms));
        }
        is_over()
    }

    /// Keys that are known in all partitions.
    fn len(&self) -> usize {
        self.partitions.borrow().values().map(|memory| memory.len()).sum()
    }

    /// The memory of a record's partition.
    fn partition(&self, intake: &Intake) -> Rc<PartitionMemory> {
        let number = intake.record.partition;
        let mut partitions = self.partitions.borrow_mut();
        let memory = partitions
            .entry(number)
            .or_insert_with(|| Rc::new(PartitionMemory::new(number, self.metrics.keys.clone())));
        if memory.begin(intake.epoch) {
            let restoring = restore(
                memory.clone(),
                self.restorer.clone(),
                (intake.epoch, intake.lease.clone()),
                self.metrics.clone(),
            );
            actix::spawn(self.over.clone().run_until_cancelled_owned(restoring));
        }
        memory.clone()
    }
}

/// Restores a partition for an assignment, and lets it go with that.
async fn restore(
    memory: Rc<PartitionMemory>,
    restorer: Arc<Restorer>,
    (epoch, lease): (u32, Lease),
    metrics: TopicMemoryMetrics,
) {
    let began = Instant::now();
    let mut last_trouble = String::new();
    let restoring = async {
        loop {
            let error = match restorer.restore(memory.number).await {
                Ok(restored) => return restored,
                Err(error) => error,
            };
            let trouble = error.to_string();
            if error.passes() && began.elapsed() < TOPIC_PATIENCE {
                tracing::debug!(partition = memory.number, %error, "idempotency keys are not restored yet");
            } else if trouble != last_trouble {
                tracing::error!(partition = memory.number, %error, "requests with an idempotency key wait, and get 503 in the end");
                last_trouble = trouble;
            }
            actix::clock::sleep(error.try_again_after()).await;
        }
    };
    let restored = tokio::select! {
        biased;
        restored = restoring => restored,
        () = lease.revoked() => return memory.let_go(epoch),
    };
    let keys = restored.index.len();
    memory.restored(epoch, restored, now_ms());
    metrics.restored.inc_by(keys as u64);
    metrics.restore.observe(began.elapsed().as_secs_f64());
    let seconds = began.elapsed().as_secs_f32();
    tracing::info!(topic = %restorer.topic, partition = memory.number, keys, seconds, "idempotency keys restored");
    lease.revoked().await;
    memory.let_go(epoch);
}
