//! A reply counts only on the topic and partition that its request named, whoever else may write to a topic that is read.

use crate::harness::client::Request;
use crate::harness::malformed::Waiting;
use crate::harness::names::Topics;
use crate::harness::records::{Header, Reader, produce};
use crate::harness::spec::proxy;
use crate::harness::topics::create_topic;

#[tokio::test]
async fn a_reply_on_another_topic_answers_nobody() {
    let (topics, others) = (Topics::unique("orders"), Topics::unique("others"));
    for topic in [&topics.request, &topics.response, &others.response] {
        create_topic(topic, 1).await;
    }
    let proxy = proxy(&topics)
        .set("warmup_topics", vec![topics.response.as_str(), &others.response])
        .start()
        .await;
    let waiting = Waiting::start(&proxy, &Reader::open(&topics.request)).await;
    let id: [Header<'_>; 1] = [("kafka_correlationId", waiting.record.correlation_id())];
    produce(&others.response, 0, b"forged", &id).await;
    proxy.wait_for_metric("proxy_misplaced_replies_total", &[], 1.0).await;
    produce(&topics.response, 0, b"honest", &id).await;
    assert_eq!(waiting.answer().await.text(), "honest");
}

/// Two proxies share the topic, and each reads one partition.
#[tokio::test]
async fn a_reply_on_another_partition_answers_nobody() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 2).await;
    let proxies = [
        proxy(&topics).set("reply_partition", 0).start().await,
        proxy(&topics).set("reply_partition", 1).start().await,
    ];
    let waiting = Waiting::start(&proxies[0], &Reader::open(&topics.request)).await;
    assert_eq!(waiting.record.reply_partition(), Some(0));
    let id: [Header<'_>; 1] = [("kafka_correlationId", waiting.record.correlation_id())];
    produce(&topics.response, 1, b"forged", &id).await;
    proxies[1]
        .wait_for_metric("proxy_foreign_replies_total", &[], 1.0)
        .await;
    produce(&topics.response, 0, b"honest", &id).await;
    assert_eq!(waiting.answer().await.text(), "honest");
    drop(proxies);
}

/// That format has no field for the place of a reply, and its replies come on the processor's own topic.
#[tokio::test]
async fn a_reply_to_a_json_request_counts_on_every_topic_that_is_read() {
    let (topics, others) = (Topics::unique("orders"), Topics::unique("others"));
    for topic in [&topics.request, &topics.response, &others.response] {
        create_topic(topic, 1).await;
    }
    let proxy = proxy(&topics)
        .set("wire_format", "json")
        .set("warmup_topics", vec![topics.response.as_str(), &others.response])
        .start()
        .await;
    let requests = Reader::open(&topics.request);
    let mut client = proxy.leave_waiting(&Request::post("/", "x")).await;
    let request = requests.next().await;
    let id = request.header_text("correlation_id");
    let reply =
        format!(r#"{{"correlation_id": "{id}", "timestamp": 1, "status_code": 200, "headers": {{}}, "body": "y"}}"#);
    produce(
        &others.response,
        0,
        reply.as_bytes(),
        &[("correlation_id", id.as_bytes())],
    )
    .await;
    assert_eq!(client.read_response(false).await.expect("an answer").text(), "y");
    let misplaced = proxy.metrics().await.sum("proxy_misplaced_replies_total", &[]);
    assert_eq!(misplaced, 0.0);
}
