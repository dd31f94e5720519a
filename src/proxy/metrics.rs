//! What the proxy counts. Names are kept from kafka-http-proxy where it had them, since users' dashboards know them.

use std::sync::Arc;

use actix_web::http::Method;
use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::error::RequestError;
use crate::exchange::Role;
use crate::exchange::exemplars::Exemplars;
use crate::exchange::metrics::{ExchangeMetrics, TopicSeries};
use crate::metrics::{LATENCY_BUCKETS, collect, name, register};
use crate::proxy::results::metrics::ResultsMetrics;
use crate::proxy::stream::metrics::StreamMetrics;
use crate::proxy::stream::outcome::Outcome;
use crate::proxy::uploads::metrics::UploadMetrics;

/// The label of topics that no configuration names.
pub const OTHER_TOPIC: &str = "other";
/// The label of requests for results, which go to no topic.
pub const RESULTS: &str = "results";

/// Every metric of the proxy.
#[derive(Clone)]
pub struct ProxyMetrics {
    requests: IntCounterVec,
    request_latency: HistogramVec,
    kafka_latency: HistogramVec,
    seen: ExchangeMetrics,
    timeouts: IntCounterVec,
    rejected: IntCounterVec,
    pub pending: IntGauge,
    pub router_entries: IntGauge,
    pub active_consumers: IntGauge,
    pub pending_bytes: IntGauge,
    pub connections_open: IntGauge,
    pub idle_connections_closed: IntCounter,
    pub connections_refused: IntCounter,
    pub client_topics: IntGauge,
    pub client_topics_limited: IntCounter,
    pub late_replies: IntCounter,
    pub misplaced_replies: IntCounter,
    pub unbelieved_replies: IntCounter,
    pub foreign_replies: IntCounter,
    pub unmatched_replies: IntCounter,
    pub malformed_replies: IntCounter,
    pub oversized_replies: IntCounter,
    pub poisoned_batches: IntCounter,
    pub swept: IntCounter,
    pub disconnects: IntCounter,
    pub producer_queue: IntGauge,
    pub lingering: IntGauge,
    pub ready: IntGauge,
    pub replies_denied: IntGauge,
    pub tls: TlsMetrics,
    pub jwks: JwksMetrics,
    pub uploads: UploadMetrics,
    pub streams: StreamMetrics,
    pub results: ResultsMetrics,
}

/// What is counted of the keys that tokens are signed with.
#[derive(Clone)]
pub struct JwksMetrics {
    refreshes: IntCounterVec,
    keys: IntGauge,
}

/// What is counted of TLS.
#[derive(Clone)]
pub struct TlsMetrics {
    handshakes: IntCounterVec,
    connections: IntGaugeVec,
    expiry: IntGauge,
}

/// The metrics of one topic, looked up once.
#[derive(Clone)]
pub struct TopicMetrics {
    label: String,
    all: ProxyMetrics,
    pub kafka_latency: Histogram,
    /// Of requests that ended.
    pub seen: Arc<TopicSeries>,
    pub timeouts: IntCounter,
}

