//! The end of a record: its offset may be committed once every record that it caused is acknowledged by Kafka.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::exchange::{Phase, UnderWay};
use crate::kafka::group_pump::completion::{Completion, Outcome};
use crate::kafka::group_pump::handle::PumpHandle;
use crate::kafka::group_pump::intake::Intake;
use crate::processor::metrics::TopicMetrics;
use crate::settings::{Delivery, Topic};

/// How a record ends whose reply Kafka does not take.
const UNDELIVERED: &str = "undelivered";

/// Where one worker's records are settled: their pump, and what counts them.
pub struct Ledger {
    pump: PumpHandle,
    request_topic: String,
    /// Records are committed before they are worked on, so one that is given back is lost.
    at_most_once: bool,
    metrics: TopicMetrics,
}

impl Ledger {
    pub fn new(topic: &Topic, pump: PumpHandle, metrics: TopicMetrics) -> Self {
        Ledger {
            pump,
            request_topic: topic.request_topic.clone(),
            at_most_once: topic.delivery == Delivery::AtMostOnce,
            metrics,
        }
    }

    /// Begins a record's settlement. It counts as in flight until the settlement is dropped.
    pub fn open(self: &Arc<Self>, intake: &Intake) -> Arc<Settlement> {
        self.metrics.in_flight.inc();
        Arc::new(Settlement {
            ledger: self.clone(),
            partition: intake.record.partition,
            epoch: intake.epoch,
            offset: intake.record.offset,
            began: Instant::now(),
            acks_left: AtomicU32::new(0),
            seen: OnceLock::new(),
            reply: AtomicI64::new(NOWHERE),
        })
    }
}

/// One record that was taken in. Shared by the records it caused, on their way into Kafka.
pub struct Settlement {
    ledger: Arc<Ledger>,
    partition: i32,
    /// The assignment under which the record was taken in; the pump drops completions of an earlier one.
    epoch: u32,
    offset: i64,
    /// When the record was taken in.
    began: Instant,
    /// Records it caused that Kafka has not acknowledged. Set by `await_acks`, counted down by `acknowledged`.
    acks_left: AtomicU32,
    /// What is told of the record, once nothing is awaited for it any more.
    seen: OnceLock<UnderWay>,
    /// The offset of its reply, or a word of ours.
    reply: AtomicI64,
}

/// There is no reply in Kafka yet.
const NOWHERE: i64 = -1;
/// Kafka does not take the reply.
const REFUSED: i64 = -2;

impl Settlement {
    /// Ends the record once `acknowledged` was called so many times; at once where that is zero.
    pub fn await_acks(&self, count: usize) {
        self.acks_left.store(count as u32, Ordering::Release);
        if count == 0 {
            self.done();
        }
    }

    /// Kafka acknowledged one of the awaited records, or it was given up.
    pub fn acknowledged(&self) {
        if self.acks_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ledger.metrics.latency.observe(self.began.elapsed().as_secs_f64());
            self.done();
        }
    }

    /// What is told of the record when everything that it caused has ended. Said once.
    pub fn ends_with(&self, seen: UnderWay) {
        // Err: never, a record is settled once.
        let _ = self.seen.set(seen);
    }

    /// Kafka has the reply, at this offset.
    pub fn replied(&self, offset: i64) {
        self.reply.store(offset, Ordering::Release);
    }

    /// Kafka does not take the reply, and it was given up.
    pub fn unreplied(&self) {
        self.reply.store(REFUSED, Ordering::Release);
    }

    /// The record needs no more work: its offset may be committed.
    pub fn done(&self) {
        self.end(Outcome::Done);
    }

    /// The record is given back unanswered: the partition's next owner runs it. One that is committed already is lost instead.
    pub fn release(&self) {
        let ledger = &self.ledger;
        if ledger.at_most_once {
            ledger.metrics.lost.inc();
            tracing::warn!(topic = %ledger.request_topic, partition = self.partition, offset = self.offset,
                "record lost: its partition or its process went before it was answered, and it is committed (delivery: at-most-once)");
        }
        self.end(Outcome::Released);
    }

    fn end(&self, outcome: Outcome) {
        self.ledger.pump.complete(Completion {
            partition: self.partition,
            epoch: self.epoch,
            offset: self.offset,
            outcome,
        });
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        self.ledger.metrics.in_flight.dec();
        let Some(mut seen) = self.seen.take() else {
            return;
        };
        match *self.reply.get_mut() {
            NOWHERE => {}
            REFUSED => seen.ending.code = Some(UNDELIVERED),
            offset => {
                seen.ends(Phase::Reply);
                seen.reply.iter_mut().for_each(|reply| reply.offset = Some(offset));
            }
        }
    }
}
