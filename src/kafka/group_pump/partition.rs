//! One assigned partition: its queue, its window, and what may be committed of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka_sys as rdsys;

use super::context::PumpContext;
use super::effect;
use crate::kafka::intake::{Completion, Intake, Lease};
use crate::kafka::offsets::Tracker;
use crate::kafka::record::raw_record;
use crate::wire::RawRecord;

/// Bytes of one partition's records between intake and commit: what bounds memory where records are large.
const WINDOW_BYTES: usize = 16 << 20;

pub struct Partition {
    topic: Arc<str>,
    queue: PartitionQueue<PumpContext>,
    tracker: Tracker,
    lease: Lease,
    /// Grows when the log is rewound under us; completions of an earlier epoch are dropped.
    epoch: u32,
    /// Records that reached the consumer's main queue before ours was split off.
    stashed: VecDeque<RawRecord>,
    /// Offset after the last record taken in.
    position: Option<i64>,
    /// The queue was empty since the last record.
    idle: bool,
    revoking: bool,
}

impl Partition {
    pub fn new(queue: PartitionQueue<PumpContext>, topic: Arc<str>) -> Self {
        Partition {
            topic,
            queue,
            tracker: Tracker::default(),
            lease: Lease::new(),
            epoch: 0,
            stashed: VecDeque::new(),
            position: None,
            idle: false,
            revoking: false,
        }
    }

    pub fn stash(&mut self, record: RawRecord) {
        self.stashed.push_back(record);
    }

    /// May another record be taken in? One stuck record stops its own partition, and nothing else.
    pub fn has_room(&self, window: usize) -> bool {
        !self.revoking && self.tracker.len() < window && self.tracker.bytes() < WINDOW_BYTES
    }

    /// The next record, if there is one now.
    pub fn next(&mut self, consumer: &BaseConsumer<PumpContext>) -> Option<Result<Intake, KafkaError>> {
        let record = match self.stashed.pop_front() {
            Some(record) => record,
            None => match self.queue.poll(Duration::ZERO) {
                None => {
                    self.idle = true;
                    return None;
                }
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(message)) => raw_record(&message, &self.topic),
            },
        };
        let no_backlog = self.idle
            && self.position == Some(record.offset)
            && high_watermark(consumer, &self.topic, record.partition).is_some_and(|high| high <= record.offset + 1);
        self.idle = false;
        self.position = Some(record.offset + 1);
        let bytes = size(&record);
        if !self.tracker.start(record.offset, bytes) {
            self.rewound(&record);
            self.tracker.start(record.offset, bytes);
        }
        Some(Ok(Intake {
            record,
            lease: self.lease.clone(),
            epoch: self.epoch,
            no_backlog,
        }))
    }

    /// The offsets went back: the topic was recreated, or its log truncated. Old records are given up, and the new ones start afresh.
    fn rewound(&mut self, record: &RawRecord) {
        tracing::warn!(topic = %self.topic, partition = record.partition, offset = record.offset,
            "offsets went back: the topic was recreated or truncated; its records are read from there");
        self.lease.cancel();
        self.lease = Lease::new();
        self.epoch += 1;
        self.tracker = Tracker::default();
    }

    /// Takes in a completion; returns the next offset to commit, where there is a new one.
    pub fn complete(&mut self, completion: &Completion) -> Option<i64> {
        if completion.epoch != self.epoch {
            return None;
        }
        effect(completion.outcome, &mut self.tracker, completion.offset)
    }

    /// Stops intake; records whose work has not begun give themselves back.
    pub fn revoke(&mut self) {
        self.revoking = true;
        self.lease.cancel();
    }

    pub fn outstanding(&self) -> usize {
        self.tracker.outstanding()
    }
}

/// The partition's end as the last fetch answer told it; no network.
fn high_watermark(consumer: &BaseConsumer<PumpContext>, topic: &str, partition: i32) -> Option<i64> {
    let topic = std::ffi::CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client lives as long as `consumer`, and the out pointers as long as the call.
    let code = unsafe {
        rdsys::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition,
            &mut low,
            &mut high,
        )
    };
    (code == rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

fn size(record: &RawRecord) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.as_ref().map_or(0, |value| value.len()))
        .sum();
    headers + record.key.as_ref().map_or(0, |key| key.len()) + record.value.as_ref().map_or(0, |value| value.len())
}
