//! What the proxy does not carry, it refuses with a definite error, before anything is sent.

use serde_json::json;

use crate::harness::app::{App, proxy};
use crate::harness::client::{Body, Connection, Request, Response};
use crate::harness::topics::{count, create_topic, partitions};
use crate::harness::{Topics, unique};

async fn exchange(proxy: &App, wire: &[u8]) -> Response {
    let mut connection = Connection::open(&proxy.address()).await.expect("the proxy listens");
    connection.send_raw(wire).await.expect("sent");
    connection.read_response(false).await.expect("an answer")
}

async fn assert_nothing_was_sent(proxy: &App, topics: &Topics) {
    proxy.wait_until_idle().await;
    assert_eq!(count(&topics.request), 0);
    proxy
        .metrics()
        .await
        .expect_sum("actor_restarts_total", &[], 0.0)
        .expect("nothing broke");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_a_413_however_it_is_framed() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).set("max_body_size", 1000).start().await;
    proxy
        .request(Request::post("/", vec![b'x'; 1001]))
        .await
        .assert_problem(413, "body-too-large");
    proxy
        .request(Request::post("/", vec![b'x'; 600_000]))
        .await
        .assert_problem(413, "body-too-large");
    let chunks = Body::Chunked(vec![vec![b'x'; 600]; 2]);
    proxy
        .request(Request::new("POST", "/").body(chunks))
        .await
        .assert_problem(413, "body-too-large");
    // Known from the head: nothing of the body needs to come.
    let announced = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000000\r\n\r\n";
    exchange(&proxy, announced).await.assert_problem(413, "body-too-large");
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn a_topic_that_clients_may_not_name_is_refused() {
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
async fn only_allowed_topics_can_be_named_and_only_so_many() {
    let topics = Topics::unique("orders");
    let allowed = unique("shop");
    let in_full = format!("{allowed}-1-requests");
    let patterns = json!([format!("{allowed}-*"), in_full]);
    let proxy = proxy(&topics)
        .set("allowed_topics", patterns)
        .set("max_client_topics", 2)
        // Time to create a topic, too: what still waits for one shortly before its deadline is a 503.
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
        let answer = proxy.request(request).await;
        if number <= 2 {
            answer.assert_problem(504, "reply-timeout");
        } else {
            answer.assert_problem(403, "topic-not-allowed");
        }
    }
    let metrics = proxy.metrics().await;
    for (label, requests) in [(&*in_full, 1.0), ("other", 3.0)] {
        assert_eq!(
            metrics.sum("proxy_requests_total", &[("topic", label)]),
            requests,
            "{label}"
        );
    }
    proxy.wait_until_idle().await;
}

#[tokio::test]
async fn a_request_is_never_answered_with_itself_whatever_its_client_names() {
    let (topics, other) = (Topics::unique("orders"), Topics::unique("other"));
    for topic in [&other.request, &other.response] {
        create_topic(topic, 1).await;
    }
    let proxy = proxy(&topics)
        .set("default_timeout", 4)
        .set("reply_partition", "all")
        .start()
        .await;
    // What is configured for one use is refused for the other.
    for request in [
        Request::post("/", "x").header("X-Kafka-Reply-Topic", &topics.request),
        Request::post("/", "x").header("X-Kafka-Topic", &topics.response),
    ] {
        proxy.request(request).await.assert_problem(403, "topic-not-allowed");
    }
    assert_eq!(count(&topics.response), 0);
    // Of what only clients name, nobody can tell.
    for reply_topic in [&other.request, &other.response] {
        let request = Request::post("/", "my own words").via(&other.request, reply_topic);
        let answer = proxy.request(request).await;
        answer.assert_problem(504, "reply-timeout");
    }
    let late = proxy.metrics().await.sum("proxy_late_replies_total", &[]);
    assert!(late > 0.0, "they were read: the topic is a reply topic to this proxy");
    proxy.wait_until_idle().await;
}
