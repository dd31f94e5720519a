//! Nothing that was accepted is dropped when an instance stops.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::Topics;
use crate::harness::app::{Spec, processor, proxy};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{self, Connection, Request};
use crate::harness::load::{Load, OnClose};
use crate::harness::wait::{PATIENCE, within};

fn post(body: String) -> Request {
    Request::post("/load", body)
}

/// What a group does once a member has left takes less, on a busy machine too; whoever waits for a session's end, of `long_session`,
/// waits longer.
const NO_SESSION: Duration = Duration::from_secs(25);

fn long_session(processor: Spec) -> Spec {
    processor.set("kafka.properties", json!({ "session.timeout.ms": "45000" }))
}

async fn slow_echo() -> Backend {
    Backend::start(|received| Answer::body(received.body.clone()).after(Duration::from_millis(20))).await
}

#[tokio::test]
async fn sigterm_to_a_proxy_under_load_fails_no_request() {
    let topics = Topics::unique("orders");
    let backend = slow_echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let mut proxy = proxy(&topics).set("pre_stop", 6).start().await;
    let load = Load::start(&proxy.address(), 16, OnClose::Leave, post);
    load.wait_for_more(100).await;
    proxy.signal("TERM").await;
    // Each client is told on its own kept-alive connection, and leaves.
    let report = load.join().await;
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!(report.told_to_close, 16);
    assert_eq!(proxy.wait_exit().await, Some(0));
    assert_eq!(backend.received().len(), report.answered, "each was executed once");
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn a_draining_proxy_is_unready_but_serves_through_pre_stop_and_finishes_what_waits() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| {
        let delay = if received.text() == "long" {
            Duration::from_secs(10)
        } else {
            Duration::ZERO
        };
        Answer::body(received.body.clone()).after(delay)
    })
    .await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let mut proxy = proxy(&topics).set("pre_stop", 8).start().await;
    let mut kept_alive = Connection::open(&proxy.address()).await.expect("the proxy listens");
    let before = kept_alive
        .request(&Request::post("/", "before"))
        .await
        .expect("an answer");
    assert!(before.status == 200 && !before.closes(), "{before:?}");
    let mut long = proxy.leave_waiting(&Request::post("/", "long")).await;
    backend.wait_for_calls(2).await;

    proxy.signal("TERM").await;
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
        "nobody listens any more"
    );
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn sigterm_to_one_of_two_processors_under_load_fails_and_delays_no_request() {
    let topics = Topics::unique("orders");
    let backend = slow_echo().await;
    let spec = long_session(processor(&[(&topics, &backend.url())]));
    let (mut leaving, staying) = (spec.clone().start().await, spec.start().await);
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
    leaving.signal("TERM").await;
    assert_eq!(leaving.wait_exit().await, Some(0));
    assert!(stopped.elapsed() < NO_SESSION, "{:?}", stopped.elapsed());
    load.wait_for_more(300).await;
    let report = load.finish().await;
    assert_eq!(report.failures, Vec::<String>::new());
    assert!(report.slowest < NO_SESSION, "{:?}", report.slowest);
    assert_eq!(
        backend.received().len(),
        report.answered,
        "each was executed once: what was answered was committed"
    );
    proxy.wait_until_idle().await;
    staying.wait_until_idle().await;
}

