//! The circuit breaker: a failing backend is not called, waiting clients hear so at once, and the breaker closes by itself.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::names::{Topics, unique};
use crate::harness::records::produce_job;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{count, wait_for_commit};
use crate::harness::wait::eventually;

const CLOSED: f64 = 0.0;
const OPEN: f64 = 2.0;

/// Fails requests until the breaker is open.
async fn open(proxy: &Service, processor: &Service) {
    eventually("the breaker opens", async || {
        proxy.request(Request::get("/")).await;
        processor
            .metrics()
            .await
            .expect_sum("processor_breaker_state", &[], OPEN)
    })
    .await;
}

#[tokio::test]
async fn an_open_breaker_answers_503_in_milliseconds_and_leaves_the_backend_alone() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|_| Answer::status(503)).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set_topics("breaker", json!({"open_for": "1h"}))
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    open(&proxy, &processor).await;
    let calls = backend.received().len();
    assert_eq!(calls, 10, "so many failures open it");
    // The quickest of five counts, because a busy machine delays some.
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let sent = Instant::now();
        proxy.request(Request::get("/")).await.assert_try_again("breaker-open");
        quickest = quickest.min(sent.elapsed());
    }
    println!("503 breaker-open after {quickest:?}");
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
    assert_eq!(backend.received().len(), calls, "no more calls");
    let status = processor.manage("/status").await.json();
    assert_eq!(status["topics"][&topics.request]["breaker"], "open", "{status}");
    assert_eq!(
        processor.health("/health/ready").await,
        Some(200),
        "the processor itself does not fail"
    );
}

#[tokio::test]
async fn an_open_breaker_closes_by_itself_and_its_requests_are_no_dead_letters() {
    let topics = Topics::unique("orders");
    let dead_letters = unique("dead-letters");
    let backend = Backend::start(|_| Answer::status(503)).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set_topics("breaker", json!({"open_for": 1}))
        .set("dead_letter_topic", dead_letters.as_str())
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    open(&proxy, &processor).await;
    backend.answer_with(Answer::echo);
    eventually("the backend is asked again", async || {
        match proxy.request(Request::get("/")).await.status {
            200 => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
    processor.wait_for_metric("processor_breaker_state", &[], CLOSED).await;
    assert_eq!(count(&dead_letters), 0);
    let sent = count(&topics.request);
    wait_for_commit(&topics.group, &topics.request, sent).await;
}

#[tokio::test]
async fn half_open_sends_one_request_at_a_time() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|_| Answer::status(502)).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set_topics("breaker", json!({"failures": 3, "open_for": "300ms"}))
        .set_topics("timeout", 60)
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    open(&proxy, &processor).await;
    let calls = backend.received().len();
    backend.answer_with(|_| Answer::Hang);
    // The probe hangs. Meanwhile no other request is sent, and the others get a 503 at once.
    let probe = eventually("a probe", async || {
        let mut client = proxy.leave_waiting(&Request::post("/", "probe")).await;
        tokio::select! {
            answer = client.read_response(false) => Err(format!("{answer:?}")),
            () = backend.wait_for_calls(calls + 1) => Ok(client),
        }
    })
    .await;
    for _ in 0..5 {
        proxy
            .request(Request::post("/", "other"))
            .await
            .assert_try_again("breaker-open");
    }
    assert_eq!(backend.received().len(), calls + 1);
    // The backend's connections close, and the call ends.
    drop((probe, backend));
}

#[tokio::test]
async fn a_health_check_can_close_the_breaker_but_not_open_it() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| match received.target.as_str() {
        "/health" => Answer::status(500),
        _ => Answer::body("works"),
    })
    .await;
    let processor = processor(&[(&topics, &backend.url())])
        .set_topics("breaker", json!({"failures": 2, "open_for": "1h"}))
        .set_topics("max_retries", 0)
        .set("health_check_interval", "200ms")
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    backend.wait_for_calls(5).await;
    processor.wait_for_metric("processor_backend_up", &[], 0.0).await;
    assert_eq!(
        proxy.request(Request::get("/")).await.status,
        200,
        "a failed check does not open the breaker"
    );

    backend.answer_with(|received| match received.target.as_str() {
        "/health" => Answer::status(500),
        _ => Answer::Close,
    });
    open(&proxy, &processor).await;
    backend.answer_with(|received| match received.target.as_str() {
        // Any status below 500 counts as up, because not all backends have a health page.
        "/health" => Answer::status(404),
        _ => Answer::body("works"),
    });
    processor.wait_for_metric("processor_breaker_state", &[], CLOSED).await;
    assert_eq!(proxy.request(Request::get("/")).await.status, 200);
}

#[tokio::test]
async fn a_record_without_a_deadline_waits_until_the_breaker_closes() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|_| Answer::status(503)).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set_topics("breaker", json!({"failures": 3, "open_for": "500ms"}))
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    open(&proxy, &processor).await;
    let sent = count(&topics.request);
    backend.answer_with(Answer::echo);
    produce_job(&topics.request, 0, None, "POST", "a batch job").await;
    wait_for_commit(&topics.group, &topics.request, sent + 1).await;
    assert_eq!(backend.calls_with_body("a batch job"), 1);
}

#[tokio::test]
async fn requests_with_short_deadlines_do_not_open_the_breaker() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| match received.target.as_str() {
        "/hasty" => Answer::Hang,
        _ => Answer::echo(received),
    })
    .await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let (hasty, patient) = (
        proxy(&topics).timeout_of("/hasty", "100ms").start().await,
        proxy(&topics).start().await,
    );
    // From here on its topics are open.
    assert_eq!(hasty.request(Request::post("/", "patient")).await.status, 200);
    for _ in 0..15 {
        assert_eq!(hasty.request(Request::new("POST", "/hasty")).await.status, 504);
    }
    assert_eq!(patient.request(Request::post("/", "patient")).await.status, 200);
    let metrics = processor.metrics().await;
    assert_eq!(metrics.sum("processor_breaker_state", &[]), CLOSED);
}
