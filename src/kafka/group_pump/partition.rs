//! One assigned partition: its queue, its window, and what may be committed of it.

mod poisoned;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::ahead::AwaitingCommit;
use super::backlog::Backlog;
use super::commit_metadata::{CommitMetadata, DEFAULT_LIMIT, room};
use super::completion::{Completion, Outcome};
use super::consumer::{GroupConsumer, PartitionQueues, position};
use super::done_set::DoneSet;
use super::intake::{Ahead, Intake, Lease};
use super::offsets::Tracker;
use super::positions::Position;
use super::window::ByteBudget;
use crate::kafka::cluster::describe::TopicId;
use crate::kafka::detour::{Detour, Step};
use crate::kafka::fetch_queue::high_watermark;
use crate::kafka::record::Copied;
use crate::wire::RawRecord;

/// Bytes of one partition's records between intake and commit: what bounds memory where records are large.
const WINDOW_BYTES: usize = 16 << 20;

/// A queue that was empty this long ago was so recently: a parked pump polls it once a second.
const RECENTLY: Duration = Duration::from_secs(2);

/// What a poll of a partition's queue finds.
pub enum Next {
    /// Nothing is there now.
    Empty,
    /// A record for the worker.
    Record(Intake),
    /// A record was taken in. It goes to the worker when its commit is taken.
    AwaitsCommit,
    /// A record that an earlier owner of the partition has done.
    Done,
    /// An error of this partition; most heal by themselves.
    Error(KafkaError),
    /// The way around a batch that cannot be unpacked goes on.
    Searching,
    /// A batch of these offsets cannot be unpacked, and was passed over.
    Poisoned(Range<i64>),
    /// A record at this offset, below the last one taken in: the topic was recreated or truncated.
    Rewound(i64),
}

/// One assigned partition. The pump's thread alone touches it.
pub struct Partition {
    topic: Arc<str>,
    number: i32,
    /// Filled by librdkafka from the assignment on.
    queue: PartitionQueues,
    /// Bytes of one record; a larger one is cut.
    max_record: usize,
    /// Set while a batch cannot be unpacked.
    detour: Option<Detour>,
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
    stashed: VecDeque<Copied>,
    /// Where intake begins, if that is known, then the offset after the last record taken in; set by `next`.
    position: Option<i64>,
    /// A record was taken in; set by `next`.
    begun: bool,
    /// What an earlier owner has done beyond its commit. Emptied by `next` when the log is another one.
    done_before: DoneSet,
    /// Go into each commit.
    topic_id: Option<TopicId>,
    began_with: i32,
    /// How long a commit's metadata may be. Halved by `commit_answered` when the broker takes less.
    metadata_limit: usize,
    /// At least once: the version of `tracker` that Kafka was asked to commit, until it answers.
    commit_asked: Option<u64>,
    /// The version that it took last.
    committed: u64,
    /// The record that blocks the commit, and since when; set by `backlog`.
    oldest: Option<(i64, Instant)>,
    /// The partition's end when the queue was last seen empty; set by `backlog`.
    empty_at: Option<i64>,
    /// The queue was empty at the last poll, and intake has not stood still since; set by `next`, unset by `intake_stands_still`.
    idle: bool,
    /// The partition's end before the assignment: records before it were written while nobody, or another member, had it.
    end_before: Option<i64>,
    /// When the queue was last empty, without a standstill of intake since; set by `next`.
    empty: Option<Instant>,
    /// Set by `revoke`: nothing more is taken in.
    revoking: bool,
}

impl Partition {
    pub fn new(
        queue: PartitionQueues,
        topic: Arc<str>,
        topic_id: Option<TopicId>,
        begin: Position,
        at_most_once: bool,
        max_record: usize,
        epoch: u32,
    ) -> Self {
        Partition {
            topic,
            number: begin.partition,
            queue,
            max_record,
            detour: None,
            tracker: Tracker::new(begin.offset),
            ahead: at_most_once.then(AwaitingCommit::default),
            unfinished: Arc::default(),
            lease: Lease::default(),
            epoch,
            stashed: VecDeque::new(),
            position: begin.offset,
            begun: false,
            done_before: begin.done,
            topic_id,
            began_with: begin.began_with,
            metadata_limit: DEFAULT_LIMIT,
            commit_asked: None,
            committed: 0,
            oldest: None,
            empty_at: None,
            end_before: begin.end,
            empty: None,
            idle: false,
            revoking: false,
        }
    }

