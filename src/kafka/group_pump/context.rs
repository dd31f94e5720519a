//! What librdkafka calls back on the pump's thread.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use super::handle::PumpHandle;
use super::rebalance::Rebalance;
use crate::kafka::client::context::log_through_tracing;

/// Kafka's answer to one commit: for each partition the offset that it took, or why it took none.
pub type CommitAnswer = Vec<(i32, Result<i64, RDKafkaErrorCode>)>;

/// Notes rebalances for the loop to answer. Once the pump leaves, it answers them at once, because closing waits for the answer.
pub struct PumpContext {
    handle: PumpHandle,
    /// Bounded by librdkafka: one rebalance is open at a time.
    events: Sender<Rebalance>,
    /// Bounded by the pump, which has one commit of a partition under way.
    commits: Sender<CommitAnswer>,
    /// Set by a commit that failed, unset by the next that Kafka took: refused commits are repeated, their failure is logged once.
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
        let code = |error: KafkaError| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let elements = offsets.elements();
        // Without one of a partition's own, the error is of all.
        let of_all = match elements.iter().all(|element| element.error().is_ok()) {
            true => result.clone().map_err(code),
            false => Ok(()),
        };
        let answer = elements.iter().map(|element| {
            let taken = element.error().map_err(code).and(of_all);
            let offset = taken.map(|()| element.offset().to_raw().unwrap_or_default());
            (element.partition(), offset)
        });
        // Err: the pump has ended.
        let _ = self.commits.send(answer.collect());
        self.handle.wake();
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
    pub fn new(handle: PumpHandle, events: Sender<Rebalance>, commits: Sender<CommitAnswer>) -> Self {
        PumpContext {
            handle,
            events,
            commits,
            commits_fail: AtomicBool::new(false),
        }
    }
}
