//! Requests that were written again, by a producer that is not idempotent or by whoever may read and write the topic.

use std::time::UNIX_EPOCH;

use crate::harness::backend::Backend;
use crate::harness::names::Topics;
use crate::harness::records::{Header, produce, produce_job, request_headers};
use crate::harness::service::Service;
use crate::harness::spec::processor;
use crate::harness::topics::{create_topic, wait_for_commit};
use crate::harness::wait::eventually;

async fn start(backend: &Backend, delivery: &str) -> (Topics, Service) {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 2).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set_topics("delivery", delivery)
        .start()
        .await;
    (topics, processor)
}

#[tokio::test]
async fn a_repeat_is_counted_and_at_most_once_not_executed() {
    for (delivery, calls) in [("at-most-once", 3), ("at-least-once", 4)] {
        let backend = Backend::echo().await;
        let (topics, processor) = start(&backend, delivery).await;
        // The body is the id. The second one is the repeat; the third is of another partition.
        for (partition, id) in [(0, "one"), (0, "one"), (1, "one"), (0, "two")] {
            produce_job(&topics.request, partition, None, "POST", id).await;
        }
        wait_for_commit(&topics.group, &topics.request, 4).await;
        processor
            .wait_for_metric("processor_repeated_records_total", &[], 1.0)
            .await;
        // With at-most-once, the commit comes before the call.
        processor.wait_for_metric("processor_messages_total", &[], 4.0).await;
        assert_eq!(backend.received().len(), calls, "{delivery}");
        assert_eq!(processor.metrics().await.sum("processor_remembered_ids", &[]), 3.0);
    }
}

#[tokio::test]
async fn a_deadline_beyond_any_skew_is_past() {
    let backend = Backend::echo().await;
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("clock_tolerance", "15s")
        .set("max_clock_skew", "20s")
        .start()
        .await;
    // The processor knows the end of an empty topic once Kafka has answered the first fetch, after half a second.
    eventually("the end of the topic is known", async || {
        match processor.metrics().await.count("processor_consumer_lag", &[]) {
            1 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    let now = UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as i64;
    // By what they say their clients wait for a day, and by the first one the clock of their proxy is behind.
    for (body, late_s) in [("young", 10), ("old", 30)] {
        let deadline = (now - late_s * 1000).to_string();
        let more: [Header<'_>; 2] = [("khp-deadline", deadline.as_bytes()), ("khp-timeout", b"86400000")];
        let headers = request_headers(body, "POST", "/", &more);
        produce(&topics.request, 0, body.as_bytes(), &headers).await;
    }
    wait_for_commit(&topics.group, &topics.request, 2).await;
    processor.wait_for_metric("processor_expired_total", &[], 1.0).await;
    assert_eq!(backend.received().len(), 1);
    assert_eq!(backend.last().text(), "young");
}
