//! Kafka denies a right and grants it again: the log names the right, requests get a definite error, and the service recovers.

use std::time::Duration;

use crate::harness::acls::{AUTHORIZER, Operation, Permission, rule};
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::kafka::Node;
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::wait::within;

const NOTICED: Duration = Duration::from_secs(40);

async fn becomes(proxy: &Service, wanted: u16) {
    becomes_for(proxy, &Request::post("/", "hello"), wanted).await;
}

async fn becomes_for(proxy: &Service, request: &Request, wanted: u16) {
    within(NOTICED, &wanted.to_string(), async || {
        match proxy.request(request.clone()).await {
            answer if answer.status == wanted => Ok(()),
            answer => Err(format!("{}: {}", answer.status, answer.text())),
        }
    })
    .await;
}

#[tokio::test]
async fn a_denied_right_is_named_and_its_grant_is_noticed() {
    use Operation::*;
    use Permission::*;
    let kafka = Node::try_start(&AUTHORIZER).expect("Kafka starts");
    let rule = |topic: &str, permission, operation, there| {
        rule(&kafka.brokers(), topic, permission, operation, there);
    };
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    for topic in [&topics.request, &topics.response] {
        rule(
            topic,
            RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
            RD_KAFKA_ACL_OPERATION_ALL,
            true,
        );
    }
    let processor = processor(&[(&topics, &backend.url())]).on(kafka.brokers());
    let _processor = processor.start().await;
    let proxy = proxy(&topics)
        .on(kafka.brokers())
        .set("default_timeout", 2)
        .start()
        .await;
    becomes(&proxy, 200).await;

    let deny = RD_KAFKA_ACL_PERMISSION_TYPE_DENY;
    rule(&topics.request, deny, RD_KAFKA_ACL_OPERATION_WRITE, true);
    becomes(&proxy, 503).await;
    let log = proxy.log();
    assert!(
        log.contains("TopicAuthorizationFailed") || log.contains("Topic authorization failed"),
        "{log}"
    );
    rule(&topics.request, deny, RD_KAFKA_ACL_OPERATION_WRITE, false);
    becomes(&proxy, 200).await;

    // There are no requests from here on: the proxy finds out about both changes without traffic.
    rule(&topics.response, deny, RD_KAFKA_ACL_OPERATION_READ, true);
    let ready = async |status| {
        within(NOTICED, "ready or not", async || {
            proxy.expect_health("/health/ready", status).await
        })
        .await;
    };
    ready(503).await;
    proxy.wait_for_metric("proxy_replies_denied", &[], 1.0).await;
    assert_eq!(proxy.logged("grant its user READ"), 1, "{}", proxy.log());
    rule(&topics.response, deny, RD_KAFKA_ACL_OPERATION_READ, false);
    ready(200).await;
    assert_eq!(proxy.metrics().await.sum("proxy_replies_denied", &[]), 0.0);
    becomes(&proxy, 200).await;

    // A topic that only clients name does not make the proxy unready. A request whose reply could not be read is not sent.
    let other = Topics::unique("other");
    rule(
        &other.response,
        RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
        RD_KAFKA_ACL_OPERATION_ALL,
        true,
    );
    let named = Request::post("/", "hello").header("X-Kafka-Reply-Topic", &other.response);
    becomes_for(&proxy, &named, 200).await;
    rule(&other.response, deny, RD_KAFKA_ACL_OPERATION_READ, true);
    becomes_for(&proxy, &named, 503).await;
    assert_eq!(proxy.health("/health/ready").await, Some(200));
    becomes(&proxy, 200).await;
}
