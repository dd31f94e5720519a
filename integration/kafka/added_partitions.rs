//! Partitions that are added to a topic while the service runs.

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::load::{Load, OnClose};
use crate::harness::names::Topics;
use crate::harness::records::{Header, produce, request_headers};
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{add_partitions, count_of, create_topic, partitions, wait_for_count};
use crate::harness::wait::eventually;

const CLIENTS: usize = 8;

/// Producers use a new partition seconds before the proxies read it. So they read it from its first record on.
#[tokio::test]
async fn partitions_added_to_both_topics_fail_no_request() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(Answer::same_body).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    // One proxy reads one partition of replies, the other reads all.
    let (one, all) = (
        proxy(&topics).start().await,
        proxy(&topics).set("reply_partition", "all").start().await,
    );
    let loads = [&one, &all].map(|proxy| {
        Load::start(&proxy.address(), CLIENTS, OnClose::Persist, |body| {
            Request::post("/", body)
        })
    });
    for load in &loads {
        load.wait_for_more(100).await;
    }
    for topic in [&topics.request, &topics.response] {
        add_partitions(topic, 8).await;
    }
    wait_until_used(&topics).await;
    for load in &loads {
        load.wait_for_more(300).await;
    }
    for (load, name) in loads.into_iter().zip(["auto", "all"]) {
        let report = load.finish().await;
        println!(
            "partitions added, {name}: {} answered, failed {:?}, slowest {:?}",
            report.answered, report.kinds, report.slowest
        );
        assert_eq!(report.failures, Vec::<String>::new());
    }
}

/// Waits until both topics have records on a partition that was added.
async fn wait_until_used(topics: &Topics) {
    for topic in [&topics.request, &topics.response] {
        assert_eq!(partitions(topic), 8);
        eventually(
            &format!("records on new partitions of {topic}"),
            async || match count_of(topic, 4..8) {
                0 => Err("none".into()),
                _ => Ok(()),
            },
        )
        .await;
    }
}

/// A proxy that has just started may read a partition that the processor's client does not know yet.
#[tokio::test]
async fn a_reply_goes_to_a_partition_that_was_just_added() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let backend = Backend::start(Answer::same_body).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let request = async |id: &str, partition: i32| {
        let partition = partition.to_be_bytes();
        let more: [Header<'_>; 2] = [
            ("kafka_replyTopic", topics.response.as_bytes()),
            ("kafka_replyPartition", &partition),
        ];
        let headers = request_headers(id, "POST", "/", &more);
        produce(&topics.request, 0, id.as_bytes(), &headers).await;
    };
    // The processor's client finds the new partition within five seconds, when it refreshes its metadata.
    for partition in 1..4 {
        request("before", 0).await;
        wait_for_count(&topics.response, 2 * partition as i64 - 1).await;
        add_partitions(&topics.response, partition + 1).await;
        request("after", partition as i32).await;
        wait_for_count(&topics.response, 2 * partition as i64).await;
        assert_eq!(count_of(&topics.response, partition..partition + 1), 1, "{partition}");
    }
    // A partition that does not exist is ignored.
    request("nowhere", 99).await;
    wait_for_count(&topics.response, 7).await;
}