#[tokio::test]
async fn a_processor_that_stops_finishes_what_it_holds_and_its_successor_starts_at_once() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::body(received.body.clone()).after(Duration::from_secs(2))).await;
    let spec = long_session(processor(&[(&topics, &backend.url())]));
    let mut first = spec.clone().start().await;
    let proxy = proxy(&topics).set("default_timeout", 60).start().await;
    let mut waiting = proxy.leave_waiting(&post("in flight".into())).await;
    backend.wait_for_calls(1).await;
    first.signal("TERM").await;
    let answer = waiting.read_response(false).await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "in flight"));
    assert_eq!(first.wait_exit().await, Some(0));

    let stopped = Instant::now();
    let second = spec.start().await;
    let answer = proxy.request(post("after".into())).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "after"));
    assert!(
        stopped.elapsed() < NO_SESSION,
        "it waited for the session timeout: {:?}",
        stopped.elapsed()
    );
    assert_eq!(backend.received().len(), 2, "each was executed once");
    proxy.wait_until_idle().await;
    second.wait_until_idle().await;
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let topics = Topics::unique("orders");
    let mut proxy = proxy(&topics).start().await;
    let mut waiting = proxy.leave_waiting(&post("nobody answers".into())).await;
    proxy.wait_for_pending(1).await;
    proxy.signal("TERM").await;
    within(PATIENCE, "draining", async || {
        match proxy.health("/health/ready").await {
            Some(200) => Err("still ready".into()),
            _ => Ok(()),
        }
    })
    .await;
    proxy.assert_running();
    let again = Instant::now();
    proxy.signal("TERM").await;
    assert_ne!(proxy.wait_exit().await, Some(0), "something was cut off");
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
    processor.signal("TERM").await;
    within(PATIENCE, "draining", async || {
        processor.expect_health("/health/ready", 503).await
    })
    .await;
    processor.assert_running();
    let again = Instant::now();
    processor.signal("TERM").await;
    assert_eq!(processor.wait_exit().await, Some(75));
    assert!(again.elapsed() < Duration::from_secs(10), "{:?}", again.elapsed());
}

#[tokio::test]
async fn what_the_drain_limit_cuts_off_gets_a_definite_answer_and_exit_75() {
    what_is_cut_off_is_told(4, 0).await;
}

/// Where the HTTP server's own limit, in whole seconds, could come first: it would drop the handlers, and their clients hear nothing.
#[tokio::test]
async fn a_longer_drain_limit_is_no_less_definite() {
    tokio::join!(what_is_cut_off_is_told(6, 0), what_is_cut_off_is_told(8, 2));
}

async fn what_is_cut_off_is_told(drain_timeout: u64, pre_stop: u64) {
    let topics = Topics::unique("orders");
    let mut proxy = proxy(&topics)
        .set("drain_timeout", drain_timeout)
        .set("pre_stop", pre_stop)
        .start()
        .await;
    let mut waiting = proxy.leave_waiting(&post("nobody answers".into())).await;
    proxy.wait_for_pending(1).await;
    let asked = Instant::now();
    proxy.signal("TERM").await;
    waiting
        .read_response(false)
        .await
        .expect("an answer")
        .assert_problem(502, "reply-lost");
    assert_eq!(proxy.wait_exit().await, Some(75));
    println!("limit {drain_timeout} s: ended after {:?}", asked.elapsed());
    // A margin for the machine, as it may be busy.
    assert!(
        asked.elapsed() < Duration::from_secs(drain_timeout + 10),
        "{:?}",
        asked.elapsed()
    );
}

/// A client that sends half of its body, and then nothing, has no request in the router: that it is cut off is told all the same.
#[tokio::test]
async fn a_request_that_is_still_being_sent_at_the_drain_limit_is_no_clean_end() {
    let topics = Topics::unique("orders");
    let mut proxy = proxy(&topics).set("drain_timeout", 4).start().await;
    let mut half = Connection::open(&proxy.address()).await.expect("the proxy listens");
    half.send_raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx")
        .await
        .expect("the proxy takes what there is");
    proxy.wait_for_pending(1).await;
    proxy.signal("TERM").await;
    assert_eq!(proxy.wait_exit().await, Some(75));
}

#[tokio::test]
async fn ctrl_c_drains_too() {
    let topics = Topics::unique("orders");
    let backend = slow_echo().await;
    let mut all = crate::harness::app::all(&topics, &backend.url()).start().await;
    assert_eq!(all.request(post("x".into())).await.status, 200);
    all.signal("INT").await;
    assert_eq!(all.wait_exit().await, Some(0));
}