impl ProxyMetrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// A name is taken: only where two proxies share a registry.
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
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help)?);
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help)?);
        Ok(ProxyMetrics {
            requests: counters(
                name::PROXY_REQUESTS,
                "Requests answered",
                &["method", "topic", "status"],
            )?,
            request_latency: latency(
                name::PROXY_LATENCY,
                "From a request's head to its answer",
                &["method", "topic"],
            )?,
            kafka_latency: latency(
                "proxy_kafka_latency_seconds",
                "From producing a request to its reply",
                &["topic"],
            )?,
            seen: ExchangeMetrics::register(registry, Role::Proxy)?,
            timeouts: counters(
                "proxy_timeouts_total",
                "Requests that got no reply by their deadline",
                &["topic"],
            )?,
            rejected: counters(
                "proxy_rejected_total",
                "Requests answered without being sent",
                &["reason"],
            )?,
            pending: gauge(name::PROXY_PENDING, "Requests in flight")?,
            router_entries: gauge(
                "proxy_router_entries",
                "Correlation entries of requests that wait for a reply",
            )?,
            active_consumers: gauge("proxy_active_consumers", "Reply topics being read")?,
            pending_bytes: gauge(
                name::PROXY_PENDING_BYTES,
                "bytes of request bodies and answers that are held",
            )?,
            connections_open: gauge(name::PROXY_CONNECTIONS, "open connections of clients")?,
            idle_connections_closed: counter(
                "proxy_idle_connections_closed_total",
                "idle connections that were closed to make room for others",
            )?,
            connections_refused: counter(
                "proxy_connections_refused_total",
                "connections that were closed at once because there were too many",
            )?,
            client_topics: gauge("proxy_client_topics", "topics that are open and that only clients name")?,
            client_topics_limited: counter(
                "proxy_client_topics_limited_total",
                "names of clients for which another topic had to make room, or none could",
            )?,
            late_replies: counter(
                "proxy_late_replies_total",
                "Replies whose request nobody waited for any more",
            )?,
            misplaced_replies: counter(
                "proxy_misplaced_replies_total",
                "Replies on another topic or partition than the one that their request named",
            )?,
            unbelieved_replies: counter(
                "proxy_unbelieved_replies_total",
                "Replies and signs of life that are not sealed though they must be, or whose seal does not open",
            )?,
            foreign_replies: counter(
                "proxy_foreign_replies_total",
                "Replies to other instances on a shared reply partition",
            )?,
            unmatched_replies: counter(
                "proxy_unmatched_replies_total",
                "Records on reply topics without a correlation id of this format, and dead letters",
            )?,
            malformed_replies: counter(
                "proxy_malformed_replies_total",
                "Replies that could not be made into an HTTP response",
            )?,
            oversized_replies: counter(
                "proxy_oversized_replies_total",
                "Replies that are larger than max_record_size and were dropped",
            )?,
            poisoned_batches: counter(
                "proxy_poisoned_batches_total",
                "Batches of replies that could not be unpacked and were passed over",
            )?,
            swept: counter(
                "proxy_swept_entries_total",
                "Correlation entries that outlived their request; expected 0",
            )?,
            disconnects: counter(
                "proxy_client_disconnects_total",
                "Requests whose client left before the answer",
            )?,
            producer_queue: gauge(
                "producer_queue_messages",
                "Requests queued in or under way from the producer",
            )?,
            lingering: gauge(
                "proxy_lingering_producers",
                "Clients whose batches of requests wait a millisecond for more",
            )?,
            replies_denied: gauge(
                "proxy_replies_denied",
                "1 while Kafka refuses to let this proxy read a reply topic of its configuration",
            )?,
            tls: TlsMetrics {
                handshakes: counters("proxy_tls_handshakes_total", "TLS handshakes that ended", &["result"])?,
                connections: register(
                    registry,
                    IntGaugeVec::new(
                        Opts::new("proxy_tls_connections", "Open TLS connections"),
                        &["protocol"],
                    )?,
                )?,
                expiry: gauge(
                    "proxy_tls_certificate_expiry_seconds",
                    "Unix time at which the certificate that is served expires; 0 without TLS",
                )?,
            },
            jwks: JwksMetrics {
                refreshes: counters("proxy_jwks_refreshes_total", "Reads of the keys of tokens", &["result"])?,
                keys: gauge("proxy_jwks_keys", "Keys that tokens may be signed with")?,
            },
            uploads: UploadMetrics::register(registry)?,
            streams: StreamMetrics::register(registry)?,
            results: ResultsMetrics::register(registry)?,
            ready: gauge("proxy_ready", "1 while /health/ready is true")?,
        })
    }

    /// What the console shows of them, now.
    pub fn shown(&self) -> Vec<MetricFamily> {
        collect(&[
            &self.requests,
            &self.request_latency,
            self.seen.phases(),
            &self.pending,
            &self.pending_bytes,
            &self.connections_open,
        ])
    }

    /// Requests that stand for the buckets of phases.
    pub fn exemplars(&self) -> &Exemplars {
        self.seen.exemplars()
    }

    /// The metrics of the topic shown as `label`.
    pub fn topic(&self, label: &str) -> TopicMetrics {
        TopicMetrics {
            label: label.to_string(),
            all: self.clone(),
            kafka_latency: self.kafka_latency.with_label_values(&[label]),
            seen: Arc::new(self.seen.topic(label)),
            timeouts: self.timeouts.with_label_values(&[label]),
        }
    }

    /// Counts a request that was answered by us and not sent.
    pub fn rejected(&self, error: RequestError) {
        self.rejected.with_label_values(&[error.code()]).inc();
    }
}

impl JwksMetrics {
    /// Counts a read of the keys.
    pub fn refreshed(&self, succeeded: bool) {
        let result = if succeeded { "ok" } else { "failed" };
        self.refreshes.with_label_values(&[result]).inc();
    }

    /// Notes how many keys there are.
    pub fn keys(&self, count: usize) {
        self.keys.set(count as i64);
    }
}

impl TlsMetrics {
    /// Counts a handshake that has ended.
    pub fn handshake(&self, result: &str) {
        self.handshakes.with_label_values(&[result]).inc();
    }

    /// Counts a connection for as long as the returned value lives.
    pub fn connection(&self, is_h2: bool) -> OpenConnection {
        let protocol = if is_h2 { "h2" } else { "http/1.1" };
        let gauge = self.connections.with_label_values(&[protocol]);
        gauge.inc();
        OpenConnection(gauge)
    }

    /// Notes when the certificate that is served expires.
    pub fn certificate(&self, expires: Option<i64>) {
        self.expiry.set(expires.unwrap_or(0));
    }
}

/// A connection that is open.
pub struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl TopicMetrics {
    /// What this topic is called in metrics.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What is counted of streams, of all topics.
    pub fn streams(&self) -> &StreamMetrics {
        &self.all.streams
    }

    /// Counts a stream that ended.
    pub fn stream_ended(&self, outcome: Outcome) {
        self.all.streams.ended(&self.label, outcome);
    }

    /// Counts an answered request. `status` is 100 to 599.
    pub fn answered(&self, method: &Method, status: u16, seconds: f64) {
        let method = method_label(method);
        self.all
            .requests
            .with_label_values(&[method, &self.label, status_label(status).as_str()])
            .inc();
        self.all
            .request_latency
            .with_label_values(&[method, &self.label])
            .observe(seconds);
    }
}

/// The methods of RFC 9110 and PATCH have labels of their own; any other is `other`.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        "TRACE" => "TRACE",
        _ => "other",
    }
}

fn status_label(status: u16) -> StatusLabel {
    let digit = |value: u16| b'0' + (value % 10) as u8;
    StatusLabel([digit(status / 100), digit(status / 10), digit(status)])
}

/// Three digits, without an allocation for each request.
struct StatusLabel([u8; 3]);

impl StatusLabel {
    fn as_str(&self) -> &str {
        // Digits are ASCII.
        std::str::from_utf8(&self.0).unwrap_or("000")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_from_bounded_sets() {
        assert_eq!(method_label(&Method::from_bytes(b"PURGE").unwrap()), "other");
        assert_eq!(status_label(504).as_str(), "504");
    }
}
