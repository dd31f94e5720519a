//! What is counted of results that are fetched later.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::metrics::register;

/// The metrics of all results.
#[derive(Clone)]
pub struct ResultsMetrics {
    accepted: IntCounterVec,
    answers: IntCounterVec,
    pub indexed: IntGauge,
    pub pending: IntGauge,
    pub waiting: IntGauge,
    pub expired: IntCounter,
    pub evicted: IntCounter,
    pub unbelieved: IntCounter,
    pub read: IntCounter,
    pub read_bytes: IntCounter,
}

/// What a client gets that asks for a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The result.
    Found,
    /// There is none yet.
    Pending,
    /// Its request has timed out.
    TimedOut,
    /// It is kept no longer, or was cancelled.
    Gone,
    /// It is cancelled now.
    Cancelled,
    /// No such id, or of another principal.
    Unknown,
    /// It is not known yet which results there are.
    Starting,
    /// It is there, and could not be read.
    Unread,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Outcome::Found => "found",
            Outcome::Pending => "pending",
            Outcome::TimedOut => "timed-out",
            Outcome::Gone => "gone",
            Outcome::Cancelled => "cancelled",
            Outcome::Unknown => "unknown",
            Outcome::Starting => "starting",
            Outcome::Unread => "unread",
        }
    }
}

impl ResultsMetrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// A name is taken.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help)?);
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help)?);
        Ok(ResultsMetrics {
            accepted: counters(
                "proxy_async_accepted_total",
                "Requests that were accepted, their answers to be fetched later",
                &["topic"],
            )?,
            answers: counters(
                "proxy_results_fetched_total",
                "Requests for results, by what they got",
                &["outcome"],
            )?,
            indexed: gauge("proxy_results_indexed", "Results that this proxy knows")?,
            pending: gauge(
                "proxy_results_pending",
                "Requests that this proxy accepted, without a result and before their deadline",
            )?,
            waiting: gauge("proxy_results_waiting", "Clients that wait for a result")?,
            expired: counter("proxy_results_expired_total", "Results whose time was over")?,
            evicted: counter(
                "proxy_results_evicted_total",
                "Results that were forgotten before their time, because of max_results",
            )?,
            unbelieved: counter(
                "proxy_results_unbelieved_total",
                "Results that are not sealed though they must be, or whose seal does not open",
            )?,
            read: counter("proxy_results_read_total", "Records of results topics that were read")?,
            read_bytes: counter(
                "proxy_results_read_bytes_total",
                "Bytes of keys and values of these records",
            )?,
        })
    }

    /// Counts a request that was accepted.
    pub fn accepted(&self, topic: &str) {
        self.accepted.with_label_values(&[topic]).inc();
    }

    /// Counts what a client got.
    pub fn answered(&self, outcome: Outcome) {
        self.answers.with_label_values(&[outcome.as_str()]).inc();
    }
}
