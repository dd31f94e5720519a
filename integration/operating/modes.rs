//! Every mode carries a request, however it is configured.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::kafka::brokers;
use crate::harness::names::Topics;
use crate::harness::records::Reader;
use crate::harness::spec::{Spec, all, processor, proxy};
use crate::harness::topics::{count, wait_for_commit};

#[tokio::test]
async fn mode_all_plays_both_roles_on_a_real_kafka() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let all = all(&topics, &backend.url()).start().await;
    let answer = all.request(Request::post("/orders?n=1", "both roles")).await;
    answer.assert_echo("both roles");
    assert_eq!(backend.last().target, "/orders?n=1");
    all.stop().await;
}

#[tokio::test]
async fn mode_demo_needs_no_kafka_and_no_backend() {
    let mut demo = Spec::new("demo").unset("kafka").start().await;
    let answer = demo
        .request(Request::post("/hello?name=world", "over the broker and back"))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    assert!(
        text.contains("over the broker and back") && text.contains("name=world"),
        "{text}"
    );
    let log = demo.log();
    assert!(
        log.contains("curl") && log.contains(&demo.address().replace("127.0.0.1", "")),
        "the log shows a command to try:\n{log}"
    );
    demo.signal("INT");
    assert_eq!(demo.wait_exit().await, Some(0));
}

#[tokio::test]
async fn the_environment_alone_starts_both_roles() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    // The file only keeps the test on its own ports.
    let bare = |mode| {
        Spec::new(mode)
            .unset("kafka")
            .unset("default_timeout")
            .env("KAFKA_BOOTSTRAP_SERVERS", brokers())
    };
    let kafka_topics = format!("orders:{},{},{},5,1", topics.request, topics.response, backend.url());
    let group = format!("{}-by-env", topics.group);
    let processor = bare("processor")
        .env("KAFKA_TOPICS", &kafka_topics)
        .env("CONSUMER_GROUP_ORDERS", &group)
        .env("MAX_CONCURRENT_REQUESTS", "7")
        .start()
        .await;
    let proxy = bare("proxy")
        .env("WARMUP_TOPICS", &topics.response)
        .env("DEFAULT_TIMEOUT", "20")
        .start()
        .await;
    let answer = proxy
        .request(Request::post("/", "by environment").via(&topics.request, &topics.response))
        .await;
    answer.assert_echo("by environment");
    wait_for_commit(&group, &topics.request, 1).await;
    assert_eq!(
        processor.manage("/status").await.json()["topics"][&topics.request]["backend_url"],
        json!(backend.url())
    );
}

#[tokio::test]
async fn a_numbered_instance_reads_its_own_reply_partition() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let mut expected = BTreeSet::new();
    for (instance, partition) in [("proxy-2", 2), ("proxy-5", 1)] {
        let proxy = proxy(&topics).env("INSTANCE_ID", instance).start().await;
        assert_eq!(proxy.request(Request::post("/", instance)).await.status, 200);
        expected.insert(partition);
        let (replies, mut used) = (Reader::open(&topics.response), BTreeSet::new());
        for _ in 0..count(&topics.response) {
            used.insert(replies.next().await.partition);
        }
        assert_eq!(used, expected, "{instance} of 4 partitions");
    }
}
