//! A right on the topic of bodies that is missing: the log names it, clients get a definite error, and its grant is noticed.

use std::time::Duration;

use super::MIB;
use super::bodies_topic;
use super::client::{Framing, upload};
use super::sink::Sink;
use crate::harness::acls::{AUTHORIZER, Operation, Permission, rule};
use crate::harness::kafka::Node;
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::wait::{off_thread, within};

const NOTICED: Duration = Duration::from_secs(40);

async fn becomes(proxy: &Service, wanted: u16, code: &str) {
    within(NOTICED, code, async || {
        match upload(&proxy.address(), Framing::Length, 2 * MIB).await.0 {
            answer if answer.status == wanted && answer.text().contains(code) => Ok(()),
            answer => Err(format!("{}: {}", answer.status, answer.text())),
        }
    })
    .await;
}

#[tokio::test]
async fn a_right_on_the_topic_of_bodies_is_named_and_its_grant_is_noticed() {
    use Operation::*;
    use Permission::*;
    let kafka = off_thread(|| Node::try_start(&AUTHORIZER).expect("Kafka starts")).await;
    let topics = Topics::unique("files");
    let bodies = bodies_topic(&topics);
    let rule = |topic: &str, permission, operation, there| {
        rule(&kafka.brokers(), topic, permission, operation, there);
    };
    for topic in [&topics.request, &topics.response, &bodies] {
        rule(
            topic,
            RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
            RD_KAFKA_ACL_OPERATION_ALL,
            true,
        );
    }
    let sink = Sink::start().await;
    let processor = processor(&[(&topics, &sink.url())])
        .on(kafka.brokers())
        .set_topics("max_retries", 0)
        .start()
        .await;
    let proxy = proxy(&topics).on(kafka.brokers()).start().await;
    becomes(&proxy, 200, "sha256").await;

    let deny = RD_KAFKA_ACL_PERMISSION_TYPE_DENY;
    rule(&bodies, deny, RD_KAFKA_ACL_OPERATION_WRITE, true);
    becomes(&proxy, 413, "body-too-large").await;
    let log = proxy.log();
    let line = log
        .lines()
        .find(|line| line.contains("bodies larger than a record are refused"));
    assert!(
        line.is_some_and(|line| line.contains(&bodies) && line.contains("WRITE")),
        "{log}"
    );
    rule(&bodies, deny, RD_KAFKA_ACL_OPERATION_WRITE, false);
    becomes(&proxy, 200, "sha256").await;

    rule(&bodies, deny, RD_KAFKA_ACL_OPERATION_READ, true);
    becomes(&proxy, 500, "processor-failed").await;
    let log = processor.log();
    let line = log.lines().find(|line| line.contains("large bodies cannot be read"));
    assert!(
        line.is_some_and(|line| line.contains(&bodies) && line.contains("READ")),
        "{log}"
    );
    rule(&bodies, deny, RD_KAFKA_ACL_OPERATION_READ, false);
    becomes(&proxy, 200, "sha256").await;
}
