//! What the metrics of both roles share.

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts, Registry};

/// Seconds: from a lone request on an idle system (single-digit milliseconds) to the default deadline.
pub const LATENCY_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Bytes: from an empty body to a gigabyte.
pub const SIZE_BUCKETS: &[f64] = &[
    0.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    16_777_216.0,
    268_435_456.0,
    1_073_741_824.0,
];

/// Registers what this program is: always 1, with the versions as labels.
///
/// # Errors
/// The name is taken.
pub fn register_build(registry: &Registry, librdkafka: &str) -> prometheus::Result<()> {
    let labels = &["version", "librdkafka"];
    let build = IntGaugeVec::new(Opts::new("build_info", "The version of this program, always 1"), labels)?;
    register(registry, build)?
        .with_label_values(&[env!("CARGO_PKG_VERSION"), librdkafka])
        .set(1);
    Ok(())
}

/// Registers a collector and hands it back.
pub fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// What these collectors have now: a few of them cost less than all that are registered.
pub fn collect(collectors: &[&dyn Collector]) -> Vec<MetricFamily> {
    collectors.iter().flat_map(|collector| collector.collect()).collect()
}

/// Names that are also read, by the console.
pub mod name {
    pub const PROXY_REQUESTS: &str = "proxy_requests_total";
    pub const PROXY_LATENCY: &str = "proxy_request_latency_seconds";
    pub const PROXY_PHASE: &str = "proxy_phase_seconds";
    pub const PROXY_PENDING: &str = "proxy_pending_requests";
    pub const PROXY_PENDING_BYTES: &str = "proxy_pending_bytes";
    pub const PROXY_CONNECTIONS: &str = "proxy_open_connections";
    pub const PROCESSOR_MESSAGES: &str = "processor_messages_total";
    pub const UNDELIVERABLE: &str = "processor_undeliverable_replies_total";
    pub const PROCESSOR_LATENCY: &str = "processor_latency_seconds";
    pub const PROCESSOR_PHASE: &str = "processor_phase_seconds";
    pub const PROCESSOR_IN_FLIGHT: &str = "processor_messages_in_flight";
    pub const CALLS: &str = "processor_backend_calls";
    pub const CLOCK_SKEW: &str = "processor_clock_skew_seconds";
    pub const WAITING: &str = "processor_waiting_records";
}
