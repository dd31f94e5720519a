//! Retries: which calls are repeated, when, and how often.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor, proxy};

/// A backend that gives this answer to its first `failures` calls.
async fn failing(failures: usize, answer: fn() -> Answer) -> Backend {
    let calls = AtomicUsize::new(0);
    Backend::start(move |_| match calls.fetch_add(1, Ordering::SeqCst) < failures {
        true => answer(),
        false => Answer::body("done"),
    })
    .await
}

async fn pair(topics: &Topics, backend: &Backend, spec: impl FnOnce(Spec) -> Spec) -> (Service, Service) {
    let processor = processor(&[(topics, &backend.url())]).set_topics("breaker", serde_json::json!({"mode": "off"}));
    (spec(processor).start().await, proxy(topics).start().await)
}

#[tokio::test]
async fn only_calls_that_are_safe_to_repeat_are_repeated() {
    for (request, failure, expected) in [
        (Request::get("/"), (|| Answer::status(503)) as fn() -> Answer, (200, 4)),
        (Request::get("/"), || Answer::Close, (200, 4)),
        (Request::post("/", "x"), || Answer::status(503), (503, 1)),
        (Request::post("/", "x"), || Answer::Close, (502, 1)),
        (
            Request::post("/", "x").header("Idempotency-Key", "k"),
            || Answer::status(429),
            (200, 4),
        ),
        (Request::get("/"), || Answer::status(500), (500, 1)),
    ] {
        let topics = Topics::unique("orders");
        let backend = failing(3, failure).await;
        let (processor, proxy) = pair(&topics, &backend, |spec| spec).await;
        let answer = proxy.request(request.clone()).await;
        assert_eq!((answer.status, backend.received().len()), expected, "{request:?}");
        let retries = processor.metrics().await.sum("processor_retries_total", &[]);
        assert_eq!(retries, expected.1 as f64 - 1.0);
    }
}

#[tokio::test]
async fn the_statuses_and_methods_that_are_repeated_can_be_set() {
    let topics = Topics::unique("orders");
    let backend = failing(1, || Answer::status(500)).await;
    let retry = serde_json::json!({"on": [500], "methods": ["POST"]});
    let (_processor, proxy) = pair(&topics, &backend, |spec| spec.set_topics("retry", retry)).await;
    assert_eq!(proxy.request(Request::post("/", "x")).await.status, 200);
    assert_eq!(backend.received().len(), 2);
}

#[tokio::test]
async fn retry_after_is_respected_unless_it_is_later_than_the_deadline() {
    let topics = Topics::unique("orders");
    let backend = failing(1, || Answer::status(429).header("Retry-After", "2")).await;
    let (_processor, proxy) = pair(&topics, &backend, |spec| spec).await;
    let sent = Instant::now();
    assert_eq!(proxy.request(Request::get("/")).await.status, 200);
    assert!(sent.elapsed() >= Duration::from_secs(2), "{:?}", sent.elapsed());

    // Longer than any client waits: the client gets the backend's own answer at once.
    backend.answer_with(|_| Answer::status(503).header("Retry-After", "3600"));
    let sent = Instant::now();
    let answer = proxy.request(Request::get("/")).await;
    assert_eq!(
        (answer.status, answer.header("retry-after").as_deref()),
        (503, Some("3600"))
    );
    assert!(sent.elapsed() < Duration::from_secs(12), "{:?}", sent.elapsed());
    assert_eq!(backend.received().len(), 3);
}

#[tokio::test]
async fn retries_cannot_double_the_load_on_a_failing_backend() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|_| Answer::status(503)).await;
    let (_processor, proxy) = pair(&topics, &backend, |spec| spec).await;
    let began = Instant::now();
    for _ in 0..20 {
        let mut waiting = Vec::new();
        for _ in 0..10 {
            waiting.push(proxy.leave_waiting(&Request::get("/")).await);
        }
        for client in &mut waiting {
            assert_eq!(client.read_response(false).await.expect("an answer").status, 503);
        }
    }
    let calls = backend.received().len();
    // The budget: a fifth of the first attempts, one a second, and ten at the start.
    let most = 200.0 + 200.0 * 0.2 + began.elapsed().as_secs_f64() + 10.0;
    println!("200 requests to a backend that fails: {calls} calls");
    assert!(calls > 200 && calls as f64 <= most, "{calls} of {most}");
}

#[tokio::test]
async fn no_call_is_repeated_after_its_deadline() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| match received.target.as_str() {
        "/impatient" => Answer::Hang,
        _ => Answer::body("done"),
    })
    .await;
    let retry = serde_json::json!({"wait": "10ms"});
    let (processor, _proxy) = pair(&topics, &backend, |spec| {
        spec.set_topics("timeout", 1)
            .set_topics("retry", retry)
            .set_topics("max_retries", 50)
    })
    .await;
    let impatient = self::proxy(&topics).timeout_of("/impatient", 10).start().await;
    // From here on its topics are open.
    assert_eq!(impatient.request(Request::post("/", "x")).await.status, 200);
    let answer = impatient.request(Request::get("/impatient")).await;
    assert_eq!(answer.status, 504);
    // The last attempt may still be under way.
    processor.wait_until_idle().await;
    let calls = backend.received().len() - 1;
    assert!((2..=11).contains(&calls), "{calls}");
}

#[tokio::test]
async fn a_retry_that_waits_too_long_for_a_permit_ends_in_the_backends_first_answer() {
    let topics = Topics::unique("orders");
    // The other requests occupy the only permit for 15 s, and the attempts of the first may take 6 s together.
    let backend = Backend::start(|received| match received.target.as_str() {
        "/first" => Answer::status(503).header("Retry-After", "2"),
        _ => Answer::Hang,
    })
    .await;
    let (processor, proxy) = pair(&topics, &backend, |spec| {
        spec.set_topics("concurrency", 1)
            .set_topics("timeout", 3)
            .set_topics("max_retries", 1)
    })
    .await;
    let mut first = proxy.leave_waiting(&Request::get("/first")).await;
    backend.wait_for_calls(1).await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(proxy.leave_waiting(&Request::post("/other", "x")).await);
    }
    let answer = first.read_response(false).await.expect("an answer");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (503, None),
        "{}",
        answer.text()
    );
    let calls = backend.received();
    assert_eq!(calls.iter().filter(|call| call.target == "/first").count(), 1);
    assert_eq!(processor.metrics().await.sum("processor_retries_total", &[]), 0.0);
    for client in &mut others {
        client.read_response(false).await.expect("an answer");
    }
}
