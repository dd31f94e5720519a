//! The commits of all partitions of a pump, and at most once the records that wait for them.
//!
//! librdkafka's own commits are off: they skip a partition whose offset did not move (`rdkafka_partition.c:3547`), though what is done
//! beyond it did, and they commit when the consumer closes, whatever the topic is by then.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rdkafka::TopicPartitionList;
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::mpsc;

use super::ahead::AheadCounts;
use super::assignment::Assignment;
use super::consumer::{GroupConsumer, add_commit, begin_commit};
use super::context::{CommitAnswer, PumpContext};
use super::handle::PumpHandle;
use super::intake::{Ahead, Intake};
use super::plan::PumpPlan;
use crate::kafka::cluster::describe::{TopicId, TopicQuestion};

/// Where nobody configured `auto.commit.interval.ms`.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(200);
/// A refused commit is repeated after this, then after twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// The longest wait between repetitions.
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// The longest wait where somebody waits for the commit: clients at most once, and the end of a drain.
const AWAITED_RETRY: Duration = Duration::from_secs(1);

/// The commits of one pump. Owned by its loop.
pub struct Commits {
    /// Set for at-most-once delivery.
    ahead: Option<AheadCounts>,
    /// Kafka's answers, sent by `PumpContext`.
    answers: Receiver<CommitAnswer>,
    /// At most once: records whose commit Kafka took. They wait until the topic is known to be the same still: what was read of a topic
    /// that has just been recreated would be read, and executed, again.
    unconfirmed: VecDeque<Intake>,
    /// At most once: the question about the topic, and how many of `unconfirmed` were read before it was asked.
    question: Option<(TopicQuestion<PumpContext>, usize)>,
    /// At most once: records on their way to the worker.
    committed: VecDeque<Intake>,
    /// At least once: between commits, which nobody waits for.
    interval: Duration,
    /// When the next commit may begin; set by `begin`.
    due: Instant,
    refusals: Refusals,
}

/// Commits that Kafka refused since it last took one.
#[derive(Default)]
struct Refusals {
    count: u32,
    /// Why the last was refused, and when it may be repeated.
    last: Option<(RDKafkaErrorCode, Instant)>,
}

impl Refusals {
    fn add(&mut self, code: RDKafkaErrorCode, now: Instant, longest: Duration) {
        let wait = (FIRST_RETRY * 2u32.pow(self.count.min(16))).min(longest);
        self.count += 1;
        self.last = Some((code, now + wait));
    }
}

/// How a hand-over to the worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOver {
    /// Nothing waits any more. `busy`: something was handed over.
    Complete { busy: bool },
    /// The worker's channel is full, or the topic's identity is asked for: nothing wakes the pump when that changes.
    Congested,
    /// The worker no longer takes records.
    WorkerGone,
}

impl Commits {
    pub fn new(plan: &PumpPlan, answers: Receiver<CommitAnswer>) -> Self {
        let configured = plan.config.get("auto.commit.interval.ms");
        Commits {
            ahead: plan.ahead.clone().map(AheadCounts::new),
            answers,
            unconfirmed: VecDeque::new(),
            question: None,
            committed: VecDeque::new(),
            interval: configured
                .and_then(|ms| ms.parse().ok())
                .map_or(DEFAULT_INTERVAL, Duration::from_millis),
            due: Instant::now(),
            refusals: Refusals::default(),
        }
    }

    /// At most once: may another record be taken in, of a partition with so many unfinished ones?
    pub fn leave_room(&self, of_partition: usize) -> bool {
        self.ahead.as_ref().is_none_or(|counts| counts.leave_room(of_partition))
    }

    /// At most once: counts a record that is taken in; `of_partition` is the count of its partition's unfinished records.
    pub fn count(&self, of_partition: &Arc<AtomicUsize>, pump: &PumpHandle) -> Option<Ahead> {
        self.ahead.as_ref().map(|counts| counts.count(of_partition, pump))
    }

    /// When the next commit may begin, where there is something to commit.
    pub fn due(&self, assignment: &mut Assignment<'_>) -> Option<Instant> {
        let wanted = assignment
            .partitions_mut()
            .any(|(_, partition)| partition.wants_commit());
        wanted.then(|| self.refusals.last.map_or(self.due, |(_, retry)| retry.max(self.due)))
    }

    /// Begins the commits that are due. Does not wait; `read` reads the answer.
    pub fn begin(&mut self, assignment: &mut Assignment<'_>, consumer: &GroupConsumer, topic: &str) {
        let now = Instant::now();
        if self.due(assignment).is_none_or(|due| due > now) {
            return;
        }
        if self.ahead.is_none() {
            self.due = now + self.interval;
        }
        let mut list = TopicPartitionList::new();
        for (number, partition) in assignment.partitions_mut() {
            if let Some(commit) = partition.ask_commit() {
                add_commit(&mut list, topic, number, commit);
            }
        }
        if let Err(code) = begin_commit(consumer, &list) {
            let refused = list.elements();
            let refused = refused.iter().map(|element| (element.partition(), Err(code)));
            self.answered(assignment, refused.collect());
        }
    }

