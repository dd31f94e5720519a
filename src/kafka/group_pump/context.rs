//! What librdkafka calls back on the pump's thread.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::handle::PumpHandle;
use super::rebalance::Rebalance;
use crate::kafka::client::context::log_through_tracing;

/// Kafka's answer to one commit: for each partition the offset that it took, or `None` where it took none.
pub type CommitAnswer = Vec<(i32, Option<i64>)>;

/// Notes rebalances for the loop to answer. Once the pump leaves, it answers them at once, because closing waits for the answer.
pub struct PumpContext {
    handle: PumpHandle,
    /// Bounded by librdkafka: one rebalance is open at a time.
    events: Sender<Rebalance>,
    /// Set for at-most-once delivery, where records wait for the answer. Bounded by the pump, which has one commit of a partition under way.
    commits: Option<Sender<CommitAnswer>>,
    /// Set by a commit that failed, unset by the next that Kafka took: commits are tried several times a second, their failure is logged
    /// once.
    commits_fail: AtomicBool,
}

impl ClientContext for PumpContext {
    log_through_tracing!();
}

impl ConsumerContext for PumpContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let event = Rebalance::new(code, partitions.clone());
        if consumer.closed() || self.events.send(event.clone()).is_err() {
            event.answer(consumer);
        }
        self.handle.wake();
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        if let Some(commits) = &self.commits {
            let taken = |element: &TopicPartitionListElem<'_>| match (&result, element.error(), element.offset()) {
                (Ok(()), Ok(()), Offset::Offset(offset)) => Some(offset),
                _ => None,
            };
            let answer = offsets.elements();
            let answer = answer.iter().map(|element| (element.partition(), taken(element)));
            // Err: the pump has ended.
            let _ = commits.send(answer.collect());
            self.handle.wake();
        }
        match result {
            Ok(()) => {
                if self.commits_fail.swap(false, Ordering::Relaxed) {
                    tracing::info!("offsets are committed again");
                }
            }
            Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            // At least once: records that are not committed run again.
            Err(error) => {
                if !self.commits_fail.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "offsets are not committed; these records may run again");
                }
            }
        }
    }
}

impl PumpContext {
    pub fn new(handle: PumpHandle, events: Sender<Rebalance>, commits: Option<Sender<CommitAnswer>>) -> Self {
        PumpContext {
            handle,
            events,
            commits,
            commits_fail: AtomicBool::new(false),
        }
    }
}
