//! A client that names a topic it may not use gets a definite error, and nothing is sent.

use serde_json::json;

use crate::harness::client::Request;
use crate::harness::exchange::assert_nothing_was_sent;
use crate::harness::names::{Topics, unique};
use crate::harness::spec::proxy;
use crate::harness::topics::{count, create_topic, partitions};

#[tokio::test]
async fn a_topic_that_no_client_may_name_is_refused() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).start().await;
    for topic in ["not a topic", "..", "a/b", &"x".repeat(250)] {
        proxy
            .request(Request::get("/").via(topic, &topics.response))
            .await
            .assert_problem(400, "bad-topic");
        proxy
            .request(Request::get("/").via(&topics.request, topic))
            .await
            .assert_problem(400, "bad-topic");
    }
    for topic in ["__consumer_offsets", "__transaction_state"] {
        proxy
            .request(Request::get("/").via(topic, &topics.response))
            .await
            .assert_problem(403, "topic-not-allowed");
        proxy
            .request(Request::get("/").via(&topics.request, topic))
            .await
            .assert_problem(403, "topic-not-allowed");
    }
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn only_allowed_topics_can_be_named_and_beyond_the_limit_one_makes_room() {
    let topics = Topics::unique("orders");
    let allowed = unique("shop");
    let in_full = format!("{allowed}-1-requests");
    let patterns = json!([format!("{allowed}-*"), in_full]);
    let proxy = proxy(&topics)
        .set("allowed_topics", patterns)
        .set("max_client_topics", 2)
        // Long enough to create a topic: a request that still waits for one shortly before its deadline is a 503.
        .set("default_timeout", 6)
        .start()
        .await;
    let other = unique("bank-requests");
    proxy
        .request(Request::get("/").via(&other, &topics.response))
        .await
        .assert_problem(403, "topic-not-allowed");
    assert_eq!(partitions(&other), 0, "nothing is created for a refused request");
    for number in [1, 2, 3] {
        let request = Request::get("/").via(&format!("{allowed}-{number}-requests"), &topics.response);
        proxy.request(request).await.assert_problem(504, "reply-timeout");
    }
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("proxy_client_topics", &[]), 2.0);
    assert_eq!(metrics.sum("proxy_client_topics_limited_total", &[]), 1.0);
    for (label, requests) in [(&*in_full, 1.0), ("other", 3.0)] {
        assert_eq!(
            metrics.sum("proxy_requests_total", &[("topic", label)]),
            requests,
            "{label}"
        );
    }
}

#[tokio::test]
async fn a_request_is_never_taken_for_its_own_reply() {
    let (topics, other) = (Topics::unique("orders"), Topics::unique("other"));
    for topic in [&other.request, &other.response] {
        create_topic(topic, 1).await;
    }
    let proxy = proxy(&topics)
        .set("default_timeout", 4)
        .set("reply_partition", "all")
        .set("allowed_topics", json!(["*"]))
        .start()
        .await;
    // A topic that is configured for requests is refused for replies, and the other way round.
    for request in [
        Request::post("/", "x").header("X-Kafka-Reply-Topic", &topics.request),
        Request::post("/", "x").header("X-Kafka-Topic", &topics.response),
    ] {
        proxy.request(request).await.assert_problem(403, "topic-not-allowed");
    }
    assert_eq!(count(&topics.response), 0);
    // A topic that only clients name may be used for both.
    for reply_topic in [&other.request, &other.response] {
        let request = Request::post("/", "my own words").via(&other.request, reply_topic);
        let answer = proxy.request(request).await;
        answer.assert_problem(504, "reply-timeout");
    }
    let late = proxy.metrics().await.sum("proxy_late_replies_total", &[]);
    assert!(late > 0.0, "the proxy read its own requests from the reply topic");
}
