//! One assigned partition: its queue, its window, and what may be committed of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use rdkafka_sys as rdsys;

use super::ahead::CommitAhead;
use super::caught_up::CaughtUp;
use super::context::PumpContext;
use crate::kafka::group_pump::backlog::Backlog;
use crate::kafka::group_pump::intake::{Ahead, Completion, Intake, Lease, Outcome};
use crate::kafka::group_pump::offsets::Tracker;
use crate::kafka::record::raw_record;
use crate::wire::RawRecord;

/// Bytes of one partition's records between intake and commit: what bounds memory where records are large.
const WINDOW_BYTES: usize = 16 << 20;

/// What a look into a partition's queue finds.
pub enum Next {
    None,
    Record(Intake),
    /// A record that waits for its commit.
    Waits,
    /// Of this partition; most heal by themselves.
    Error(KafkaError),
    /// The topic was recreated or truncated, and this is an offset we had passed. librdkafka commits nothing below what it has committed
    /// (`rdkafka_partition.c:3547`), so only a new consumer gets on with it.
    WentBack(i64),
}

pub struct Partition {
    topic: Arc<str>,
    number: i32,
    queue: PartitionQueue<PumpContext>,
    tracker: Tracker,
    /// At most once: what was taken in and is not committed yet.
    ahead: Option<CommitAhead>,
    /// Of these, and of those at work, the ones whose outcome does not stand.
    unfinished: Arc<AtomicUsize>,
    lease: Lease,
    /// This assignment's number; completions of an earlier one are dropped.
    epoch: u32,
    /// Records that reached the consumer's main queue before ours was split off.
    stashed: VecDeque<RawRecord>,
    /// Offset after the last record taken in.
    position: Option<i64>,
    /// The record that blocks the commit, and since when, as `backlog` saw it.
    oldest: Option<(i64, Instant)>,
    /// The partition's end when the queue was last seen empty.
    caught_up_at: Option<i64>,
    /// The queue was empty since the last record, or since intake went on.
    idle: bool,
    /// When it had caught up.
    caught_up: CaughtUp,
    revoking: bool,
}

