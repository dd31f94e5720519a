//! Replies that Kafka does not take: they are written again until the deadline, without a second call of the backend, and then counted.

use crate::harness::acls::{AUTHORIZER, Operation, Permission, rule};
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::kafka::Node;
use crate::harness::names::{Topics, unique};
use crate::harness::records::{Reader, produce, request_headers};
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{create_topic, wait_for_commit};
use crate::harness::wait::eventually;

/// A request that names a reply topic which does not exist, and the processor that executes it.
async fn answer_nowhere(topics: &Topics, backend: &Backend, reply_topic: &str) -> Service {
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let processor = processor(&[(topics, &backend.url())])
        .set("log.level", "debug")
        .start()
        .await;
    let reply_topic = ("kafka_replyTopic", reply_topic.as_bytes());
    let headers = request_headers("batch-9", "POST", "/job", &[reply_topic]);
    produce(&topics.request, 0, b"once", &headers).await;
    backend.wait_for_calls(1).await;
    eventually("the reply was tried twice", async || {
        match processor.logged("topic not found") {
            tries if tries >= 2 => Ok(()),
            tries => Err(tries.to_string()),
        }
    })
    .await;
    processor
}

#[tokio::test]
async fn a_reply_that_kafka_does_not_take_is_written_again_without_a_second_call() {
    let topics = Topics::unique("orders");
    let reply_topic = unique("late-responses");
    let backend = Backend::echo().await;
    let processor = answer_nowhere(&topics, &backend, &reply_topic).await;
    create_topic(&reply_topic, 1).await;
    let reply = Reader::open(&reply_topic).next().await;
    assert_eq!(reply.header_text(":status"), "200");
    assert_eq!(reply.header("kafka_correlationId"), Some(&b"batch-9"[..]));
    wait_for_commit(&topics.group, &topics.request, 1).await;
    assert_eq!(backend.count(), 1);
    let metrics = processor.metrics().await;
    assert_eq!(metrics.sum("processor_undeliverable_replies_total", &[]), 0.0);
}

#[tokio::test]
async fn a_reply_whose_topic_never_exists_is_counted_and_its_request_committed() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = answer_nowhere(&topics, &backend, &unique("no-responses")).await;
    processor
        .wait_for_metric("processor_undeliverable_replies_total", &[], 1.0)
        .await;
    wait_for_commit(&topics.group, &topics.request, 1).await;
    assert_eq!(backend.count(), 1);
}

#[tokio::test]
async fn replies_without_the_right_to_write_end_in_504_counted_and_logged_once() {
    use Operation::*;
    use Permission::*;
    let kafka = Node::try_start(&AUTHORIZER).expect("Kafka starts");
    let topics = Topics::unique("orders");
    for (topic, permission, operation) in [
        (
            &topics.request,
            RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
            RD_KAFKA_ACL_OPERATION_ALL,
        ),
        (
            &topics.response,
            RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
            RD_KAFKA_ACL_OPERATION_ALL,
        ),
        (
            &topics.response,
            RD_KAFKA_ACL_PERMISSION_TYPE_DENY,
            RD_KAFKA_ACL_OPERATION_WRITE,
        ),
    ] {
        rule(&kafka.brokers(), topic, permission, operation, true);
    }
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())])
        .on(kafka.brokers())
        .start()
        .await;
    let proxy = proxy(&topics)
        .on(kafka.brokers())
        .set("default_timeout", 3)
        .start()
        .await;
    for call in 1..=3 {
        let answer = proxy.request(Request::post("/", "never answered")).await;
        answer.assert_problem(504, "reply-timeout");
        processor
            .wait_for_metric("processor_undeliverable_replies_total", &[], f64::from(call))
            .await;
    }
    let reason = format!("into {}: ", topics.response);
    eventually("its console says so", async || {
        let state = processor.manage("/api/now").await.json()["state"].clone();
        let is_told = state["sentence"].as_str().is_some_and(|text| text.contains(&reason));
        if is_told { Ok(()) } else { Err(state.to_string()) }
    })
    .await;
    assert_eq!(backend.count(), 3, "each was called once");
    assert_eq!(
        processor.logged("replies cannot be delivered"),
        1,
        "{}",
        processor.log()
    );
}
