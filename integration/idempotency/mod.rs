//! Requests that run once for each `Idempotency-Key`.

/// Whom a key belongs to, and which requests need one.
mod keys;
/// Proxies and processors that are killed meanwhile.
mod kills;
/// Answers that are larger than a record.
mod large;
/// Requests that run once and whose answers are fetched later.
mod later;
/// What is remembered, where, and what happens when it cannot be.
mod memory;
/// Answers that stream while their partitions move.
mod moves;
/// What the second request with a key gets.
mod repeats;
/// The time of a rebalance with many keys. Only where it is asked for.
mod restore_time;
/// What the access log and the console say of a key.
mod seen;
/// Answers that stream while they are remembered.
mod streams;

use serde_json::{Value, json};

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Request, Response};
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor, proxy};

/// A proxy and a processor that honour keys.
struct Once {
    topics: Topics,
    proxy: Service,
    processor: Service,
    backend: Backend,
}

impl Once {
    async fn start(backend: Backend) -> Self {
        Self::start_with(backend, |proxy| proxy, |processor| processor).await
    }

    async fn start_with(
        backend: Backend,
        of_proxy: impl FnOnce(Spec) -> Spec,
        of_processor: impl FnOnce(Spec) -> Spec,
    ) -> Self {
        let topics = Topics::unique("payments");
        Once {
            processor: of_processor(remembers(&topics, &backend)).start().await,
            proxy: of_proxy(honours(&topics)).start().await,
            topics,
            backend,
        }
    }

    async fn pay(&self, key: &str, body: &str) -> Response {
        self.proxy.request(payment(key, body)).await
    }

    fn memory(&self) -> String {
        memory_of(&self.topics)
    }
}

fn memory_of(topics: &Topics) -> String {
    format!("{}-idempotency", topics.request)
}

fn answers_of(topics: &Topics) -> String {
    format!("{}-answers", topics.request)
}

fn honours(topics: &Topics) -> Spec {
    proxy(topics).set("idempotency", "honour")
}

fn remembers(topics: &Topics, backend: &Backend) -> Spec {
    remembers_of(topics, &backend.url())
}

fn remembers_of(topics: &Topics, url: &str) -> Spec {
    processor(&[(topics, url)]).set_topics("idempotency", true)
}

fn payment(key: &str, body: &str) -> Request {
    Request::post("/payments", body).header("Idempotency-Key", key)
}

/// A backend whose every answer is another one.
async fn numbering() -> Backend {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    Backend::start(move |received| {
        let number = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let answer = Answer::Respond {
            status: 201,
            headers: Vec::new(),
            body: format!("{number} {}", received.text()).into_bytes(),
        };
        answer.header("Location", format!("/payments/{number}"))
    })
    .await
}

/// Bytes that are other ones for each number.
fn bytes(number: usize, size: usize) -> Vec<u8> {
    (0..size).map(|at| (at.wrapping_mul(31 + number) >> 3) as u8).collect()
}

/// A backend whose every answer is another one of this size.
async fn large(size: usize) -> Backend {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    Backend::start(move |_| {
        let number = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Answer::body(bytes(number, size)).header("Location", format!("/payments/{number}"))
    })
    .await
}

/// True: it says that it is a repeat.
fn is_replay(response: &Response) -> bool {
    response.all("idempotency-replayed") == ["true"]
}

/// Routes to the same topics.
fn routes(topics: &Topics, routes: &[Value]) -> Value {
    let all = routes.iter().map(|route| {
        let mut route = route.clone();
        route["request_topic"] = json!(topics.request);
        route["response_topic"] = json!(topics.response);
        route
    });
    all.collect()
}
