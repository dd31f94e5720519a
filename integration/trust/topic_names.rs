//! Who may name topics, and which.

use serde_json::json;

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::names::{Topics, unique};
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::partitions;
use crate::harness::wait::eventually;

#[tokio::test]
async fn a_strangers_topic_headers_are_dropped() {
    let (topics, other) = (Topics::unique("orders"), Topics::unique("other"));
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics)
        .set("trusted_proxies", json!([]))
        .set("management_port", 0)
        .start()
        .await;
    for (request_topic, reply_topic) in [
        (&*other.request, &*other.response),
        ("not a topic", "__consumer_offsets"),
    ] {
        let answer = proxy.request(Request::get("/").via(request_topic, reply_topic)).await;
        assert_eq!(answer.status, 200, "it goes to the configured topic: {}", answer.text());
        assert_eq!(backend.last().header("x-kafka-topic"), None);
    }
    assert_eq!(partitions(&other.request) + partitions(&other.response), 0);
    assert_eq!(proxy.logged("topic headers choose topics"), 1, "{}", proxy.log());
}

#[tokio::test]
async fn by_default_a_name_must_say_what_the_topic_is_for() {
    let (topics, other) = (Topics::unique("orders"), Topics::unique("other"));
    let backend = Backend::echo().await;
    let _processor = processor(&[(&other, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    let answer = proxy
        .request(Request::get("/").via(&other.request, &other.response))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let payments = unique("payments");
    for name in [
        &*payments,
        &*other.response,
        &format!("_{}", other.request),
        &format!("connect-{}", other.request),
    ] {
        let request = Request::get("/").header("X-Kafka-Topic", name);
        proxy.request(request).await.assert_problem(403, "topic-not-allowed");
    }
    for name in [&*payments, &*other.request, &format!("_{}", other.response)] {
        let request = Request::get("/").header("X-Kafka-Reply-Topic", name);
        proxy.request(request).await.assert_problem(403, "topic-not-allowed");
    }
    assert_eq!(partitions(&payments), 0);
    let line = proxy
        .log()
        .lines()
        .find(|line| line.contains("topic headers choose topics"))
        .map(str::to_owned);
    let line = line.expect("it says who may name what");
    assert!(
        line.contains("10.0.0.0/8") && line.contains("*-requests, *-responses"),
        "{line}"
    );
}

#[tokio::test]
async fn a_star_opens_all_but_what_applications_keep_to_themselves() {
    let topics = Topics::unique("orders");
    let (open, letters) = (unique("anything"), unique("dead-letters"));
    let backend = Backend::echo().await;
    let open = Topics {
        request: open,
        ..Topics::unique("open")
    };
    let _processor = processor(&[(&open, &backend.url())]).start().await;
    let proxy = proxy(&topics)
        .set("allowed_topics", json!(["*"]))
        .set("dead_letter_topic", letters.as_str())
        .start()
        .await;
    let answer = proxy
        .request(Request::get("/").via(&open.request, &open.response))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for name in ["_schemas", "connect-configs", "__consumer_offsets", &letters] {
        for header in ["X-Kafka-Topic", "X-Kafka-Reply-Topic"] {
            let request = Request::get("/").header(header, name);
            proxy.request(request).await.assert_problem(403, "topic-not-allowed");
        }
    }
}

#[tokio::test]
async fn invented_names_leave_room_for_good_ones() {
    let (topics, good) = (Topics::unique("orders"), Topics::unique("good"));
    let backend = Backend::echo().await;
    let _processor = processor(&[(&good, &backend.url())]).start().await;
    // What does not exist is refused at once.
    let proxy = proxy(&topics)
        .set("create_topics.allow", json!(["*-good-*"]))
        .start()
        .await;
    let invented = unique("invented");
    for number in 0..120 {
        let request = Request::get("/").header("X-Kafka-Topic", format!("{invented}-{number}-requests"));
        proxy.request(request).await.assert_try_again("kafka-unavailable");
    }
    let answer = proxy
        .request(Request::get("/").via(&good.request, &good.response))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(proxy.logged("clients name more topics than may be known"), 1);
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("proxy_client_topics", &[]), 2.0, "those that opened");
    assert!(metrics.sum("proxy_client_topics_limited_total", &[]) >= 20.0);
}

#[tokio::test]
async fn a_topic_that_was_let_go_opens_again_when_it_is_named() {
    let all: Vec<Topics> = ["one", "two", "three"].map(Topics::unique).into();
    let backend = Backend::echo().await;
    let named: Vec<(&Topics, String)> = all.iter().map(|topics| (topics, backend.url())).collect();
    let named: Vec<(&Topics, &str)> = named.iter().map(|(topics, url)| (*topics, &**url)).collect();
    let _processor = processor(&named).start().await;
    // One pair of topics at a time, besides the configured one.
    let proxy = proxy(&Topics::unique("own")).set("max_client_topics", 2).start().await;
    for topics in all.iter().chain(&all) {
        let answer = proxy
            .request(Request::get("/").via(&topics.request, &topics.response))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // Its own reply topic, and one of a client: what was let go is read no more.
    eventually("reply topics are let go", async || {
        proxy.metrics().await.expect_sum("proxy_active_consumers", &[], 2.0)
    })
    .await;
    let answer = proxy
        .request(Request::get("/").via(&all[0].request, &all[0].response))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}
