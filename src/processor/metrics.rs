//! What the processor counts. Names are kept from kafka-http-proxy where it had them, since users' dashboards know them.

use std::sync::Arc;

use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::exchange::Role;
use crate::exchange::exemplars::Exemplars;
use crate::exchange::metrics::{ExchangeMetrics, TopicSeries};
use crate::metrics::{LATENCY_BUCKETS, collect, name, register};
use crate::processor::bodies::metrics::BodyMetrics;
use crate::processor::memory::metrics::{MemoryMetrics, TopicMemoryMetrics};
use crate::settings::Topic;

/// Every metric of the processor.
#[derive(Clone)]
pub struct ProcessorMetrics {
    messages: IntCounterVec,
    seen: ExchangeMetrics,
    latency: HistogramVec,
    backend_latency: HistogramVec,
    backend_errors: IntCounterVec,
    backend_up: IntGaugeVec,
    assigned_partitions: IntGaugeVec,
    expired: IntCounterVec,
    retries: IntCounterVec,
    breaker_state: IntGaugeVec,
    dead_letters: IntCounterVec,
    undeliverable: IntCounterVec,
    lost: IntCounterVec,
    poisoned: IntCounterVec,
    repeated: IntCounterVec,
    refused_reply_topics: IntCounterVec,
    clock_skew: prometheus::GaugeVec,
    pub active_consumers: IntGauge,
    waiting: IntGaugeVec,
    calls_taken: IntGauge,
    calls_borrowed: IntGauge,
    pub held_bytes: IntGauge,
    pub remembered_ids: IntGauge,
    pub calls_borrowable: IntGauge,
    pub in_flight: IntGauge,
    pub lingering: IntGauge,
    pub bodies: BodyMetrics,
    memory: MemoryMetrics,
    pub ready: IntGauge,
    streams: IntCounterVec,
    cancels: IntCounterVec,
    pub streams_open: IntGauge,
    pub early_cancels: IntGauge,
    pub unbelieved_controls: IntCounter,
}

/// The metrics of one topic, found once.
#[derive(Clone)]
pub struct TopicMetrics {
    messages: IntCounterVec,
    topic: String,
    pub latency: Histogram,
    /// Of records that ended.
    pub seen: Arc<TopicSeries>,
    pub backend_latency: Histogram,
    pub backend_errors: IntCounter,
    /// 1 up, 0 down, -1 not known.
    pub backend_up: IntGauge,
    pub assigned_partitions: IntGauge,
    pub expired: IntCounter,
    pub retries: IntCounter,
    pub breaker_state: IntGauge,
    pub dead_letters: IntCounter,
    pub undeliverable: IntCounter,
    pub lost: IntCounter,
    /// Batches that librdkafka could not unpack.
    pub poisoned: IntCounter,
    /// Records whose id was executed a moment ago from another record.
    pub repeated: IntCounter,
    pub refused_reply_topics: IntCounter,
    pub clock_skew: prometheus::Gauge,
    pub in_flight: IntGauge,
    /// Records that wait for the rate limit to let them begin.
    pub waiting_for_rate: IntGauge,
    /// Records that wait for a place for their backend call.
    pub waiting_for_call: IntGauge,
    /// Requests that run once.
    pub memory: TopicMemoryMetrics,
    streams: IntCounterVec,
    /// Calls that ended, or were not begun, since nobody read their answers.
    pub cancels: IntCounter,
    /// Streamed answers of the process under way.
    pub streams_open: IntGauge,
    /// Cancels whose requests are not there yet.
    pub early_cancels: IntGauge,
}

/// Adds one to a gauge until it is dropped.
pub struct Counted(IntGauge);