    pub fn number(&self) -> i32 {
        self.number
    }

    /// Keeps a record that reached the consumer's main queue.
    pub fn stash(&mut self, record: Copied) {
        self.stashed.push_back(record);
    }

    /// May another record be taken in? One stuck record stops its own partition, and nothing else.
    pub fn has_room(&self, window: usize, budget: &ByteBudget) -> bool {
        let bytes = self.tracker.bytes();
        !self.revoking
            && self.tracker.len() < window
            && bytes < WINDOW_BYTES
            && budget.has_room(bytes)
            && self.tracker.most_done_bytes() <= self.done_room()
    }

    /// It takes nothing in until others give bytes back.
    pub fn waits_for_bytes(&self, budget: &ByteBudget) -> bool {
        !budget.has_room(self.tracker.bytes())
    }

    /// Bytes of a commit's metadata for what is done beyond its offset. A broker that takes next to none bounds nothing: there, records
    /// are done again.
    fn done_room(&self) -> usize {
        match room(self.metadata_limit) {
            Some(room) if self.ahead.is_none() && room >= LEAST_ROOM => room,
            _ => usize::MAX,
        }
    }

    /// Intake stands still for now: records that come meanwhile wait.
    pub fn intake_stands_still(&mut self) {
        self.idle = false;
        self.empty = None;
    }

    /// Polls the queue once. `budget` counts the record's bytes. `count_ahead` counts a record among those that are committed before the
    /// work, given this partition's count.
    pub fn next(
        &mut self,
        consumer: &GroupConsumer,
        budget: &ByteBudget,
        count_ahead: impl FnOnce(&Arc<AtomicUsize>) -> Option<Ahead>,
    ) -> Next {
        let Copied { record, oversized } = match self.stashed.pop_front() {
            Some(record) => record,
            None => match self.poll() {
                None => {
                    let now = Instant::now();
                    match self.detour.as_mut().map(|detour| detour.nothing(now)) {
                        None | Some(Step::Wait) => {}
                        Some(step) => return self.follow(consumer, step),
                    }
                    self.idle = true;
                    self.empty = Some(now);
                    return Next::Empty;
                }
                Some(Err(error)) => return self.failed(consumer, error),
                Some(Ok(copied)) => copied,
            },
        };
        if let Some(detour) = self.detour.as_mut().filter(|detour| detour.is_searching()) {
            let step = detour.record(Instant::now());
            return self.follow(consumer, step);
        }
        self.detour = None;
        if self.position.is_some_and(|position| record.offset < position) {
            if self.begun {
                return Next::Rewound(record.offset);
            }
            // The log ended before the commit, and is read from its beginning: nothing of it is done.
            self.tracker = Tracker::default();
            self.done_before = DoneSet::default();
        }
        let fresh = self.end_before.is_some_and(|end| record.offset >= end)
            && self.empty.is_some_and(|empty| empty.elapsed() < RECENTLY);
        self.idle = false;
        self.begun = true;
        self.position = Some(record.offset + 1);
        let bytes = size(&record);
        self.tracker.start(record.offset, bytes);
        if self.done_before.contains(record.offset) {
            self.tracker.finish(record.offset);
            return Next::Done;
        }
        let lease = match self.ahead {
            Some(_) => self.lease.of_committed(),
            None => self.lease.clone(),
        };
        let intake = Intake {
            record,
            oversized,
            lease,
            epoch: self.epoch,
            fresh,
            ahead: count_ahead(&self.unfinished),
            held: budget.hold(bytes),
        };
        match &mut self.ahead {
            None => Next::Record(intake),
            Some(ahead) => {
                ahead.push(intake);
                Next::AwaitsCommit
            }
        }
    }

    /// There is something to commit, and no commit is under way.
    pub fn wants_commit(&self) -> bool {
        match &self.ahead {
            Some(ahead) => ahead.wants_commit(),
            None => self.commit_asked.is_none() && self.tracker.version() != self.committed,
        }
    }

