//! `start: latest` is where a new group begins. What is written after that is executed, whenever the processor runs.

use crate::harness::backend::Backend;
use crate::harness::names::Topics;
use crate::harness::records::{job, produce_all};
use crate::harness::service::Service;
use crate::harness::spec::processor;
use crate::harness::topics::{add_partitions, committed_by_partition, create_topic, wait_for_commit};
use crate::harness::wait::eventually;

async fn write(topic: &str, partitions: std::ops::Range<i32>, records: usize, what: &str) {
    for partition in partitions {
        let records = (0..records).map(|number| job(format!("{what} {partition}-{number}")));
        produce_all(topic, partition, records).await;
    }
}

async fn end(mut processor: Service) {
    processor.signal("TERM");
    assert_eq!(processor.wait_exit().await, Some(0));
}

#[tokio::test]
async fn a_new_group_begins_at_the_end_and_loses_nothing_from_then_on() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 2).await;
    create_topic(&topics.response, 1).await;
    let backend = Backend::echo().await;
    let spec = processor(&[(&topics, &backend.url())])
        .set_topics("start", "latest")
        .set("create_topics.enabled", false);
    write(&topics.request, 0..2, 3, "before").await;
    let first = spec.clone().start().await;
    eventually("both partitions", async || {
        match first.topic_status(&topics.request).await["workers"][0]["partitions"].as_array() {
            Some(all) if all.len() == 2 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    // Killed: it may have committed only what it did before it took anything in.
    first.signal("KILL");
    drop(first);
    write(&topics.request, 0..2, 5, "while down").await;
    let second = spec.clone().start().await;
    backend.wait_for_calls(10).await;
    wait_for_commit(&topics.group, &topics.request, 16).await;
    assert_eq!(committed_by_partition(&topics.group, &topics.request), [8, 8]);
    end(second).await;
    // Partitions that come later are not new to the world, only to the group.
    add_partitions(&topics.request, 4).await;
    write(&topics.request, 0..4, 2, "more partitions").await;
    let _third = spec.start().await;
    backend.wait_for_calls(18).await;
    add_partitions(&topics.request, 5).await;
    write(&topics.request, 4..5, 2, "more partitions, later").await;
    backend.wait_for_calls(20).await;
    wait_for_commit(&topics.group, &topics.request, 26).await;
    assert_eq!(backend.received().len(), 20);
    let before = |text: &str| text.starts_with("before");
    assert!(!backend.received().iter().any(|call| before(&call.text())));
}
