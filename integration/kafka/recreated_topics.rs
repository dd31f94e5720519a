//! Topics that are deleted, or deleted and created again, under running instances.

use std::time::{Duration, Instant};

use crate::harness::Topics;
use crate::harness::app::{App, processor, proxy};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::topics::{count, create_topic, delete_topic, wait_for_commit, wait_for_topic};
use crate::harness::wait::within;

/// Deletion is noticed at the second of two looks, two seconds apart; the rest is the broker's.
const NOTICED: Duration = Duration::from_secs(20);

/// Asks until it is answered: a topic that has just gone may cost a request or two a definite error.
async fn answered_again(proxy: &App, body: &str) {
    within(NOTICED, "an answer", async || {
        let answer = proxy.request(Request::post("/", body)).await;
        match answer.status {
            200 => {
                assert_eq!(answer.json()["body"].as_str(), Some(body));
                Ok(())
            }
            status => Err(format!("{status}: {}", answer.text())),
        }
    })
    .await;
}

#[tokio::test]
async fn requests_in_flight_of_a_deleted_reply_topic_are_told_and_the_next_one_is_answered() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| {
        let answer = Answer::body(received.body.clone());
        match received.target.as_str() {
            "/held" => answer.after(Duration::from_secs(25)),
            _ => answer,
        }
    })
    .await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).set("default_timeout", 40).start().await;
    let mut held = proxy.leave_waiting(&Request::post("/held", "held")).await;
    backend.wait_for_calls(1).await;
    delete_topic(&topics.response).await;
    let answer = tokio::time::timeout(NOTICED, held.read_response(false))
        .await
        .expect("told long before the deadline")
        .expect("an answer");
    answer.assert_problem(502, "reply-lost");
    wait_for_topic(&topics.response).await;
    within(NOTICED, "ready again", async || {
        proxy.expect_health("/health/ready", 200).await
    })
    .await;
    let answer = proxy.request(Request::post("/", "next")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "next"));
}

#[tokio::test]
async fn requests_are_answered_again_on_a_recreated_reply_topic() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    for topic in [&topics.request, &topics.response] {
        create_topic(topic, 4).await;
    }
    // It is for the test alone to create it again.
    let processor = processor(&[(&topics, &backend.url())])
        .set("create_topics.enabled", false)
        .start()
        .await;
    let proxy = proxy(&topics)
        .set("default_timeout", 5)
        .set("create_topics.enabled", false)
        .start()
        .await;
    for number in 0..20 {
        assert_eq!(proxy.request(Request::post("/", number.to_string())).await.status, 200);
    }
    delete_topic(&topics.response).await;
    create_topic(&topics.response, 3).await;
    answered_again(&proxy, "after").await;
    for number in 0..20 {
        assert_eq!(proxy.request(Request::post("/", number.to_string())).await.status, 200);
    }
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn a_deleted_request_topic_is_created_again_and_its_new_offsets_are_committed() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).set("default_timeout", 5).start().await;
    for number in 0..20 {
        assert_eq!(proxy.request(Request::post("/", number.to_string())).await.status, 200);
    }
    wait_for_commit(&topics.group, &topics.request, 20).await;
    delete_topic(&topics.request).await;
    answered_again(&proxy, "after").await;
    let calls = backend.received().len();
    for number in 0..5 {
        assert_eq!(proxy.request(Request::post("/", number.to_string())).await.status, 200);
    }
    assert_eq!(backend.received().len(), calls + 5);
    wait_for_commit(&topics.group, &topics.request, count(&topics.request)).await;
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn while_a_topic_of_the_configuration_is_missing_requests_are_refused_at_once() {
    let topics = Topics::unique("orders");
    for topic in [&topics.request, &topics.response] {
        create_topic(topic, 1).await;
    }
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set("create_topics.enabled", false)
        .start()
        .await;
    let proxy = proxy(&topics).set("create_topics.enabled", false).start().await;
    delete_topic(&topics.response).await;
    within(NOTICED, "not ready", async || {
        proxy.expect_health("/health/ready", 503).await
    })
    .await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        let sent = Instant::now();
        let answer = proxy.request(Request::post("/", "now")).await;
        answer.assert_try_again("kafka-unavailable");
        assert!(sent.elapsed() < Duration::from_secs(10), "{:?}", sent.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(proxy.logged("may not create it"), 1, "{}", proxy.log());
    create_topic(&topics.response, 1).await;
    within(NOTICED, "ready again", async || {
        proxy.expect_health("/health/ready", 200).await
    })
    .await;
    assert_eq!(proxy.request(Request::post("/", "next")).await.status, 200);
}
