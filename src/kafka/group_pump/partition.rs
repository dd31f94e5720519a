//! One assigned partition: its queue, its window, and what may be committed of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka_sys as rdsys;

use super::context::PumpContext;
use crate::kafka::intake::{Completion, Intake, Lease, Outcome};
use crate::kafka::offsets::Tracker;
use crate::kafka::record::raw_record;
use crate::wire::RawRecord;

/// Bytes of one partition's records between intake and commit: what bounds memory where records are large.
const WINDOW_BYTES: usize = 16 << 20;

/// What a look into a partition's queue finds.
pub enum Next {
    None,
    Record(Intake),
    /// Of this partition; most heal by themselves.
    Error(KafkaError),
    /// The topic was recreated or truncated, and this is an offset we had passed. librdkafka commits nothing below what it has committed
    /// (`rdkafka_partition.c:3547`), so only a new consumer gets on with it.
    WentBack(i64),
}

pub struct Partition {
    topic: Arc<str>,
    queue: PartitionQueue<PumpContext>,
    tracker: Tracker,
    lease: Lease,
    /// This assignment's number; completions of an earlier one are dropped.
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
    pub fn new(queue: PartitionQueue<PumpContext>, topic: Arc<str>, epoch: u32) -> Self {
        Partition {
            topic,
            queue,
            tracker: Tracker::default(),
            lease: Lease::new(),
            epoch,
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
    pub fn next(&mut self, consumer: &BaseConsumer<PumpContext>) -> Next {
        let record = match self.stashed.pop_front() {
            Some(record) => record,
            None => match self.queue.poll(Duration::ZERO) {
                None => {
                    self.idle = true;
                    return Next::None;
                }
                Some(Err(error)) => return Next::Error(error),
                Some(Ok(message)) => raw_record(&message, &self.topic),
            },
        };
        if self.position.is_some_and(|position| record.offset < position) {
            return Next::WentBack(record.offset);
        }
        let no_backlog = self.idle
            && self.position == Some(record.offset)
            && high_watermark(consumer, &self.topic, record.partition).is_some_and(|high| high <= record.offset + 1);
        self.idle = false;
        self.position = Some(record.offset + 1);
        self.tracker.start(record.offset, size(&record));
        Next::Record(Intake {
            record,
            lease: self.lease.clone(),
            epoch: self.epoch,
            no_backlog,
        })
    }

    /// Takes in a completion; returns the next offset to commit, where there is a new one.
    pub fn complete(&mut self, completion: &Completion) -> Option<i64> {
        if completion.epoch != self.epoch {
            return None;
        }
        match completion.outcome {
            Outcome::Done => self.tracker.finish(completion.offset),
            Outcome::Released => {
                self.tracker.release(completion.offset);
                None
            }
        }
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
