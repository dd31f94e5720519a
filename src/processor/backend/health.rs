//! Checks each backend's health page from time to time, for operators and for breakers: a check that succeeds closes an open breaker; one
//! that fails opens none.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prometheus::IntGauge;
use tokio::time::MissedTickBehavior;

use crate::process::progress::monotonic_ms;
use crate::processor::backend::breaker::Breaker;
use crate::processor::backend::client::Backend;
use crate::processor::backend::outcome::{Answer, BackendError};
use crate::processor::backend::tls::Connectors;
use crate::settings::{HostHeader, Topic};
use crate::wire::Request;

/// One check may take this long.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The body of a health answer does not matter, but must be read.
const MAX_BODY: usize = 1 << 20;

/// What the last check found. Clones share it.
#[derive(Clone)]
pub struct BackendState(Arc<AtomicI8>);

impl Default for BackendState {
    fn default() -> Self {
        BackendState(Arc::new(AtomicI8::new(-1)))
    }
}

impl BackendState {
    /// `up`, `down` or `unknown`.
    pub fn as_str(&self) -> &'static str {
        match self.0.load(Ordering::Relaxed) {
            1 => "up",
            0 => "down",
            _ => "unknown",
        }
    }

    /// Stores a result; true when it differs from the last.
    fn set(&self, up: bool) -> bool {
        self.0.swap(up.into(), Ordering::Relaxed) != i8::from(up)
    }
}

/// One topic's backend, and where the result of its check is shown.
pub struct BackendCheck {
    pub topic: Topic,
    pub state: BackendState,
    pub breaker: Option<Arc<Breaker>>,
    pub gauge: IntGauge,
}

/// Checks a backend for as long as the task runs, once in `every`. One that cannot even be addressed is left out, with a log line.
pub async fn watch(check: BackendCheck, every: Duration, connectors: Connectors) {
    let backend = connectors
        .of(&check.topic.tls)
        .and_then(|connector| Backend::new(&connector, &check.topic.backend_url, HostHeader::Backend, 1, MAX_BODY));
    let checked = match backend {
        Ok(backend) => Rc::new((backend, check)),
        Err(error) => return tracing::error!(topic = check.topic.name, error, "backend cannot be checked"),
    };
    let mut ticks = actix::clock::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let checked = checked.clone();
        // A task of its own: one that hangs does not hold up the next.
        actix::spawn(async move { self::check(&checked.0, &checked.1).await });
    }
}

/// Asks for the health page. Any status below 500 shows a backend that works, since not all backends have such a page.
pub async fn ask(backend: &Backend, path: &str) -> (bool, Result<Answer, BackendError>) {
    let outcome = backend.call((&request(path), None), None, TIMEOUT, None).await;
    (outcome.as_ref().is_ok_and(|answer| answer.status < 500), outcome)
}

async fn check(backend: &Backend, check: &BackendCheck) {
    let (up, outcome) = ask(backend, &check.topic.health_path).await;
    check.gauge.set(up.into());
    if let (Some(breaker), true) = (&check.breaker, up) {
        breaker.health_check_succeeded(monotonic_ms());
    }
    if check.state.set(up) {
        let what = outcome.map_or_else(|error| error.to_string(), |answer| format!("status {}", answer.status));
        let (topic, backend) = (&check.topic.name, &check.topic.backend_url);
        match up {
            true => tracing::info!(event = "backend", topic, %backend, what, "backend is up"),
            false => tracing::warn!(event = "backend", topic, %backend, what, "backend is down"),
        }
    }
}

fn request(path: &str) -> Request {
    Request {
        correlation_id: Bytes::from_static(b"health-check"),
        method: "GET".into(),
        path: path.into(),
        headers: vec![("user-agent".into(), Bytes::from_static(b"actix-khp"))],
        ..Request::default()
    }
}
