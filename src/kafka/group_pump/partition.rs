//! One assigned partition: its queue, its window, and what may be committed of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;

use super::ahead::AwaitingCommit;
use super::backlog::Backlog;
use super::caught_up::CaughtUp;
use super::completion::{Completion, Outcome};
use super::consumer::{GroupConsumer, high_watermark, position};
use super::context::PumpContext;
use super::intake::{Ahead, Intake, Lease};
use super::offsets::Tracker;
use crate::kafka::record::raw_record;
use crate::wire::RawRecord;

/// Bytes of one partition's records between intake and commit: what bounds memory where records are large.
const WINDOW_BYTES: usize = 16 << 20;

/// What a poll of a partition's queue finds.
pub enum Next {
    /// Nothing is there now.
    Empty,
    /// A record for the worker.
    Record(Intake),
    /// A record was taken in. It goes to the worker when its commit is taken.
    AwaitsCommit,
    /// An error of this partition; most heal by themselves.
    Error(KafkaError),
    /// A record at this offset, below the last one taken in: the topic was recreated or truncated. librdkafka commits nothing below what it
    /// has committed (`rdkafka_partition.c:3547`), so only a new consumer can go on.
    Rewound(i64),
}

/// One assigned partition. The pump's thread alone touches it.
pub struct Partition {
    topic: Arc<str>,
    number: i32,
    /// Filled by librdkafka from the assignment on.
    queue: PartitionQueue<PumpContext>,
    /// Records between intake and commit.
    tracker: Tracker,
    /// Set for at-most-once delivery: records that were taken in and are not committed yet.
    ahead: Option<AwaitingCommit>,
    /// At most once: records that were taken in and whose outcome is not decided. The worker counts down.
    unfinished: Arc<AtomicUsize>,
    /// Shared with each record taken in.
    lease: Lease,
    /// This assignment's number; completions of an earlier one are dropped.
    epoch: u32,
    /// Records that reached the consumer's main queue before `queue` was split off from it.
    stashed: VecDeque<RawRecord>,
    /// Offset after the last record taken in; set by `next`.
    position: Option<i64>,
    /// The record that blocks the commit, and since when; set by `backlog`.
    oldest: Option<(i64, Instant)>,
    /// The partition's end when the queue was last seen empty; set by `backlog`.
    empty_at: Option<i64>,
    /// The queue was empty at the last poll, and intake has not stood still since; set by `next`, unset by `intake_stands_still`.
    idle: bool,
    /// When nothing was left to take in.
    caught_up: CaughtUp,
    /// Set by `revoke`: nothing more is taken in.
    revoking: bool,
}

impl Partition {
    /// `consumer` must not have been given the assignment yet, so that the end that it knows is that of an earlier one.
    pub fn new(
        consumer: &GroupConsumer,
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
            ahead: at_most_once.then(AwaitingCommit::default),
            unfinished: Arc::default(),
            lease: Lease::default(),
            epoch,
            stashed: VecDeque::new(),
            position: None,
            oldest: None,
            empty_at: None,
            idle: false,
            revoking: false,
        }
    }

    /// Keeps a record that reached the consumer's main queue.
    pub fn stash(&mut self, record: RawRecord) {
        self.stashed.push_back(record);
    }

    /// May another record be taken in? One stuck record stops its own partition, and nothing else.
    pub fn has_room(&self, window: usize) -> bool {
        !self.revoking && self.tracker.len() < window && self.tracker.bytes() < WINDOW_BYTES
    }

    /// Intake stands still for now: records that come meanwhile wait.
    pub fn intake_stands_still(&mut self) {
        self.idle = false;
    }

    /// Kafka is in trouble: the end that is known may be old.
    pub fn doubt(&mut self, now: Instant) {
        self.caught_up.doubt(now);
    }

    /// Polls the queue once. `count_ahead` counts a record among those that are committed before the work, given this partition's count.
    pub fn next(
        &mut self,
        consumer: &GroupConsumer,
        count_ahead: impl FnOnce(&Arc<AtomicUsize>) -> Option<Ahead>,
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
                    return Next::Empty;
                }
                Some(Err(error)) => return Next::Error(error),
                Some(Ok(message)) => raw_record(&message, &self.topic),
            },
        };
        if self.position.is_some_and(|position| record.offset < position) {
            return Next::Rewound(record.offset);
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
            ahead: count_ahead(&self.unfinished),
        };
        match &mut self.ahead {
            None => Next::Record(intake),
            Some(ahead) => {
                ahead.push(intake);
                Next::AwaitsCommit
            }
        }
    }

    /// At most once: the offset that Kafka must take before more records are worked on.
    pub fn ask_commit(&mut self) -> Option<i64> {
        self.ahead.as_mut()?.ask()
    }

    /// Kafka took a commit up to `offset`; `None`: it did not take it. Returns the records that may be worked on now.
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

    /// Drops the records that no commit under way covers.
    pub fn give_back(&mut self) {
        if let Some(ahead) = &mut self.ahead {
            ahead.give_back().for_each(|offset| self.tracker.release(offset));
        }
    }

    /// Records a completion. Returns the next offset to commit, where there is a new one.
    pub fn complete(&mut self, completion: &Completion) -> Option<i64> {
        if completion.epoch != self.epoch {
            return None;
        }
        match completion.outcome {
            // At most once, this offset is committed already, and perhaps later ones.
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

    /// Ends the calls that are under way.
    pub fn cut_off(&self) {
        self.lease.cut();
    }

    /// What lies before the consumer here. No network. `stands_still`: nothing is taken in now.
    pub fn backlog(&mut self, number: i32, consumer: &GroupConsumer, stands_still: bool) -> Backlog {
        let oldest = self.tracker.oldest();
        if oldest != self.oldest.map(|(offset, _)| offset) {
            self.oldest = oldest.map(|offset| (offset, Instant::now()));
        }
        let end = high_watermark(consumer, &self.topic, number);
        if self.idle && !stands_still {
            self.empty_at = end;
        }
        // Markers of transactions may lie beyond the last record. No consumer is shown them; librdkafka's own position has passed them.
        let next = oldest.or_else(|| position(consumer, &self.topic, number));
        Backlog {
            partition: number,
            // No record came yet because there was none: the consumer stands where the queue was empty.
            next: next.or(self.empty_at),
            end,
            in_flight: self.tracker.outstanding(),
            oldest_since: self.oldest.map(|(_, since)| since),
            stands_still,
        }
    }

    /// At most once: records that were taken in and whose outcome is not decided.
    pub fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::Acquire)
    }

    /// Records that the worker has.
    pub fn outstanding(&self) -> usize {
        self.tracker.outstanding()
    }
}

fn size(record: &RawRecord) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.as_ref().map_or(0, |value| value.len()))
        .sum();
    headers + record.key.as_ref().map_or(0, |key| key.len()) + record.value.as_ref().map_or(0, |value| value.len())
}
