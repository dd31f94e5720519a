//! The circuit breaker in pause mode: while a backend is out, its records wait in Kafka.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::names::{Topics, unique};
use crate::harness::records::{produce_job, read_all};
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{count, create_topic, wait_for_commit};
use crate::harness::wait::{eventually, long};

const CLOSED: f64 = 0.0;
const OPEN: f64 = 2.0;

#[tokio::test]
async fn pause_mode_waits_through_an_outage_and_loses_no_record() {
    let seconds = if long() { 20 } else { 5 };
    let topics = Topics::unique("orders");
    let dead_letters = unique("dead-letters");
    for topic in [&topics.request, &dead_letters] {
        create_topic(topic, 2).await;
    }
    let backend = Backend::echo().await;
    let address = backend.address();
    let processor = processor(&[(&topics, &backend.url())])
        .set_topics("breaker", json!({"mode": "pause", "open_for": 1}))
        .set("dead_letter_topic", dead_letters.as_str())
        .start()
        .await;
    let proxy = proxy(&topics).set("default_timeout", 60).start().await;
    assert_eq!(proxy.request(Request::get("/before")).await.status, 200);
    drop(backend);

    let down = Instant::now();
    let mut waiting = Vec::new();
    for number in 0..30 {
        waiting.push(
            proxy
                .leave_waiting(&Request::post("/", format!("client {number}")))
                .await,
        );
        produce_job(&topics.request, number % 2, None, "POST", &format!("job {number}")).await;
    }
    processor.wait_for_metric("processor_breaker_state", &[], OPEN).await;
    tokio::time::sleep(Duration::from_secs(seconds).saturating_sub(down.elapsed())).await;
    assert_eq!(processor.health("/health/ready").await, Some(200));
    let backend = Backend::start_on(&address, Answer::echo).await;
    for client in &mut waiting {
        let answer = client.read_response(false).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    wait_for_commit(&topics.group, &topics.request, 61).await;
    for number in 0..30 {
        for who in ["client", "job"] {
            assert_eq!(backend.calls_with_body(&format!("{who} {number}")), 1, "{who} {number}");
        }
    }
    assert_eq!(count(&dead_letters), 0);
    processor.wait_for_metric("processor_breaker_state", &[], CLOSED).await;
}

/// Failures of a backend that has received the request.
const OUTAGES: [fn() -> Answer; 3] = [|| Answer::status(503), || Answer::Close, || Answer::Hang];

/// A processor of one topic in pause mode, with 20 records to execute and a backend that is out. Waits until the breaker has opened.
async fn outage(method: &str, answer: fn() -> Answer, health: &str) -> (Topics, String, Backend, Service) {
    let (topics, dead_letters) = (Topics::unique("orders"), unique("dead-letters"));
    for topic in [&topics.request, &topics.response, &dead_letters] {
        create_topic(topic, 1).await;
    }
    for number in 0..20 {
        produce_job(&topics.request, 0, None, method, &number.to_string()).await;
    }
    let backend = Backend::start(move |_| answer()).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set_topics("breaker", json!({"mode": "pause", "failures": 3, "open_for": "500ms"}))
        .set_topics("timeout", 1)
        .set_topics("concurrency", 4)
        .set("health_check_interval", health)
        .set("dead_letter_topic", dead_letters.as_str())
        .start()
        .await;
    eventually("the breaker has opened", async || {
        match processor.logged("breaker opened") {
            0 => Err("not yet".into()),
            _ => Ok(()),
        }
    })
    .await;
    (topics, dead_letters, backend, processor)
}

/// How many of the replies have status 200.
async fn well_answered(topics: &Topics) -> usize {
    let replies = read_all(&topics.response).await;
    replies
        .iter()
        .filter(|reply| reply.header_text(":status") == "200")
        .count()
}

#[tokio::test]
async fn pause_mode_loses_no_record_that_is_safe_to_repeat() {
    for answer in OUTAGES {
        let (topics, dead_letters, backend, _processor) = outage("GET", answer, "0").await;
        // These calls are probes, and all of them fail.
        backend.wait_for_calls(backend.count() + 3).await;
        assert_eq!((count(&topics.response), count(&dead_letters)), (0, 0));
        backend.answer_with(Answer::echo);
        wait_for_commit(&topics.group, &topics.request, 20).await;
        assert_eq!(well_answered(&topics).await, 20);
        assert_eq!(count(&dead_letters), 0);
    }
}

#[tokio::test]
async fn pause_mode_gives_up_only_unsafe_calls_that_were_under_way() {
    for answer in OUTAGES {
        // The regular health checks are an hour apart, so the checks that come now are those before a probe.
        let (topics, dead_letters, backend, _processor) = outage("POST", answer, "1h").await;
        let asked = |path: &str| backend.received().iter().filter(|call| call.target == path).count();
        let checks = asked("/health");
        eventually("the health page is asked for", async || match asked("/health") {
            now if now >= checks + 3 => Ok(()),
            now => Err(now.to_string()),
        })
        .await;
        let given_up = asked("/job");
        assert!(
            (3..=7).contains(&given_up),
            "{given_up}: three failures open the breaker, and four calls are under way"
        );
        assert_eq!(count(&topics.response), given_up as i64);
        backend.answer_with(Answer::echo);
        wait_for_commit(&topics.group, &topics.request, 20).await;
        assert_eq!(asked("/job"), 20, "each was sent once");
        assert_eq!(well_answered(&topics).await, 20 - given_up);
        assert!(count(&dead_letters) <= given_up as i64);
    }
}

#[tokio::test]
async fn pause_mode_passes_on_a_backends_own_refusal() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|_| Answer::status(429).header("Retry-After", "60")).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set_topics("breaker", json!({"mode": "pause"}))
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    let answer = proxy.request(Request::get("/")).await;
    assert_eq!((answer.status, backend.count()), (429, 1), "{}", answer.text());
    assert_eq!(processor.metrics().await.sum("processor_retries_total", &[]), 0.0);
}

