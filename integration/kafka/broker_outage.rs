//! The only broker is killed or hangs: new requests are refused at once, and waiting requests go on waiting. The service recovers by itself
//! when the broker is back.

use std::time::{Duration, Instant};

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::kafka::Node;
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::wait::{PATIENCE, within};

/// Both roles on a Kafka node of their own, in the order in which they end.
struct Stage {
    proxy: Service,
    processor: Service,
    _backend: Backend,
    kafka: Node,
}

impl Stage {
    /// Starts everything, and carries a request.
    async fn start() -> Self {
        let kafka = Node::start();
        let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
        let processor = processor(&[(&topics, &backend.url())]).on(kafka.brokers());
        let stage = Stage {
            processor: processor.start().await,
            proxy: proxy(&topics).on(kafka.brokers()).start().await,
            _backend: backend,
            kafka,
        };
        assert_round_trip(&stage.proxy).await;
        stage
    }
}

async fn assert_round_trip(proxy: &Service) {
    let answer = proxy.request(Request::post("/", "hello")).await;
    answer.assert_echo("hello");
}

/// Kafka has just been lost. On a quiet machine readiness fails within about 5 s; from then on requests are refused without a wait.
async fn assert_noticed(proxy: &Service, processor: &Service) {
    for service in [proxy, processor] {
        within(Duration::from_secs(15), "not ready", async || {
            service.expect_health("/health/ready", 503).await
        })
        .await;
        assert_eq!(
            service.health("/health/live").await,
            Some(200),
            "a restart would not help"
        );
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

async fn assert_recovered(proxy: &Service, processor: &Service) {
    for service in [proxy, processor] {
        within(PATIENCE, "ready again", async || {
            service.expect_health("/health/ready", 200).await
        })
        .await;
        service.assert_no_restarts().await;
    }
    assert_round_trip(proxy).await;
}

#[tokio::test]
async fn a_killed_broker_is_noticed_and_its_return_too() {
    let mut stage = Stage::start().await;
    stage.kafka.kill();
    assert_noticed(&stage.proxy, &stage.processor).await;
    stage.kafka.restart();
    assert_recovered(&stage.proxy, &stage.processor).await;
}

#[tokio::test]
async fn a_hung_broker_is_noticed_and_its_return_too() {
    let stage = Stage::start().await;
    stage.kafka.freeze();
    assert_noticed(&stage.proxy, &stage.processor).await;
    stage.kafka.thaw();
    assert_recovered(&stage.proxy, &stage.processor).await;
}

#[tokio::test]
async fn a_request_during_a_short_pause_of_the_broker_waits_and_is_answered() {
    let stage = Stage::start().await;
    stage.kafka.freeze();
    let mut waiting = stage.proxy.leave_waiting(&Request::post("/", "patience")).await;
    // The request is sent during the pause, which must end before the third probe has failed.
    tokio::time::sleep(Duration::from_millis(500)).await;
    stage.kafka.thaw();
    let answer = waiting.read_response(false).await.expect("an answer");
    answer.assert_echo("patience");
}

#[tokio::test]
async fn both_roles_may_start_before_kafka_does() {
    let mut kafka = Node::start();
    kafka.kill();
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    let processor = processor(&[(&topics, &backend.url())]).on(kafka.brokers());
    let mut processor = processor.launch().await;
    let mut proxy = proxy(&topics).on(kafka.brokers()).launch().await;
    for service in [&proxy, &processor] {
        assert_eq!(service.health("/health/ready").await, Some(503));
    }
    let answer = proxy.request(Request::post("/", "too early")).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    kafka.restart();
    assert_recovered(&proxy, &processor).await;
    proxy.assert_running();
    processor.assert_running();
}
