//! The control topic and its rights.

use std::time::Duration;

use crate::harness::acls::{AUTHORIZER, Operation, Permission, rule};
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::kafka::Node;
use crate::harness::names::Topics;
use crate::harness::spec::{processor, proxy};
use crate::harness::wait::within;

const NOTICED: Duration = Duration::from_secs(40);

/// Without the right to write there, answers are whole; where streaming is required, the process is not ready.
#[tokio::test]
async fn a_control_topic_that_cannot_be_written_is_named() {
    let kafka = Node::try_start(&AUTHORIZER).expect("Kafka starts");
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    let control = super::control_topic(&topics);
    let set = |permission, operation, there| rule(&kafka.brokers(), &control, permission, operation, there);
    let (allow, deny) = (
        Permission::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
        Permission::RD_KAFKA_ACL_PERMISSION_TYPE_DENY,
    );
    let write = Operation::RD_KAFKA_ACL_OPERATION_WRITE;
    set(allow, Operation::RD_KAFKA_ACL_OPERATION_ALL, true);
    set(deny, write, true);
    let _processor = processor(&[(&topics, &backend.url())])
        .set("streaming", "off")
        .on(kafka.brokers())
        .start()
        .await;
    let auto = proxy(&topics).on(kafka.brokers()).start().await;
    auto.request(Request::post("/", "whole")).await.assert_echo("whole");
    let log = auto.log();
    assert!(log.contains("control topic not usable: answers are whole"), "{log}");
    assert!(
        log.contains("grant its user WRITE on this topic") && log.contains(&control),
        "{log}"
    );

    let required = proxy(&topics)
        .on(kafka.brokers())
        .set("streaming", "required")
        .launch()
        .await;
    within(NOTICED, "not ready, with the topic's name", async || {
        match required.manage("/health/ready").await.text() {
            text if text.contains(&format!("the control topic {control} cannot be used")) => Ok(()),
            text => Err(text),
        }
    })
    .await;
    set(deny, write, false);
    for proxy in [&required, &auto] {
        within(NOTICED, "ready", async || {
            proxy.expect_health("/health/ready", 200).await
        })
        .await;
        within(NOTICED, "usable", async || match proxy.logged("control topic usable") {
            0 => Err(String::new()),
            _ => Ok(()),
        })
        .await;
    }
    // And it is noticed while the process runs.
    set(deny, write, true);
    within(NOTICED, "not ready", async || {
        required.expect_health("/health/ready", 503).await
    })
    .await;
    auto.request(Request::post("/", "whole")).await.assert_echo("whole");
}