#[tokio::test]
async fn pause_mode_gives_up_a_record_that_fails_while_others_succeed() {
    let topics = Topics::unique("orders");
    let dead_letters = unique("dead-letters");
    create_topic(&dead_letters, 1).await;
    let backend = Backend::start(|received| match received.text().as_str() {
        "poison" => Answer::Close,
        _ => Answer::body("fine"),
    })
    .await;
    let processor = processor(&[(&topics, &backend.url())])
        .set_topics("breaker", json!({"mode": "pause", "open_for": "200ms"}))
        .set("dead_letter_topic", dead_letters.as_str())
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    let mut poison = proxy
        .leave_waiting(&Request::post("/", "poison").header("Idempotency-Key", "p"))
        .await;
    let others = async {
        loop {
            proxy.request(Request::post("/", "fine")).await;
        }
    };
    let answer = tokio::select! {
        answer = poison.read_response(false) => answer.expect("an answer"),
        () = others => unreachable!("others go on"),
    };
    answer.assert_problem(502, "backend-reset");
    processor
        .wait_for_metric("processor_dead_letters_total", &[], 1.0)
        .await;
    processor.wait_for_metric("processor_breaker_state", &[], CLOSED).await;
}

#[tokio::test]
async fn pause_mode_continues_in_order_when_the_backend_is_back() {
    for ordering in ["partition", "key"] {
        let topics = Topics::unique("orders");
        create_topic(&topics.request, 1).await;
        let backend = Backend::start(|_| Answer::Close).await;
        let processor = processor(&[(&topics, &backend.url())])
            .set_topics("ordering", ordering)
            .set_topics("breaker", json!({"mode": "pause", "failures": 3, "open_for": 1}))
            .start()
            .await;
        for number in 0..20 {
            produce_job(&topics.request, 0, Some("one"), "GET", &format!("job {number:02}")).await;
        }
        processor.wait_for_metric("processor_breaker_state", &[], OPEN).await;
        backend.answer_with(Answer::echo);
        wait_for_commit(&topics.group, &topics.request, 20).await;
        let mut bodies: Vec<String> = backend.received().iter().map(|call| call.text()).collect();
        bodies.dedup();
        assert!(bodies.is_sorted() && bodies.len() == 20, "{bodies:?}");
    }
}
