//! The circuit breaker: a failing backend is left alone, who waits hears so at once, and its return needs nobody.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::app::{App, processor, proxy};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::records::{produce_job, read_all};
use crate::harness::topics::{count, create_topic, wait_for_commit};
use crate::harness::wait::eventually;
use crate::harness::{Topics, unique};

const CLOSED: f64 = 0.0;
const OPEN: f64 = 2.0;

/// Fails requests until the breaker is open.
async fn open(proxy: &App, processor: &App) {
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
    assert_eq!(calls, 10, "as many as it takes to open it");
    // The quickest of five: a busy machine delays some.
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let sent = Instant::now();
        proxy.request(Request::get("/")).await.assert_try_again("breaker-open");
        quickest = quickest.min(sent.elapsed());
    }
    println!("503 breaker-open after {quickest:?}");
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
    assert_eq!(backend.received().len(), calls, "left alone");
    let status = processor.manage("/status").await.json();
    assert_eq!(status["topics"][&topics.request]["breaker"], "open", "{status}");
    assert_eq!(
        processor.health("/health/ready").await,
        Some(200),
        "it is not the processor that fails"
    );
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn an_open_breaker_closes_by_itself_and_its_requests_are_no_dead_letters() {
    let topics = Topics::unique("orders");
    let dead_letters = unique("failed-requests");
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
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
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
    // The probe hangs; meanwhile nobody else is sent, and everybody else hears so at once.
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
    // Its connections close, and the call ends.
    drop((probe, backend));
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn a_health_check_closes_it_and_never_opens_it() {
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
        "a failed check opens nothing"
    );

    backend.answer_with(|received| match received.target.as_str() {
        "/health" => Answer::status(500),
        _ => Answer::Close,
    });
    open(&proxy, &processor).await;
    backend.answer_with(|received| match received.target.as_str() {
        // Any answer below 500 is up: not all backends have a health page.
        "/health" => Answer::status(404),
        _ => Answer::body("works"),
    });
    processor.wait_for_metric("processor_breaker_state", &[], CLOSED).await;
    assert_eq!(proxy.request(Request::get("/")).await.status, 200);
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn what_nobody_waits_for_waits_itself() {
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
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn pause_mode_waits_an_outage_out_and_loses_nothing() {
    let seconds = if std::env::var_os("KHP_LONG").is_some() { 20 } else { 5 };
    let topics = Topics::unique("orders");
    let dead_letters = unique("failed-requests");
    for topic in [&topics.request, &dead_letters] {
        create_topic(topic, 2).await;
    }
    let backend = Backend::echo().await;
    let url = backend.url();
    let processor = processor(&[(&topics, &url)])
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
    let backend = Backend::start_on(&url.replace("http://", ""), Answer::echo).await;
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
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

/// Ways to be out that carry a request all the way to the backend.
const OUTAGES: [fn() -> Answer; 3] = [|| Answer::status(503), || Answer::Close, || Answer::Hang];

/// A processor of one topic in pause mode, with 20 records before it and a backend that is out; waits until the breaker is open.
async fn outage(method: &str, answer: fn() -> Answer, health: &str) -> (Topics, String, Backend, App) {
    let (topics, dead_letters) = (Topics::unique("orders"), unique("failed-requests"));
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
    eventually("it has been open", async || match processor.logged("breaker opened") {
        0 => Err("not yet".into()),
        _ => Ok(()),
    })
    .await;
    (topics, dead_letters, backend, processor)
}

/// How many of the replies are the backend's own good answer.
async fn well_answered(topics: &Topics) -> usize {
    let replies = read_all(&topics.response).await;
    replies
        .iter()
        .filter(|reply| reply.header_text(":status") == "200")
        .count()
}

#[tokio::test]
async fn pause_mode_loses_nothing_that_can_be_sent_again_however_the_backend_fails() {
    for answer in OUTAGES {
        let (topics, dead_letters, backend, processor) = outage("GET", answer, "0").await;
        // Probes, and all of them fail.
        backend.wait_for_calls(backend.count() + 3).await;
        assert_eq!((count(&topics.response), count(&dead_letters)), (0, 0));
        backend.answer_with(Answer::echo);
        wait_for_commit(&topics.group, &topics.request, 20).await;
        assert_eq!(well_answered(&topics).await, 20);
        assert_eq!(count(&dead_letters), 0);
        processor.wait_until_idle().await;
    }
}

#[tokio::test]
async fn pause_mode_gives_up_only_what_was_under_way_of_what_must_not_be_sent_twice() {
    for answer in OUTAGES {
        // Its own checks are an hour apart: those that are seen are made before a probe.
        let (topics, dead_letters, backend, processor) = outage("POST", answer, "1h").await;
        let asked = |path: &str| backend.received().iter().filter(|call| call.target == path).count();
        let looks = asked("/health");
        eventually("the health page is asked for", async || match asked("/health") {
            now if now >= looks + 3 => Ok(()),
            now => Err(now.to_string()),
        })
        .await;
        let given_up = asked("/job");
        assert!(
            (3..=7).contains(&given_up),
            "{given_up}: three open it, four are under way"
        );
        assert_eq!(count(&topics.response), given_up as i64);
        backend.answer_with(Answer::echo);
        wait_for_commit(&topics.group, &topics.request, 20).await;
        assert_eq!(asked("/job"), 20, "each was sent once");
        assert_eq!(well_answered(&topics).await, 20 - given_up);
        assert!(count(&dead_letters) <= given_up as i64);
        processor.wait_until_idle().await;
    }
}

#[tokio::test]
async fn pause_mode_does_not_withhold_what_a_backend_says() {
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
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn in_pause_mode_a_record_that_fails_while_others_succeed_is_given_up() {
    let topics = Topics::unique("orders");
    let dead_letters = unique("failed-requests");
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
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn records_in_lanes_go_on_when_their_backend_is_back() {
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
        processor.wait_until_idle().await;
    }
}

#[tokio::test]
async fn who_waits_only_a_moment_says_nothing_about_a_backend() {
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
    // Its topics are open from here on.
    assert_eq!(hasty.request(Request::post("/", "patient")).await.status, 200);
    for _ in 0..15 {
        assert_eq!(hasty.request(Request::new("POST", "/hasty")).await.status, 504);
    }
    assert_eq!(patient.request(Request::post("/", "patient")).await.status, 200);
    let metrics = processor.metrics().await;
    assert_eq!(metrics.sum("processor_breaker_state", &[]), CLOSED);
    hasty.wait_until_idle().await;
    patient.wait_until_idle().await;
    processor.wait_until_idle().await;
}
