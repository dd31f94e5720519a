//! `delivery`: with `at-least-once` a backend can recognise a repeated call; with `at-most-once` no call is repeated.

use std::time::Duration;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::load::{Load, OnClose};
use crate::harness::names::Topics;
use crate::harness::records::{job, produce_all, produce_job};
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{committed, create_topic, wait_for_commit};

#[tokio::test]
async fn a_repeated_call_has_the_same_ids() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|_| Answer::Hang).await;
    let spec = processor(&[(&topics, &backend.url())]);
    let first = spec.clone().start().await;
    let proxy = proxy(&topics).set("default_timeout", 50).start().await;
    let mut named = proxy
        .leave_waiting(&Request::post("/", "named").header("X-Request-ID", "from-the-client"))
        .await;
    let mut unnamed = proxy.leave_waiting(&Request::post("/", "unnamed")).await;
    backend.wait_for_calls(2).await;
    first.signal("KILL");
    backend.answer_with(Answer::echo);
    let _second = spec.start().await;
    for client in [&mut named, &mut unnamed] {
        assert_eq!(client.read_response(false).await.expect("an answer").status, 200);
    }
    let received = backend.received();
    for body in ["named", "unnamed"] {
        let calls: Vec<_> = received.iter().filter(|call| call.text() == body).collect();
        assert_eq!(calls.len(), 2, "{calls:?}");
        for name in ["x-request-id", "khp-correlation-id"] {
            assert_eq!(calls[0].all(name), calls[1].all(name), "{name}");
            assert_eq!(calls[0].all(name).len(), 1, "{name}");
        }
    }
}

#[tokio::test]
async fn at_most_once_commits_before_the_call_and_a_kill_repeats_none() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    let backend = Backend::start(|_| Answer::Hang).await;
    let spec = processor(&[(&topics, &backend.url())]).set_topics("delivery", "at-most-once");
    let first = spec.clone().start().await;
    for number in 0..10 {
        produce_job(&topics.request, 0, None, "POST", &number.to_string()).await;
    }
    backend.wait_for_calls(10).await;
    // Every call came after its commit.
    assert_eq!(committed(&topics.group, &topics.request), 10);
    first.signal("KILL");
    backend.answer_with(Answer::echo);
    let _second = spec.start().await;
    produce_job(&topics.request, 0, None, "POST", "after the kill").await;
    wait_for_commit(&topics.group, &topics.request, 11).await;
    backend.wait_for_calls(11).await;
    assert_eq!(backend.last().text(), "after the kill");
    for number in 0..10 {
        assert_eq!(backend.calls_with_body(&number.to_string()), 1, "{number}");
    }
}

#[tokio::test]
async fn at_most_once_loses_and_repeats_no_request_while_processors_come_and_go() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::same_body(received).after(Duration::from_millis(5))).await;
    let spec = processor(&[(&topics, &backend.url())]).set_topics("delivery", "at-most-once");
    let mut leaving = spec.clone().start().await;
    let proxy = proxy(&topics).start().await;
    let load = Load::start(&proxy.address(), 20, OnClose::Reconnect, |body| {
        Request::post("/", body)
    });
    load.wait_for_more(200).await;
    for _ in 0..2 {
        let joining = spec.clone().start().await;
        load.wait_for_more(200).await;
        leaving.stop().await;
        load.wait_for_more(200).await;
        leaving = joining;
    }
    let report = load.finish().await;
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(backend.received().len(), report.answered, "each was executed once");
    wait_for_commit(&topics.group, &topics.request, report.answered as i64).await;
    println!(
        "{} requests through three processors, each executed once",
        report.answered
    );
}

#[tokio::test]
async fn at_most_once_loses_no_record_that_waits_for_the_rate_limit_when_its_process_ends() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 2).await;
    let backend = Backend::echo().await;
    for number in 0..60 {
        produce_job(&topics.request, number % 2, None, "POST", &number.to_string()).await;
    }
    let spec = processor(&[(&topics, &backend.url())]).set_topics("delivery", "at-most-once");
    let slow = spec.clone().set_topics("rate_limit", 2).start().await;
    backend.wait_for_calls(4).await;
    slow.stop().await;
    assert!(backend.count() < 20, "{}", backend.count());
    let _next = spec.start().await;
    backend.wait_for_calls(60).await;
    for number in 0..60 {
        assert_eq!(backend.calls_with_body(&number.to_string()), 1, "{number}");
    }
}

#[tokio::test]
async fn at_most_once_in_order_loses_no_record_when_a_partition_moves() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 2).await;
    let backend = Backend::start(|_| Answer::body("done").after(Duration::from_millis(400))).await;
    for partition in 0..2 {
        let numbers = (0..80).filter(|number| number % 2 == partition);
        produce_all(
            &topics.request,
            partition,
            numbers.map(|number| job(format!("{number:02}"))),
        )
        .await;
    }
    let spec = processor(&[(&topics, &backend.url())])
        .set_topics("delivery", "at-most-once")
        .set_topics("ordering", "partition")
        .set("revoke_timeout", 3);
    let first = spec.clone().start().await;
    backend.wait_for_calls(4).await;
    // The records behind the running call take 15 s, which is longer than a revocation waits.
    let second = spec.start().await;
    wait_for_commit(&topics.group, &topics.request, 80).await;
    backend.wait_for_calls(80).await;
    let bodies: Vec<String> = backend.received().iter().map(|call| call.text()).collect();
    for partition in 0..2 {
        let of_partition: Vec<_> = bodies
            .iter()
            .filter(|body| body.parse::<i32>().is_ok_and(|n| n % 2 == partition))
            .collect();
        assert!(of_partition.is_sorted() && of_partition.len() == 40, "{of_partition:?}");
    }
    for processor in [&first, &second] {
        assert_eq!(processor.metrics().await.sum("processor_lost_records_total", &[]), 0.0);
    }
}