    /// The pump drains: the next commit waits for nothing, and one that was refused is soon repeated.
    pub fn hurry(&mut self) {
        let now = Instant::now();
        self.due = now;
        if let Some((_, retry)) = &mut self.refusals.last {
            *retry = (*retry).min(now + AWAITED_RETRY);
        }
    }

    /// A rebalance is over, which may be why commits were refused: the next try waits for nothing.
    pub fn rebalanced(&mut self) {
        if let Some((_, retry)) = &mut self.refusals.last {
            *retry = Instant::now();
        }
    }

    /// Why Kafka refuses commits, if it does.
    pub fn refused(&self) -> Option<RDKafkaErrorCode> {
        self.refusals.last.map(|(code, _)| code)
    }

    /// Reads Kafka's answers. True: there were some.
    pub fn read(&mut self, assignment: &mut Assignment<'_>) -> bool {
        let mut busy = false;
        while let Ok(answer) = self.answers.try_recv() {
            busy = true;
            self.answered(assignment, answer);
        }
        busy
    }

    fn answered(&mut self, assignment: &mut Assignment<'_>, answer: CommitAnswer) {
        // Metadata that is too large for the broker is shorter at the next try, which waits for nothing.
        let waits = |code: &RDKafkaErrorCode| *code != RDKafkaErrorCode::OffsetMetadataTooLarge;
        let refused = answer.iter().find_map(|(_, offset)| offset.err().filter(waits));
        match refused {
            Some(code) => {
                let is_awaited = self.ahead.is_some();
                let longest = if is_awaited { AWAITED_RETRY } else { LONGEST_RETRY };
                self.refusals.add(code, Instant::now(), longest);
            }
            None => self.refusals = Refusals::default(),
        }
        for (number, offset) in answer {
            if let Some(partition) = assignment.get_mut(number) {
                self.unconfirmed.extend(partition.commit_answered(offset));
            }
        }
    }

    /// At most once: asks whether the committed records are of the topic that the assignment is of. False: they are of another one.
    pub fn confirm(&mut self, topic_id: Option<TopicId>, consumer: &Arc<GroupConsumer>, topic: &str) -> bool {
        if let Some((question, asked)) = &self.question
            && let Some(answer) = question.answer()
        {
            let same = match answer {
                // Without an id: of a broker before 2.8, while the cluster is upgraded.
                Ok(Some(found)) => found.id.is_none() || found.id == topic_id,
                // It was deleted, and what was read is of the one that was.
                Ok(None) => true,
                Err(error) => {
                    tracing::debug!(topic, %error, "the topic's identity is not known; asking again");
                    self.question = None;
                    return true;
                }
            };
            if !same {
                return false;
            }
            self.committed.extend(self.unconfirmed.drain(..*asked));
            self.question = None;
        }
        if topic_id.is_none() {
            // The brokers tell no identities.
            self.committed.extend(self.unconfirmed.drain(..));
        } else if self.question.is_none() && !self.unconfirmed.is_empty() {
            // Err: never, the topic's name is legal.
            let question = TopicQuestion::ask(consumer, topic).ok();
            self.question = question.map(|question| (question, self.unconfirmed.len()));
        }
        true
    }

    /// At most once, as the pump ends: the worker gets what is committed, to report the loss of what it can no longer finish.
    pub fn hand_over_last(&mut self, records: &mpsc::Sender<Intake>) {
        self.committed.append(&mut self.unconfirmed);
        // WorkerGone: nobody is left to report it.
        self.hand_over(records);
    }

    /// At most once: hands the confirmed records to the worker, as far as its channel has room.
    pub fn hand_over(&mut self, records: &mpsc::Sender<Intake>) -> HandOver {
        let mut busy = false;
        while let Some(intake) = self.committed.pop_front() {
            match records.try_send(intake) {
                Ok(()) => busy = true,
                Err(mpsc::error::TrySendError::Closed(_)) => return HandOver::WorkerGone,
                Err(mpsc::error::TrySendError::Full(back)) => {
                    self.committed.push_front(back);
                    return HandOver::Congested;
                }
            }
        }
        match self.question {
            // Nothing wakes the pump when the answer comes.
            Some(_) if !busy => HandOver::Congested,
            _ => HandOver::Complete { busy },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_commits_wait_longer_each_time() {
        let now = Instant::now();
        let mut refusals = Refusals::default();
        let mut wait = |longest| {
            refusals.add(RDKafkaErrorCode::RequestTimedOut, now, longest);
            let (_, retry) = refusals.last.unwrap();
            retry.duration_since(now).as_millis()
        };
        let waits: Vec<u128> = (0..8).map(|_| wait(LONGEST_RETRY)).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(wait(AWAITED_RETRY), 1_000);
    }
}
