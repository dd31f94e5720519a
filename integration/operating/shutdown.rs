//! Signals: an instance that stops finishes the requests that it has accepted.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{self, Connection, Request};
use crate::harness::load::{Load, OnClose};
use crate::harness::names::Topics;
use crate::harness::spec::{Spec, all, processor, proxy};
use crate::harness::wait::{PATIENCE, within};

fn post(body: String) -> Request {
    Request::post("/load", body)
}

/// A group divides the partitions of a member that has left in less than this, even on a busy machine. Waiting for the end of a session
/// (see `long_session`) takes longer.
const NO_SESSION: Duration = Duration::from_secs(25);

fn long_session(processor: Spec) -> Spec {
    processor.set("kafka.properties", json!({ "session.timeout.ms": "45000" }))
}

async fn slow_echo() -> Backend {
    Backend::start(|received| Answer::same_body(received).after(Duration::from_millis(20))).await
}

#[tokio::test]
async fn sigterm_to_a_proxy_under_load_fails_no_request() {
    let topics = Topics::unique("orders");
    let backend = slow_echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let mut proxy = proxy(&topics).set("pre_stop", 6).start().await;
    let load = Load::start(&proxy.address(), 16, OnClose::Leave, post);
    load.wait_for_more(100).await;
    proxy.signal("TERM");
    // Each client leaves when an answer on its connection says `Connection: close`.
    let report = load.join().await;
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!(report.told_to_close, 16);
    assert_eq!(proxy.wait_exit().await, Some(0));
    assert_eq!(backend.received().len(), report.answered, "each was executed once");
}

#[tokio::test]
async fn a_draining_proxy_is_unready_but_serves_during_pre_stop_and_finishes_its_requests() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| {
        let delay = if received.text() == "long" {
            Duration::from_secs(10)
        } else {
            Duration::ZERO
        };
        Answer::same_body(received).after(delay)
    })
    .await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let mut proxy = proxy(&topics).set("pre_stop", 8).start().await;
    let mut kept_alive = Connection::open(&proxy.address()).await.expect("the proxy listens");
    let before = kept_alive
        .request(&Request::post("/", "before"))
        .await
        .expect("an answer");
    assert!(before.status == 200 && !before.closes(), "{before:?}");
    let mut long = proxy.leave_waiting(&Request::post("/", "long")).await;
    backend.wait_for_calls(2).await;

    proxy.signal("TERM");
    within(Duration::from_secs(4), "not ready", async || {
        proxy.expect_health("/health/ready", 503).await
    })
    .await;
    let during = kept_alive
        .request(&Request::post("/", "during"))
        .await
        .expect("an answer");
    assert!(during.status == 200 && during.closes(), "{during:?}");
    let fresh = proxy.request(Request::post("/", "new connection")).await;
    assert!(fresh.status == 200 && fresh.closes(), "{fresh:?}");

    let answer = long.read_response(false).await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "long"));
    assert_eq!(proxy.wait_exit().await, Some(0));
    assert!(
        client::try_request(&proxy.address(), Request::get("/")).await.is_err(),
        "the port is closed"
    );
}

#[tokio::test]
async fn sigterm_to_one_of_two_processors_under_load_fails_and_delays_no_request() {
    let topics = Topics::unique("orders");
    let backend = slow_echo().await;
    let spec = long_session(processor(&[(&topics, &backend.url())]));
    let (leaving, staying) = (spec.clone().start().await, spec.start().await);
    let proxy = proxy(&topics).set("default_timeout", 60).start().await;
    let load = Load::start(&proxy.address(), 16, OnClose::Reconnect, post);
    for processor in [&leaving, &staying] {
        within(PATIENCE, "both processors work", async || {
            let done = processor.metrics().await.sum("processor_messages_total", &[]);
            if done >= 20.0 { Ok(()) } else { Err(done.to_string()) }
        })
        .await;
    }
    let stopped = Instant::now();
    leaving.stop().await;
    assert!(stopped.elapsed() < NO_SESSION, "{:?}", stopped.elapsed());
    load.wait_for_more(300).await;
    let report = load.finish().await;
    assert_eq!(report.failures, Vec::<String>::new());
    assert!(report.slowest < NO_SESSION, "{:?}", report.slowest);
    assert_eq!(
        backend.received().len(),
        report.answered,
        "each was executed once, so every answered request was committed"
    );
}

