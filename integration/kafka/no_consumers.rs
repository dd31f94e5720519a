//! Nobody home: where the configuration names the group that consumes a request topic, its absence is told at once.

use std::time::Duration;

use crate::harness::Topics;
use crate::harness::app::{App, processor, proxy};
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::wait::{eventually, within};

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

/// Is sent, and waits in vain. One that was not sent, because its topic was still opening, is sent again.
async fn time_out(proxy: &App, body: &str) {
    eventually("504", async || {
        let answer = proxy.request(Request::post("/", body)).await;
        match answer.status {
            503 if answer.text().contains("kafka-unavailable") => Err(answer.text()),
            _ => {
                answer.assert_problem(504, "reply-timeout");
                Ok(())
            }
        }
    })
    .await;
}

#[tokio::test]
async fn without_consumers_it_is_503_at_once_and_with_the_first_one_it_is_sent() {
    let topics = Topics::unique("orders");
    let watching = proxy(&topics)
        .set("default_timeout", 5)
        .set("consumer_group", topics.group.clone())
        .start()
        .await;
    let blind = proxy(&topics).set("default_timeout", 5).start().await;
    // Not known to be absent yet: it is sent.
    time_out(&watching, "too early to tell").await;
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
    time_out(&blind, "hello?").await;
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
