//! Replies that Kafka does not take: the same bytes again while somebody waits, never a second call of the backend; then counted.

use crate::harness::acls::{AUTHORIZER, Operation, Permission, rule};
use crate::harness::app::{App, Spec, processor, proxy};
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::kafka::Node;
use crate::harness::records::{Header, Reader, produce};
use crate::harness::topics::{create_topic, wait_for_commit};
use crate::harness::wait::eventually;
use crate::harness::{Topics, unique};

/// A request whose reply is awaited on a topic that is not there, and the processor that worked on it.
async fn answer_nowhere(topics: &Topics, backend: &Backend, reply_topic: &str) -> App {
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let processor = processor(&[(topics, &backend.url())])
        .set("log.level", "debug")
        .start()
        .await;
    let headers: [Header<'_>; 5] = [
        ("khp-version", b"1"),
        ("kafka_correlationId", b"batch-9"),
        ("kafka_replyTopic", reply_topic.as_bytes()),
        (":method", b"POST"),
        (":path", b"/job"),
    ];
    produce(&topics.request, 0, b"once", &headers).await;
    backend.wait_for_calls(1).await;
    eventually("the reply was tried, twice", async || {
        match processor.logged("topic not found") {
            tries if tries >= 2 => Ok(()),
            tries => Err(tries.to_string()),
        }
    })
    .await;
    processor
}

#[tokio::test]
async fn a_reply_that_kafka_does_not_take_for_now_is_sent_again_and_its_call_is_not() {
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
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn a_reply_whose_topic_never_comes_is_counted_and_keeps_nobody_waiting() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = answer_nowhere(&topics, &backend, &unique("no-responses")).await;
    processor
        .wait_for_metric("processor_undeliverable_replies_total", &[], 1.0)
        .await;
    wait_for_commit(&topics.group, &topics.request, 1).await;
    assert_eq!(backend.count(), 1);
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn replies_that_must_not_be_written_end_in_504_counted_and_logged_once() {
    use Operation::*;
    use Permission::*;
    let kafka = tokio::task::spawn_blocking(|| Node::try_start(&AUTHORIZER)).await;
    let kafka = kafka.expect("no panic").expect("Kafka starts");
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
        let (brokers, topic) = (kafka.brokers(), topic.clone());
        let make = move || rule(&brokers, &topic, permission, operation, true);
        tokio::task::spawn_blocking(make).await.expect("it is made");
    }
    let on = |spec: Spec| spec.set("kafka.bootstrap_servers", kafka.brokers());
    let backend = Backend::echo().await;
    let processor = on(processor(&[(&topics, &backend.url())])).start().await;
    let proxy = on(proxy(&topics)).set("default_timeout", 3).start().await;
    for call in 1..=3 {
        let answer = proxy.request(Request::post("/", "never answered")).await;
        answer.assert_problem(504, "reply-timeout");
        processor
            .wait_for_metric("processor_undeliverable_replies_total", &[], f64::from(call))
            .await;
    }
    assert_eq!(backend.count(), 3, "each was called once");
    assert_eq!(
        processor.logged("replies cannot be delivered"),
        1,
        "{}",
        processor.log()
    );
    processor.wait_until_idle().await;
    proxy.wait_until_idle().await;
}