#[tokio::test]
async fn a_processor_that_stops_finishes_its_requests_and_the_next_one_starts_at_once() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::same_body(received).after(Duration::from_secs(2))).await;
    let spec = long_session(processor(&[(&topics, &backend.url())]));
    let mut first = spec.clone().start().await;
    let proxy = proxy(&topics).set("default_timeout", 60).start().await;
    let mut waiting = proxy.leave_waiting(&post("in flight".into())).await;
    backend.wait_for_calls(1).await;
    first.signal("TERM");
    let answer = waiting.read_response(false).await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "in flight"));
    assert_eq!(first.wait_exit().await, Some(0));

    let stopped = Instant::now();
    let _second = spec.start().await;
    let answer = proxy.request(post("after".into())).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "after"));
    assert!(
        stopped.elapsed() < NO_SESSION,
        "it waited for the session timeout: {:?}",
        stopped.elapsed()
    );
    assert_eq!(backend.received().len(), 2, "each was executed once");
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let topics = Topics::unique("orders");
    let mut proxy = proxy(&topics).start().await;
    let mut waiting = proxy.leave_waiting(&post("nobody answers".into())).await;
    proxy.wait_for_pending(1).await;
    proxy.signal("TERM");
    within(PATIENCE, "draining", async || {
        match proxy.health("/health/ready").await {
            Some(200) => Err("still ready".into()),
            _ => Ok(()),
        }
    })
    .await;
    proxy.assert_running();
    let again = Instant::now();
    proxy.signal("TERM");
    assert_ne!(proxy.wait_exit().await, Some(0), "a request was cut off");
    assert!(again.elapsed() < Duration::from_secs(10), "{:?}", again.elapsed());
    waiting.read_response(false).await.expect_err("cut off");
}

#[tokio::test]
async fn a_second_signal_ends_a_processor_in_the_middle_of_its_drain() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|_| Answer::body("too late").after(Duration::from_secs(25))).await;
    let mut processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    let _waiting = proxy.leave_waiting(&post("a long call".into())).await;
    backend.wait_for_calls(1).await;
    processor.signal("TERM");
    within(PATIENCE, "draining", async || {
        processor.expect_health("/health/ready", 503).await
    })
    .await;
    processor.assert_running();
    let again = Instant::now();
    processor.signal("TERM");
    assert_eq!(processor.wait_exit().await, Some(75));
    assert!(again.elapsed() < Duration::from_secs(10), "{:?}", again.elapsed());
}

#[tokio::test]
async fn requests_beyond_the_drain_limit_get_a_definite_answer_and_the_exit_code_is_75() {
    assert_cut_off_with_an_answer(4, 0).await;
}

/// With these limits the HTTP server's own limit, in whole seconds, could expire first. It would drop the handlers without an answer.
#[tokio::test]
async fn requests_beyond_a_longer_drain_limit_get_a_definite_answer_too() {
    tokio::join!(assert_cut_off_with_an_answer(6, 0), assert_cut_off_with_an_answer(8, 2));
}

async fn assert_cut_off_with_an_answer(drain_timeout: u64, pre_stop: u64) {
    let topics = Topics::unique("orders");
    let mut proxy = proxy(&topics)
        .set("drain_timeout", drain_timeout)
        .set("pre_stop", pre_stop)
        .start()
        .await;
    let mut waiting = proxy.leave_waiting(&post("nobody answers".into())).await;
    proxy.wait_for_pending(1).await;
    let asked = Instant::now();
    proxy.signal("TERM");
    waiting
        .read_response(false)
        .await
        .expect("an answer")
        .assert_problem(502, "reply-lost");
    assert_eq!(proxy.wait_exit().await, Some(75));
    println!("limit {drain_timeout} s: ended after {:?}", asked.elapsed());
    // Ten seconds more, for a busy machine.
    assert!(
        asked.elapsed() < Duration::from_secs(drain_timeout + 10),
        "{:?}",
        asked.elapsed()
    );
}

/// A client that sends half of its body, and then nothing, has no request in the router. Its end is not a clean one all the same.
#[tokio::test]
async fn a_request_that_is_still_being_received_at_the_drain_limit_makes_the_exit_code_75() {
    let topics = Topics::unique("orders");
    let mut proxy = proxy(&topics).set("drain_timeout", 4).start().await;
    let mut half = Connection::open(&proxy.address()).await.expect("the proxy listens");
    half.send_raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx")
        .await
        .expect("the proxy takes half of the request");
    proxy.wait_for_metric("proxy_pending_bytes", &[], 1.0).await;
    proxy.signal("TERM");
    assert_eq!(proxy.wait_exit().await, Some(75));
}

#[tokio::test]
async fn ctrl_c_drains_the_instance_too() {
    let topics = Topics::unique("orders");
    let backend = slow_echo().await;
    let mut all = all(&topics, &backend.url()).start().await;
    assert_eq!(all.request(post("x".into())).await.status, 200);
    all.signal("INT");
    assert_eq!(all.wait_exit().await, Some(0));
}
