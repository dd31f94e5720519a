//! What is counted of each request that ended: how long its phases took, and how large it was.

use std::sync::Arc;

use prometheus::{Histogram, HistogramOpts, HistogramVec, Registry};

use crate::exchange::exemplars::{Exemplars, OfTopic};
use crate::exchange::phase::Phase;
use crate::exchange::record::Exchange;
use crate::exchange::role::Role;
use crate::metrics::{LATENCY_BUCKETS, SIZE_BUCKETS, name, register};

/// The histograms of one role.
#[derive(Clone)]
pub struct ExchangeMetrics {
    role: Role,
    phases: HistogramVec,
    exemplars: Exemplars,
    request_bytes: HistogramVec,
    response_bytes: HistogramVec,
}

/// Those of one topic, found once.
pub struct TopicSeries {
    phases: [(Phase, Histogram); 4],
    exemplars: Arc<OfTopic>,
    request_bytes: Histogram,
    response_bytes: Histogram,
}

impl ExchangeMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// A name is taken: only where two of the same role share a registry.
    pub fn register(registry: &Registry, role: Role) -> prometheus::Result<Self> {
        let [phases, request_bytes, response_bytes] = match role {
            Role::Proxy => [name::PROXY_PHASE, "proxy_request_bytes", "proxy_response_bytes"],
            Role::Processor => [
                name::PROCESSOR_PHASE,
                "processor_request_bytes",
                "processor_response_bytes",
            ],
        };
        let histogram = |name: &str, help: &str, buckets: &[f64], labels: &[&str]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            register(registry, HistogramVec::new(options, labels)?)
        };
        Ok(ExchangeMetrics {
            role,
            exemplars: Exemplars::default(),
            phases: histogram(
                phases,
                "How long a part of a request's way took",
                LATENCY_BUCKETS,
                &["topic", "phase"],
            )?,
            request_bytes: histogram(request_bytes, "Bytes of a request's body", SIZE_BUCKETS, &["topic"])?,
            response_bytes: histogram(
                response_bytes,
                "Bytes of an answer's body, as far as they went",
                SIZE_BUCKETS,
                &["topic"],
            )?,
        })
    }

    /// How long the phases took.
    pub fn phases(&self) -> &HistogramVec {
        &self.phases
    }

    /// Requests that stand for the buckets of phases.
    pub fn exemplars(&self) -> &Exemplars {
        &self.exemplars
    }

    /// Those of the topic shown as `label`.
    pub fn topic(&self, label: &str) -> TopicSeries {
        TopicSeries {
            phases: Phase::of(self.role).map(|phase| (phase, self.phases.with_label_values(&[label, phase.as_str()]))),
            exemplars: self.exemplars.of(label, self.role),
            request_bytes: self.request_bytes.with_label_values(&[label]),
            response_bytes: self.response_bytes.with_label_values(&[label]),
        }
    }
}

impl TopicSeries {
    /// Counts a request that has ended.
    pub fn observe(&self, exchange: &Exchange) {
        let trace = exchange.trace.map(|trace| trace.context);
        // Of one that is not sampled there is nothing to be looked at.
        let trace = trace.filter(|trace| trace.sampled).map(|trace| trace.trace);
        for ((phase, histogram), exemplars) in self.phases.iter().zip(self.exemplars.iter()) {
            if let Some(took) = exchange.phases.get(*phase) {
                let seconds = took.as_secs_f64();
                histogram.observe(seconds);
                if let Some(trace) = trace {
                    exemplars.note(trace, seconds, exchange.at);
                }
            }
        }
        self.request_bytes.observe(exchange.request_bytes as f64);
        if exchange.ending.status.is_some() {
            self.response_bytes.observe(exchange.response_bytes as f64);
        }
    }
}
