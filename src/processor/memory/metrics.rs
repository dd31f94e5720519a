//! What is counted of requests that run once.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::metrics::register;
use crate::wire::ReplyError;

/// From an empty memory to a million keys.
const RESTORE_BUCKETS: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// The metrics of all topics.
#[derive(Clone)]
pub struct MemoryMetrics {
    keys: IntGaugeVec,
    waiting: IntGaugeVec,
    storing: IntGaugeVec,
    remembered: IntCounterVec,
    replayed: IntCounterVec,
    refused: IntCounterVec,
    restored: IntCounterVec,
    restore: HistogramVec,
}

/// Those of one topic.
#[derive(Clone)]
pub struct TopicMemoryMetrics {
    /// Keys that are known.
    pub keys: IntGauge,
    /// Requests that wait for the first one with their key.
    pub waiting: IntGauge,
    /// Answers that are being kept as they stream.
    pub storing: IntGauge,
    pub remembered: IntCounter,
    pub replayed: IntCounter,
    refused: IntCounterVec,
    topic: String,
    /// Keys that were read of partitions that were assigned.
    pub restored: IntCounter,
    /// How long that took.
    pub restore: Histogram,
}

impl MemoryMetrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// A name is taken.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauges = |name: &str, help: &str| register(registry, IntGaugeVec::new(Opts::new(name, help), &["topic"])?);
        let restore = HistogramOpts::new(
            "processor_idempotency_restore_seconds",
            "From the first record of an assigned partition until its keys were read",
        );
        Ok(MemoryMetrics {
            keys: gauges("processor_idempotency_keys", "Idempotency keys that are remembered")?,
            waiting: gauges(
                "processor_idempotency_waiting",
                "Requests that wait for the first one with their key",
            )?,
            storing: gauges(
                "processor_idempotency_storing",
                "Answers that stream and are being remembered",
            )?,
            remembered: counters(
                "processor_idempotency_remembered_total",
                "Requests whose end was written to the memory",
                &["topic"],
            )?,
            replayed: counters(
                "processor_idempotency_replayed_total",
                "Requests that got a remembered answer",
                &["topic"],
            )?,
            refused: counters(
                "processor_idempotency_refused_total",
                "Requests that were not executed because of their key, by the error they got",
                &["topic", "code"],
            )?,
            restored: counters(
                "processor_idempotency_restored_keys_total",
                "Keys that were read of partitions that were assigned",
                &["topic"],
            )?,
            restore: register(
                registry,
                HistogramVec::new(restore.buckets(RESTORE_BUCKETS.to_vec()), &["topic"])?,
            )?,
        })
    }

    /// A topic is not worked on any more: what it remembered last is not shown on. What was counted stays.
    pub fn forget(&self, topic: &str) {
        // Err: there were none.
        let _ = self.keys.remove_label_values(&[topic]);
        let _ = self.waiting.remove_label_values(&[topic]);
        let _ = self.storing.remove_label_values(&[topic]);
    }

    /// The metrics of one topic.
    pub fn topic(&self, topic: &str) -> TopicMemoryMetrics {
        let one = &[topic];
        TopicMemoryMetrics {
            keys: self.keys.with_label_values(one),
            waiting: self.waiting.with_label_values(one),
            storing: self.storing.with_label_values(one),
            remembered: self.remembered.with_label_values(one),
            replayed: self.replayed.with_label_values(one),
            refused: self.refused.clone(),
            topic: topic.to_owned(),
            restored: self.restored.with_label_values(one),
            restore: self.restore.with_label_values(one),
        }
    }
}

impl TopicMemoryMetrics {
    /// Counts a request that was refused.
    pub fn refused(&self, error: ReplyError) {
        self.refused
            .with_label_values(&[self.topic.as_str(), error.as_str()])
            .inc();
    }
}
