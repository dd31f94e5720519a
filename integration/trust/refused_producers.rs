//! A user that may read all that its role reads, and write nowhere: Kafka refuses its producer as a whole.

use crate::harness::acls::{Rule, operation};
use crate::harness::backend::Backend;
use crate::harness::secured_kafka::SecuredKafka;
use crate::harness::service::Service;
use crate::harness::wait::within;
use crate::trust::kafka_logins::{NOTICED, TOPICS, answers, processor_at, proxy_at, rules, says};

const REASON: &str = "Kafka refuses this service's producer: ClusterAuthorizationFailed (Broker: Cluster authorization failed); grant its user WRITE";

/// Waits until the service says so of itself.
async fn is_not_ready(service: &Service) {
    within(NOTICED, REASON, async || {
        let ready = service.manage("/health/ready").await;
        match ready.status == 503 && ready.text().contains(REASON) {
            true => Ok(()),
            false => Err(format!("{}: {}", ready.status, ready.text())),
        }
    })
    .await;
}

#[tokio::test]
async fn a_producer_that_may_write_nowhere_is_told_until_it_may() {
    let kafka = SecuredKafka::with_scram().await;
    kafka.create_topics(&TOPICS).await;
    let is_write = |rule: &Rule| rule.operation == operation("Write");
    let (writes, reads): (Vec<_>, Vec<_>) = rules(&[]).into_iter().partition(is_write);
    kafka.allow(reads).await;
    for user in ["orders-proxy", "orders-processor"] {
        kafka.set_user(user, &format!("s3cret-of-{user}")).await;
    }
    let login = |user: &str| kafka.scram(user, &format!("s3cret-of-{user}"));
    let backend = Backend::echo().await;
    let processor = processor_at(&kafka, &backend.url(), login("orders-processor"))
        .launch()
        .await;
    let proxy = proxy_at(&kafka, login("orders-proxy")).launch().await;
    for service in [&processor, &proxy] {
        is_not_ready(service).await;
        let line = "Kafka refuses this service's producer, and nothing can be sent";
        says(service, &["ERROR", line, "WRITE"]).await;
        // Its clients come and go: that is told once.
        assert_eq!(service.logged(line), 1, "{}", service.log());
    }
    answers(&proxy, 503).await;

    // Nothing needs a restart.
    kafka.allow(writes).await;
    for service in [&processor, &proxy] {
        within(NOTICED, "ready", async || {
            service.expect_health("/health/ready", 200).await
        })
        .await;
        says(service, &["Kafka takes this service's records again"]).await;
    }
    answers(&proxy, 200).await;
}
