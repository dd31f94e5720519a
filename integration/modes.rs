//! Every way to start the service carries a request.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::Topics;
use crate::harness::app::{Spec, all, processor, proxy};
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::kafka::brokers;
use crate::harness::records::Reader;
use crate::harness::topics::{count, wait_for_commit};

#[tokio::test]
async fn mode_all_plays_both_roles_on_a_real_kafka() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let mut all = all(&topics, &backend.url()).start().await;
    let answer = all.request(Request::post("/orders?n=1", "both roles")).await;
    assert_eq!(
        (answer.status, answer.json()["body"].as_str()),
        (200, Some("both roles"))
    );
    assert_eq!(backend.last().target, "/orders?n=1");
    all.wait_until_idle().await;
    all.signal("TERM").await;
    assert_eq!(all.wait_exit().await, Some(0));
}

#[tokio::test]
async fn mode_demo_needs_nothing_but_itself() {
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
        "it says what to try:\n{log}"
    );
    demo.wait_until_idle().await;
    demo.signal("INT").await;
    assert_eq!(demo.wait_exit().await, Some(0));
}

#[tokio::test]
async fn the_environment_alone_starts_both_roles() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    // What is left in the file is only what keeps the test on its own ports.
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
    assert_eq!(
        (answer.status, answer.json()["body"].as_str()),
        (200, Some("by environment"))
    );
    wait_for_commit(&group, &topics.request, 1).await;
    assert_eq!(
        processor.manage("/status").await.json()["topics"][&topics.request]["backend_url"],
        json!(backend.url())
    );
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn a_numbered_instance_reads_its_own_reply_partition() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let mut expected = BTreeSet::new();
    for (instance, partition) in [("proxy-2", 2), ("proxy-5", 1)] {
        let proxy = proxy(&topics).env("INSTANCE_ID", instance).start().await;
        assert_eq!(proxy.request(Request::post("/", instance)).await.status, 200);
        proxy.wait_until_idle().await;
        expected.insert(partition);
        let (replies, mut used) = (Reader::open(&topics.response), BTreeSet::new());
        for _ in 0..count(&topics.response) {
            used.insert(replies.next().await.partition);
        }
        assert_eq!(used, expected, "{instance} of 4 partitions");
    }
    processor.wait_until_idle().await;
}
