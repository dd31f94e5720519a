//! What is counted of traces.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::metrics::register;

/// The series of traces, where they are on.
#[derive(Clone)]
pub struct TraceMetrics {
    pub exported: IntCounter,
    /// There was no room in the queue.
    pub no_room: IntCounter,
    /// The receiver did not take them.
    pub not_taken: IntCounter,
    pub queued: IntGauge,
}

impl TraceMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// A name is taken.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let dropped = IntCounterVec::new(
            Opts::new("trace_spans_dropped_total", "Spans that reached nobody, by reason"),
            &["reason"],
        )?;
        let dropped = register(registry, dropped)?;
        let exported = IntCounter::new("trace_spans_exported_total", "Spans that the receiver has taken")?;
        let queued = IntGauge::new(
            "trace_requests_queued",
            "Ended requests whose spans wait to be exported; OTEL_BSP_MAX_QUEUE_SIZE bounds them",
        )?;
        Ok(TraceMetrics {
            exported: register(registry, exported)?,
            no_room: dropped.with_label_values(&["queue-full"]),
            not_taken: dropped.with_label_values(&["export-failed"]),
            queued: register(registry, queued)?,
        })
    }
}