impl Counted {
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl ProcessorMetrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// A name is taken: only where two processors share a registry.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let latency = |name: &str, help: &str, labels: &[&str]| {
            register(
                registry,
                HistogramVec::new(HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec()), labels)?,
            )
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
        };
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help)?);
        Ok(ProcessorMetrics {
            messages: counters(
                name::PROCESSOR_MESSAGES,
                "Records finished, by what became of them",
                &["topic", "status"],
            )?,
            seen: ExchangeMetrics::register(registry, Role::Processor)?,
            latency: latency(
                name::PROCESSOR_LATENCY,
                "From a record's intake to its reply's acknowledgement",
                &["topic"],
            )?,
            backend_latency: latency(
                "processor_backend_latency_seconds",
                "One backend attempt",
                &["topic", "backend"],
            )?,
            backend_errors: counters(
                "processor_backend_errors_total",
                "Backend attempts without an HTTP answer",
                &["topic", "backend"],
            )?,
            backend_up: gauges(
                "processor_backend_up",
                "The last health check: 1 up, 0 down, -1 none yet",
                &["topic", "backend"],
            )?,
            assigned_partitions: gauges(
                "processor_assigned_partitions",
                "Partitions this process consumes",
                &["topic"],
            )?,
            expired: counters(
                "processor_expired_total",
                "Records whose deadline had passed; not sent to the backend",
                &["topic"],
            )?,
            retries: counters(
                "processor_retries_total",
                "Backend attempts after the first",
                &["topic"],
            )?,
            breaker_state: gauges(
                "processor_breaker_state",
                "The backend's breaker: 0 closed, 1 half-open, 2 open",
                &["topic", "backend"],
            )?,
            dead_letters: counters(
                "processor_dead_letters_total",
                "Records written to the dead letter topic",
                &["topic"],
            )?,
            undeliverable: counters(
                name::UNDELIVERABLE,
                "Replies that Kafka would not take by their deadline",
                &["topic"],
            )?,
            lost: counters(
                "processor_lost_records_total",
                "Records of at-most-once topics that were committed and not worked on to their end",
                &["topic"],
            )?,
            repeated: counters(
                "processor_repeated_records_total",
                "Records that repeat the id of one which was executed within the last minute",
                &["topic"],
            )?,
            poisoned: counters(
                "processor_poisoned_batches_total",
                "Batches of records that could not be unpacked and were passed over",
                &["topic"],
            )?,
            refused_reply_topics: counters(
                "processor_refused_reply_topics_total",
                "Requests that named a reply topic which is not allowed",
                &["topic"],
            )?,
            clock_skew: register(
                registry,
                prometheus::GaugeVec::new(
                    Opts::new(
                        name::CLOCK_SKEW,
                        "This clock minus the proxy's, with the way here, of the last record that found nothing waiting before it",
                    ),
                    &["topic"],
                )?,
            )?,
            waiting: gauges(
                name::WAITING,
                "Records that wait for their place in the rate limit, or for a place for their backend call",
                &["topic", "for"],
            )?,
            active_consumers: gauge(
                "processor_active_consumers",
                "Workers whose consumer has joined its group",
            )?,
            held_bytes: gauge(
                "processor_held_record_bytes",
                "Bytes of records between intake and the end of their work",
            )?,
            remembered_ids: gauge(
                "processor_remembered_ids",
                "Ids of executed requests that are remembered, so that repeats are noticed",
            )?,
            calls_taken: gauge(
                name::CALLS,
                "Backend calls under way; bounded by max_concurrent_requests",
            )?,
            calls_borrowed: gauge(
                "processor_borrowed_calls",
                "Backend calls under way beyond each worker's own; bounded by processor_borrowable_calls",
            )?,
            calls_borrowable: gauge(
                "processor_borrowable_calls",
                "Backend calls that workers may have under way beyond their own, in all",
            )?,
            in_flight: gauge(
                name::PROCESSOR_IN_FLIGHT,
                "Records between intake and the end of their work",
            )?,
            lingering: gauge(
                "processor_lingering_producers",
                "Clients whose batches of replies wait a millisecond for more",
            )?,
            bodies: BodyMetrics::register(registry)?,
            memory: MemoryMetrics::register(registry)?,
            ready: gauge("processor_ready", "1 while /health/ready is true")?,
            streams: counters(
                "processor_streams_total",
                "Streamed answers, by how they ended",
                &["topic", "outcome"],
            )?,
            cancels: counters(
                "processor_cancels_total",
                "Calls that were ended, or not begun, since nobody reads their answers",
                &["topic"],
            )?,
            streams_open: gauge("processor_streams_open", "Streamed answers under way")?,
            early_cancels: gauge(
                "processor_early_cancels",
                "Cancels that are kept for requests that have not come yet",
            )?,
            unbelieved_controls: register(
                registry,
                IntCounter::new(
                    "processor_unbelieved_controls_total",
                    "Records of control topics that are not sealed though they must be, or whose seal does not open",
                )?,
            )?,
        })
    }

    /// The calls under way, and those of them beyond each worker's own.
    pub fn calls(&self) -> [IntGauge; 2] {
        [self.calls_taken.clone(), self.calls_borrowed.clone()]
    }

    /// What the console shows of them, now.
    pub fn shown(&self) -> Vec<MetricFamily> {
        collect(&[
            &self.messages,
            &self.undeliverable,
            &self.latency,
            self.seen.phases(),
            &self.in_flight,
            &self.calls_taken,
            &self.clock_skew,
            &self.waiting,
        ])
    }

    /// Requests that stand for the buckets of phases.
    pub fn exemplars(&self) -> &Exemplars {
        self.seen.exemplars()
    }

    /// A topic is not worked on any more, or by others: what it was last is not shown on, unless one of those that stay shows it under the
    /// same labels. What was counted stays.
    pub fn forget(&self, gone: &Topic, stay: &[&Topic]) {
        let (topic, backend) = (&*gone.request_topic, &*gone.backend_url.to_string());
        let same_topic = || stay.iter().filter(|other| other.request_topic == topic);
        // Err: there were none.
        if !same_topic().any(|other| other.backend_url == gone.backend_url) {
            let _ = self.backend_up.remove_label_values(&[topic, backend]);
            let _ = self.breaker_state.remove_label_values(&[topic, backend]);
        }
        if same_topic().next().is_some() {
            return;
        }
        let _ = self.assigned_partitions.remove_label_values(&[topic]);
        let _ = self.clock_skew.remove_label_values(&[topic]);
        for why in ["rate_limit", "call"] {
            let _ = self.waiting.remove_label_values(&[topic, why]);
        }
        self.memory.forget(topic);
    }

    /// The metrics of one topic and its backend.
    pub fn topic(&self, topic: &str, backend: &str) -> TopicMetrics {
        let both = &[topic, backend];
        let one = &[topic];
        self.backend_up.with_label_values(both).set(-1);
        TopicMetrics {
            messages: self.messages.clone(),
            topic: topic.to_string(),
            latency: self.latency.with_label_values(one),
            seen: Arc::new(self.seen.topic(topic)),
            backend_latency: self.backend_latency.with_label_values(both),
            backend_errors: self.backend_errors.with_label_values(both),
            backend_up: self.backend_up.with_label_values(both),
            assigned_partitions: self.assigned_partitions.with_label_values(one),
            expired: self.expired.with_label_values(one),
            retries: self.retries.with_label_values(one),
            breaker_state: self.breaker_state.with_label_values(both),
            dead_letters: self.dead_letters.with_label_values(one),
            undeliverable: self.undeliverable.with_label_values(one),
            repeated: self.repeated.with_label_values(one),
            poisoned: self.poisoned.with_label_values(one),
            lost: self.lost.with_label_values(one),
            refused_reply_topics: self.refused_reply_topics.with_label_values(one),
            clock_skew: self.clock_skew.with_label_values(one),
            in_flight: self.in_flight.clone(),
            waiting_for_rate: self.waiting.with_label_values(&[topic, "rate_limit"]),
            waiting_for_call: self.waiting.with_label_values(&[topic, "call"]),
            memory: self.memory.topic(topic),
            streams: self.streams.clone(),
            cancels: self.cancels.with_label_values(one),
            streams_open: self.streams_open.clone(),
            early_cancels: self.early_cancels.clone(),
        }
    }
}

impl TopicMetrics {
    /// Counts a finished record; `status` is a status of the reply or a word for why there is none.
    pub fn finished(&self, status: &str) {
        self.messages.with_label_values(&[self.topic.as_str(), status]).inc();
    }

    /// Counts a streamed answer that ended.
    pub fn stream_ended(&self, outcome: &str) {
        self.streams.with_label_values(&[self.topic.as_str(), outcome]).inc();
    }
}

#[cfg(test)]
mod tests;
