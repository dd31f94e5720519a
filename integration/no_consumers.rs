//! Nobody home: where the configuration names the group that consumes a request topic, its absence is told at once.

use std::time::Duration;

use crate::harness::Topics;
use crate::harness::app::{App, processor, proxy};
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::wait::within;

/// Fifteen seconds without members, looked at every five; twice that for a busy machine.
const NOTICED: Duration = Duration::from_secs(40);

async fn becomes(proxy: &App, wanted: u16) {
    within(NOTICED, &format!("{wanted}"), async || {
        match proxy.request(Request::post("/", "hello")).await {
            answer if answer.status == wanted => Ok(()),
            answer => Err(format!("{}: {}", answer.status, answer.text())),
        }
    })
    .await;
}

#[tokio::test]
async fn without_consumers_it_is_503_at_once_and_with_the_first_one_it_is_sent() {
    let topics = Topics::unique("orders");
    let watching = proxy(&topics)
        .set("default_timeout", 2)
        .set("consumer_group", topics.group.clone())
        .start()
        .await;
    let blind = proxy(&topics).set("default_timeout", 2).start().await;
    // Not known to be absent yet: it is sent.
    watching
        .request(Request::post("/", "too early to tell"))
        .await
        .assert_problem(504, "reply-timeout");
    becomes(&watching, 503).await;
    watching
        .request(Request::post("/", "hello?"))
        .await
        .assert_try_again("no-consumers");
    assert_eq!(
        watching.health("/health/ready").await,
        Some(200),
        "another proxy would not do better"
    );
    blind
        .request(Request::post("/", "hello?"))
        .await
        .assert_problem(504, "reply-timeout");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    becomes(&watching, 200).await;
    assert!(watching.log().contains(&topics.group), "{}", watching.log());
}

/// The classic call shows such a group as dead.
#[tokio::test]
async fn a_group_of_the_new_protocol_is_seen() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let mut processor = processor(&[(&topics, &backend.url())])
        .set("kafka.properties", serde_json::json!({"group.protocol": "consumer"}))
        .start()
        .await;
    let proxy = proxy(&topics)
        .set("default_timeout", 5)
        .set("consumer_group", topics.group.clone())
        .start()
        .await;
    // Longer than an absence has to last.
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_secs(22) {
        let answer = proxy.request(Request::post("/", "hello")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    processor.signal("TERM").await;
    assert_eq!(processor.wait_exit().await, Some(0));
    becomes(&proxy, 503).await;
}
