//! What is counted of answers that come in pieces.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::metrics::register;
use crate::proxy::stream::outcome::Outcome;

/// Every metric of streams.
#[derive(Clone)]
pub struct StreamMetrics {
    pub open: IntGauge,
    pub places: IntGauge,
    pub buffered: IntGauge,
    ended: IntCounterVec,
    pub cancels: IntCounter,
    pub dropped_pieces: IntCounter,
}

impl StreamMetrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// A name is taken: only where two proxies share a registry.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help)?);
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help)?);
        Ok(StreamMetrics {
            open: gauge("proxy_streams_open", "Streamed answers on their way to their clients")?,
            places: gauge(
                "proxy_stream_places",
                "Requests that may be answered by a stream and streams that are open; at most max_streams",
            )?,
            buffered: gauge(
                "proxy_stream_buffered_bytes",
                "Bytes of streamed answers that their clients have not taken yet",
            )?,
            ended: register(
                registry,
                IntCounterVec::new(
                    Opts::new("proxy_streams_total", "Streamed answers that ended"),
                    &["topic", "outcome"],
                )?,
            )?,
            cancels: counter(
                "proxy_cancels_total",
                "Cancels written to control topics: answers that nobody reads",
            )?,
            dropped_pieces: counter(
                "proxy_dropped_pieces_total",
                "Pieces of a second answer to the same request",
            )?,
        })
    }

    /// Counts a stream that ended.
    pub fn ended(&self, topic: &str, outcome: Outcome) {
        self.ended.with_label_values(&[topic, outcome.as_str()]).inc();
    }
}
