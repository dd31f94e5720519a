//! A right that Kafka takes away: the log says which, requests get a definite error, and all is well once it is given back.

use std::time::Duration;

use crate::harness::Topics;
use crate::harness::acls::{AUTHORIZER, Operation, Permission, rule};
use crate::harness::app::{App, Spec, processor, proxy};
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::kafka::Node;
use crate::harness::wait::within;

const NOTICED: Duration = Duration::from_secs(40);

async fn becomes(proxy: &App, wanted: u16) {
    becomes_for(proxy, &Request::post("/", "hello"), wanted).await;
}

async fn becomes_for(proxy: &App, request: &Request, wanted: u16) {
    within(NOTICED, &wanted.to_string(), async || {
        match proxy.request(request.clone()).await {
            answer if answer.status == wanted => Ok(()),
            answer => Err(format!("{}: {}", answer.status, answer.text())),
        }
    })
    .await;
}

#[tokio::test]
async fn a_refused_right_is_named_and_its_return_noticed() {
    use Operation::*;
    use Permission::*;
    let kafka = tokio::task::spawn_blocking(|| Node::try_start(&AUTHORIZER)).await;
    let kafka = kafka.expect("no panic").expect("Kafka starts");
    let rule = async |topic: &String, permission, operation, there| {
        let (brokers, topic) = (kafka.brokers(), topic.clone());
        let change = move || rule(&brokers, &topic, permission, operation, there);
        tokio::task::spawn_blocking(change).await.expect("it is changed");
    };
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    for topic in [&topics.request, &topics.response] {
        rule(
            topic,
            RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
            RD_KAFKA_ACL_OPERATION_ALL,
            true,
        )
        .await;
    }
    let on = |spec: Spec| spec.set("kafka.bootstrap_servers", kafka.brokers());
    let _processor = on(processor(&[(&topics, &backend.url())])).start().await;
    let proxy = on(proxy(&topics)).set("default_timeout", 2).start().await;
    becomes(&proxy, 200).await;

    let deny = RD_KAFKA_ACL_PERMISSION_TYPE_DENY;
    rule(&topics.request, deny, RD_KAFKA_ACL_OPERATION_WRITE, true).await;
    becomes(&proxy, 503).await;
    let log = proxy.log();
    assert!(
        log.contains("TopicAuthorizationFailed") || log.contains("Topic authorization failed"),
        "{log}"
    );
    rule(&topics.request, deny, RD_KAFKA_ACL_OPERATION_WRITE, false).await;
    becomes(&proxy, 200).await;

    // Nobody asks for anything from here on: what is refused, and granted again, is found without traffic.
    rule(&topics.response, deny, RD_KAFKA_ACL_OPERATION_READ, true).await;
    let ready = async |status| {
        within(NOTICED, "ready or not", async || {
            proxy.expect_health("/health/ready", status).await
        })
        .await;
    };
    ready(503).await;
    proxy.wait_for_metric("proxy_replies_denied", &[], 1.0).await;
    assert_eq!(proxy.logged("grant its user READ"), 1, "{}", proxy.log());
    rule(&topics.response, deny, RD_KAFKA_ACL_OPERATION_READ, false).await;
    ready(200).await;
    assert_eq!(proxy.metrics().await.sum("proxy_replies_denied", &[]), 0.0);
    becomes(&proxy, 200).await;

    // A topic that only a client names is its own affair, and a request whose reply could not be read is not sent.
    let other = Topics::unique("other");
    rule(
        &other.response,
        RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
        RD_KAFKA_ACL_OPERATION_ALL,
        true,
    )
    .await;
    let named = Request::post("/", "hello").header("X-Kafka-Reply-Topic", &other.response);
    becomes_for(&proxy, &named, 200).await;
    rule(&other.response, deny, RD_KAFKA_ACL_OPERATION_READ, true).await;
    becomes_for(&proxy, &named, 503).await;
    assert_eq!(proxy.health("/health/ready").await, Some(200));
    becomes(&proxy, 200).await;
    proxy.wait_until_idle().await;
}
