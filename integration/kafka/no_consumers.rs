//! A request topic that no group consumes: where the configuration names the group, requests are refused at once.

use std::time::Duration;

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::wait::{eventually, within};

/// The proxy looks every five seconds, and a group counts as absent after fifteen without members. Twice that, for a busy machine.
const NOTICED: Duration = Duration::from_secs(40);

async fn becomes(proxy: &Service, wanted: u16) {
    within(NOTICED, &format!("{wanted}"), async || {
        match proxy.request(Request::post("/", "hello")).await {
            answer if answer.status == wanted => Ok(()),
            answer => Err(format!("{}: {}", answer.status, answer.text())),
        }
    })
    .await;
}

/// Sends a request that nobody answers. A request that was not sent, because its topic was still opening, is sent again.
async fn time_out(proxy: &Service, body: &str) {
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
async fn requests_are_refused_while_the_group_has_no_members() {
    let topics = Topics::unique("orders");
    let watching = proxy(&topics)
        .set("default_timeout", 5)
        .set("consumer_group", topics.group.clone())
        .start()
        .await;
    let blind = proxy(&topics).set("default_timeout", 5).start().await;
    // The proxy does not know yet that the group is absent, so it sends the request.
    time_out(&watching, "too early to tell").await;
    becomes(&watching, 503).await;
    watching
        .request(Request::post("/", "hello?"))
        .await
        .assert_try_again("no-consumers");
    assert_eq!(
        watching.health("/health/ready").await,
        Some(200),
        "another proxy would refuse it too"
    );
    time_out(&blind, "hello?").await;
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    becomes(&watching, 200).await;
    assert!(watching.log().contains(&topics.group), "{}", watching.log());
}

/// The classic call of the admin client shows such a group as dead.
#[tokio::test]
async fn a_group_of_the_new_protocol_is_seen() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("kafka.properties", serde_json::json!({"group.protocol": "consumer"}))
        .start()
        .await;
    let proxy = proxy(&topics)
        .set("default_timeout", 5)
        .set("consumer_group", topics.group.clone())
        .start()
        .await;
    // Longer than the time after which a group counts as absent.
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_secs(22) {
        let answer = proxy.request(Request::post("/", "hello")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    processor.stop().await;
    becomes(&proxy, 503).await;
}