impl Partition {
    /// `consumer` must not have been given the assignment yet: the end that it knows is that of an earlier one.
    pub fn new(
        consumer: &BaseConsumer<PumpContext>,
        queue: PartitionQueue<PumpContext>,
        topic: Arc<str>,
        number: i32,
        at_most_once: bool,
        epoch: u32,
    ) -> Self {
        Partition {
            caught_up: CaughtUp::new(high_watermark(consumer, &topic, number)),
            topic,
            number,
            queue,
            tracker: Tracker::default(),
            ahead: at_most_once.then(CommitAhead::default),
            unfinished: Arc::default(),
            lease: Lease::default(),
            epoch,
            stashed: VecDeque::new(),
            position: None,
            oldest: None,
            caught_up_at: None,
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

    /// Nobody looks into the queue for now: what comes meanwhile waits.
    pub fn not_looked_at(&mut self) {
        self.idle = false;
    }

    /// Kafka is in trouble: what is known of the end may be old.
    pub fn doubt(&mut self, now: Instant) {
        self.caught_up.doubt(now);
    }

    /// The next record, if there is one now. `ahead` makes its places among those to be committed ahead, from the count of this partition's.
    pub fn next(
        &mut self,
        consumer: &BaseConsumer<PumpContext>,
        ahead: impl FnOnce(&Arc<AtomicUsize>) -> Ahead,
    ) -> Next {
        let now = Instant::now();
        self.caught_up.look(now);
        let record = match self.stashed.pop_front() {
            Some(record) => record,
            None => match self.queue.poll(Duration::ZERO) {
                None => {
                    self.idle = true;
                    let end = || high_watermark(consumer, &self.topic, self.number);
                    self.caught_up.empty(now, self.position, end);
                    return Next::None;
                }
                Some(Err(error)) => return Next::Error(error),
                Some(Ok(message)) => raw_record(&message, &self.topic),
            },
        };
        if self.position.is_some_and(|position| record.offset < position) {
            return Next::WentBack(record.offset);
        }
        let caught_up = self.caught_up.took(self.position, record.offset);
        self.idle = false;
        self.position = Some(record.offset + 1);
        self.tracker.start(record.offset, size(&record));
        let lease = match self.ahead {
            Some(_) => self.lease.of_committed(),
            None => self.lease.clone(),
        };
        let intake = Intake {
            record,
            lease,
            epoch: self.epoch,
            caught_up,
            ahead: self.ahead.is_some().then(|| ahead(&self.unfinished)),
        };
        match &mut self.ahead {
            None => Next::Record(intake),
            Some(ahead) => {
                ahead.push(intake);
                Next::Waits
            }
        }
    }

    /// At most once: the offset that Kafka must take before more records are worked on.
    pub fn ask_commit(&mut self) -> Option<i64> {
        self.ahead.as_mut()?.ask()
    }

    /// Kafka took a commit up to `offset`, or (`None`) did not; returns what may be worked on now.
    pub fn commit_answered(&mut self, offset: Option<i64>) -> Vec<Intake> {
        match (&mut self.ahead, offset) {
            (Some(ahead), Some(offset)) => ahead.committed(offset).collect(),
            (Some(ahead), None) => {
                ahead.refused();
                if self.revoking {
                    self.give_back();
                }
                Vec::new()
            }
            (None, _) => Vec::new(),
        }
    }

    /// Lets go of what waits for a commit that is not under way.
    pub fn give_back(&mut self) {
        if let Some(ahead) = &mut self.ahead {
            ahead.give_back().for_each(|offset| self.tracker.release(offset));
        }
    }

    /// Takes in a completion; returns the next offset to commit, where there is a new one.
    pub fn complete(&mut self, completion: &Completion) -> Option<i64> {
        if completion.epoch != self.epoch {
            return None;
        }
        match completion.outcome {
            // At most once it is committed already, and perhaps more.
            Outcome::Done => self.tracker.finish(completion.offset).filter(|_| self.ahead.is_none()),
            Outcome::Released => {
                self.tracker.release(completion.offset);
                None
            }
        }
    }

    /// Stops intake; records whose work has not begun give themselves back.
    pub fn revoke(&mut self) {
        self.revoking = true;
        self.lease.revoke();
        self.give_back();
    }

    /// Ends the calls under way.
    pub fn cut_off(&self) {
        self.lease.cut();
    }

    /// What lies before the consumer here. No network.
    pub fn backlog(&mut self, number: i32, consumer: &BaseConsumer<PumpContext>, stands_still: bool) -> Backlog {
        let oldest = self.tracker.oldest();
        if oldest != self.oldest.map(|(offset, _)| offset) {
            self.oldest = oldest.map(|offset| (offset, Instant::now()));
        }
        let end = high_watermark(consumer, &self.topic, number);
        if self.idle && !stands_still {
            self.caught_up_at = end;
        }
        // Beyond the last record may lie what no consumer is shown (markers of transactions): librdkafka's own position has passed them.
        let next = oldest.or_else(|| app_position(consumer, &self.topic, number));
        Backlog {
            partition: number,
            // No record came yet, and there was none: it had caught up before.
            next: next.or(self.caught_up_at),
            end,
            in_flight: self.tracker.outstanding(),
            oldest_since: self.oldest.map(|(_, since)| since),
            stands_still,
        }
    }

    /// At most once: records taken in whose outcome does not stand.
    pub fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::Acquire)
    }

    pub fn outstanding(&self) -> usize {
        self.tracker.outstanding()
    }
}

/// The offset behind the last record that was polled; no network.
fn app_position(consumer: &BaseConsumer<PumpContext>, topic: &str, partition: i32) -> Option<i64> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, partition);
    // SAFETY: client and list live through the call, which fills the list in place.
    let code = unsafe { rdsys::rd_kafka_position(consumer.client().native_ptr(), list.ptr()) };
    match list.elements().first().map(|element| element.offset()) {
        Some(Offset::Offset(position)) if code == rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
            Some(position)
        }
        _ => None,
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
