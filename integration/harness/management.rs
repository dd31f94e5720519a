//! The management API of a service: health, metrics, status and orders.

use std::time::Duration;

use serde_json::Value;

use super::client::{self, Request, Response};
use super::metrics::Metrics;
use super::wait::{PATIENCE, eventually, within};

/// A token that the settings take.
pub const TOKEN: &str = "t0ken-of-the-tests";

/// Where a process answers questions about itself.
#[derive(Debug, Clone)]
pub struct Management {
    mode: &'static str,
    /// `host:port` of /health, /metrics and /status: a processor's management port, a proxy's own port.
    address: String,
    /// Sent with every request.
    token: Option<String>,
}

impl Management {
    pub fn new(mode: &'static str, address: String, token: Option<String>) -> Self {
        Management { mode, address, token }
    }

    /// `host:port` of /health, /metrics and /status.
    pub fn management_address(&self) -> String {
        self.address.clone()
    }

    /// Asks for a page.
    pub async fn manage(&self, path: &str) -> Response {
        self.ask(Request::get(path)).await
    }

    /// Has the service do something.
    pub async fn order(&self, path: &str) -> Response {
        let request = Request::post(path, "{}").header("Content-Type", "application/json");
        self.ask(request).await
    }

    async fn ask(&self, mut request: Request) -> Response {
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        client::request(&self.address, request).await
    }

    /// A topic's part of `/status`.
    pub async fn topic_status(&self, topic: &str) -> Value {
        self.manage("/status").await.json()["topics"][topic].clone()
    }

    /// The partitions that the only worker of a topic has.
    pub async fn partitions(&self, topic: &str) -> Vec<i64> {
        let status = self.topic_status(topic).await;
        let partitions = status["workers"][0]["partitions"].as_array().cloned();
        let numbers = partitions.unwrap_or_default();
        numbers.iter().filter_map(Value::as_i64).collect()
    }

    /// The status of a health page; `None` when nobody listens.
    pub async fn health(&self, path: &str) -> Option<u16> {
        client::try_request(&self.address, Request::get(path))
            .await
            .ok()
            .map(|answer| answer.status)
    }

    /// `health` as a probe for `within`.
    pub async fn expect_health(&self, path: &str, status: u16) -> Result<(), String> {
        match self.health(path).await {
            Some(seen) if seen == status => Ok(()),
            seen => Err(format!("{} {path}: {seen:?}", self.mode)),
        }
    }

    pub async fn metrics(&self) -> Metrics {
        let answer = self.manage("/metrics").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Metrics::parse(&answer.text())
    }

    /// Waits until the samples of `name` that carry these labels add up to `value`.
    pub async fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{} {name}{labels:?} = {value}", self.mode);
        eventually(&what, async || self.metrics().await.expect_sum(name, labels, value)).await;
    }

    /// Asserts that no actor was restarted.
    pub async fn assert_no_restarts(&self) {
        let restarts = self.metrics().await.sum("actor_restarts_total", &[]);
        assert_eq!(restarts, 0.0, "actors of the {} were restarted", self.mode);
    }

    /// Waits until a proxy has this many requests in flight.
    pub async fn wait_for_pending(&self, count: usize) {
        self.wait_for_metric("proxy_pending_requests", &[], count as f64).await;
    }

    /// Waits until no request is in flight. Every service is checked for this when it is dropped; a test calls it where it must be so
    /// earlier.
    pub async fn wait_until_idle(&self) {
        self.become_idle(PATIENCE).await;
    }

    /// `wait_until_idle`, but each gauge must be 0 within `limit`.
    pub(super) async fn become_idle(&self, limit: Duration) {
        let of_proxy = ["proxy_pending_requests", "proxy_router_entries"].as_slice();
        let of_processor = ["processor_messages_in_flight", "processor_streams_open"].as_slice();
        let gauges = match self.mode {
            "proxy" => of_proxy.to_vec(),
            "processor" => of_processor.to_vec(),
            _ => [of_proxy, of_processor].concat(),
        };
        for gauge in gauges {
            let what = format!("{} is idle: {gauge} = 0", self.mode);
            within(limit, &what, async || match self.metrics().await {
                metrics if !metrics.has(gauge) => Err("there is no such metric".into()),
                metrics => metrics.expect_sum(gauge, &[], 0.0),
            })
            .await;
        }
    }
}
