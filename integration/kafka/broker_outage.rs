//! Kafka goes, and comes back: new requests are refused at once, what waits goes on waiting, and nobody needs to
//! restart anything.

use std::time::{Duration, Instant};

use crate::harness::Topics;
use crate::harness::app::{App, Spec, processor, proxy};
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::kafka::Node;
use crate::harness::wait::{PATIENCE, within};

fn on(kafka: &Node, spec: Spec) -> Spec {
    spec.set("kafka.bootstrap_servers", kafka.brokers())
}

/// A private node: what happens to it happens to no other test.
async fn start_node() -> Node {
    tokio::task::spawn_blocking(Node::start).await.expect("Kafka starts")
}

async fn assert_round_trip(proxy: &App) {
    let answer = proxy.request(Request::post("/", "hello")).await;
    assert_eq!((answer.status, answer.json()["body"].as_str()), (200, Some("hello")));
}

/// Kafka has just gone: readiness fails within about 5 s on a quiet machine, and what comes then is refused without a wait.
async fn assert_noticed(proxy: &App, processor: &App) {
    for app in [proxy, processor] {
        within(Duration::from_secs(15), "not ready", async || {
            app.expect_health("/health/ready", 503).await
        })
        .await;
        assert_eq!(app.health("/health/live").await, Some(200), "a restart would not help");
    }
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let sent = Instant::now();
        proxy
            .request(Request::post("/", "hello?"))
            .await
            .assert_try_again("kafka-unavailable");
        quickest = quickest.min(sent.elapsed());
    }
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
    proxy.metrics().await;
    processor.metrics().await;
    proxy.wait_until_idle().await;
}

async fn assert_recovered(proxy: &App, processor: &App) {
    for app in [proxy, processor] {
        within(PATIENCE, "ready again", async || {
            app.expect_health("/health/ready", 200).await
        })
        .await;
        assert_eq!(
            app.metrics().await.sum("actor_restarts_total", &[]),
            0.0,
            "an outage is no failure of ours"
        );
    }
    assert_round_trip(proxy).await;
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn a_killed_broker_is_noticed_and_its_return_too() {
    let mut kafka = start_node().await;
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    let processor = on(&kafka, processor(&[(&topics, &backend.url())])).start().await;
    let proxy = on(&kafka, proxy(&topics)).start().await;
    assert_round_trip(&proxy).await;
    kafka.kill();
    assert_noticed(&proxy, &processor).await;
    let kafka = tokio::task::spawn_blocking(move || {
        kafka.restart();
        kafka
    });
    let _kafka = kafka.await.expect("Kafka starts");
    assert_recovered(&proxy, &processor).await;
}

#[tokio::test]
async fn a_hung_broker_is_noticed_and_its_return_too() {
    let kafka = start_node().await;
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    let processor = on(&kafka, processor(&[(&topics, &backend.url())])).start().await;
    let proxy = on(&kafka, proxy(&topics)).start().await;
    assert_round_trip(&proxy).await;
    kafka.freeze();
    assert_noticed(&proxy, &processor).await;
    kafka.thaw();
    assert_recovered(&proxy, &processor).await;
}

#[tokio::test]
async fn a_request_in_a_short_pause_of_the_broker_waits_and_is_answered() {
    let kafka = start_node().await;
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    let processor = on(&kafka, processor(&[(&topics, &backend.url())])).start().await;
    let proxy = on(&kafka, proxy(&topics)).start().await;
    assert_round_trip(&proxy).await;
    kafka.freeze();
    let mut waiting = proxy.leave_waiting(&Request::post("/", "patience")).await;
    // It is sent into the pause, which has to be over before the third probe has failed.
    tokio::time::sleep(Duration::from_millis(500)).await;
    kafka.thaw();
    let answer = waiting.read_response(false).await.expect("an answer");
    assert_eq!((answer.status, answer.json()["body"].as_str()), (200, Some("patience")));
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn both_roles_may_start_before_kafka_does() {
    let mut kafka = start_node().await;
    kafka.kill();
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    let mut processor = on(&kafka, processor(&[(&topics, &backend.url())])).launch().await;
    let mut proxy = on(&kafka, proxy(&topics)).launch().await;
    for app in [&proxy, &processor] {
        assert_eq!(app.health("/health/ready").await, Some(503));
    }
    let answer = proxy.request(Request::post("/", "too early")).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    let kafka = tokio::task::spawn_blocking(move || {
        kafka.restart();
        kafka
    });
    let _kafka = kafka.await.expect("Kafka starts");
    assert_recovered(&proxy, &processor).await;
    proxy.assert_running();
    processor.assert_running();
}