    /// A commit is under way, or something is to be committed.
    pub fn is_committing(&self) -> bool {
        self.commit_asked.is_some() || self.wants_commit()
    }

    /// The offset to commit next and its metadata, where `wants_commit`. At most once, records wait for it.
    pub fn ask_commit(&mut self) -> Option<(i64, String)> {
        if !self.wants_commit() {
            return None;
        }
        match &mut self.ahead {
            Some(ahead) => {
                let offset = ahead.ask()?;
                Some((offset, self.metadata(offset, DoneSet::default())))
            }
            None => {
                self.commit_asked = Some(self.tracker.version());
                self.last_commit()
            }
        }
    }

    /// At least once: what is to be committed before the partition goes, whether a commit is under way or not.
    pub fn last_commit(&self) -> Option<(i64, String)> {
        let offset = self.tracker.next()?;
        let changed = self.ahead.is_none() && self.tracker.version() != self.committed;
        changed.then(|| (offset, self.metadata(offset, self.tracker.done_beyond())))
    }

    fn metadata(&self, offset: i64, done: DoneSet) -> String {
        let metadata = CommitMetadata {
            topic: self.topic_id,
            began_with: self.began_with,
            done,
        };
        metadata.encode(offset, self.metadata_limit)
    }

    /// Kafka took a commit up to an offset, or refused it. Returns the records that may be worked on now.
    pub fn commit_answered(&mut self, answer: Result<i64, RDKafkaErrorCode>) -> Vec<Intake> {
        if answer == Err(RDKafkaErrorCode::OffsetMetadataTooLarge) {
            self.metadata_limit /= 2;
        }
        match (&mut self.ahead, answer) {
            (Some(ahead), Ok(offset)) => ahead.committed(offset).collect(),
            (Some(ahead), Err(_)) => {
                ahead.refused();
                if self.revoking {
                    self.give_back();
                }
                Vec::new()
            }
            (None, answer) => {
                if let (Some(version), Ok(_)) = (self.commit_asked.take(), answer) {
                    self.committed = version;
                }
                Vec::new()
            }
        }
    }

    /// Drops the records that no commit under way covers.
    pub fn give_back(&mut self) {
        if let Some(ahead) = &mut self.ahead {
            ahead.give_back().for_each(|offset| self.tracker.release(offset));
        }
    }

    /// Records a completion.
    pub fn complete(&mut self, completion: &Completion) {
        if completion.epoch != self.epoch {
            return;
        }
        match completion.outcome {
            Outcome::Done => drop(self.tracker.finish(completion.offset)),
            Outcome::Released => self.tracker.release(completion.offset),
        }
    }

    /// Stops intake; records whose work has not begun give themselves back.
    pub fn revoke(&mut self) {
        self.revoking = true;
        self.lease.revoke();
        self.give_back();
    }

    /// What the calls that are under way see of it.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// What lies before the consumer here. No network. `stands_still`: nothing is taken in now.
    pub fn backlog(&mut self, consumer: &GroupConsumer, stands_still: bool) -> Backlog {
        let oldest = self.tracker.oldest();
        if oldest != self.oldest.map(|(offset, _)| offset) {
            self.oldest = oldest.map(|offset| (offset, Instant::now()));
        }
        let end = high_watermark(consumer, &self.topic, self.number);
        if self.idle && !stands_still {
            self.empty_at = end;
        }
        // Markers of transactions may lie beyond the last record. No consumer is shown them; librdkafka's own position has passed them.
        let next = oldest.or_else(|| position(consumer, &self.topic, self.number).max(self.position));
        Backlog {
            partition: self.number,
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
        self.tracker.outstanding() + self.lease.held()
    }
}

/// Metadata with less room for a done set than this is of no use.
const LEAST_ROOM: usize = 16;

fn size(record: &RawRecord) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.as_ref().map_or(0, |value| value.len()))
        .sum();
    headers + record.key.as_ref().map_or(0, |key| key.len()) + record.value.as_ref().map_or(0, |value| value.len())
}
