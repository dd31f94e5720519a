//! A record that is larger than its topic allows is not sent. Its client gets an error at once, and the records beside it are sent.

use serde_json::json;

use crate::harness::backend::{Answer, Backend, Received, unreachable_url};
use crate::harness::client::{self, Request};
use crate::harness::names::{Topics, unique};
use crate::harness::records::Reader;
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::topics::{create_limited_topic, create_topic, limit_topic, wait_for_count};
use crate::harness::wait::eventually;

const LIMIT: usize = 20_000;

/// A proxy that may not create the topic where bodies go that are larger than a record.
fn without_bodies_topic(topics: &Topics) -> Spec {
    // An answer that is larger than a record would be streamed.
    proxy(topics)
        .set("create_topics.enabled", false)
        .set("streaming", "off")
}

/// Runs `large` beside small requests, all of which must be answered.
async fn beside_small_requests(proxy: &Service, large: impl Future<Output = ()>) {
    let small = async {
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..30 {
            let (address, request) = (proxy.address(), Request::post("/", format!("small {number}")));
            clients.spawn(async move { client::request(&address, request).await });
        }
        while let Some(answer) = clients.join_next().await {
            let answer = answer.expect("no panic");
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    };
    tokio::join!(small, large);
}

/// Answers with as many bytes as the request's body asks for: `size BYTES`.
fn answer_of_size(received: &Received) -> Answer {
    let size = received.text().strip_prefix("size ").and_then(|size| size.parse().ok());
    Answer::body(vec![b'x'; size.unwrap_or(10)])
}

#[tokio::test]
async fn requests_and_replies_have_the_limit_of_their_topic() {
    let topics = Topics::unique("orders");
    create_limited_topic(&topics.request, LIMIT).await;
    create_limited_topic(&topics.response, LIMIT).await;
    let backend = Backend::start(answer_of_size).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = without_bodies_topic(&topics).start().await;
    for _ in 0..3 {
        beside_small_requests(&proxy, async {
            proxy
                .request(Request::post("/", vec![b'x'; LIMIT]))
                .await
                .assert_problem(413, "body-too-large");
            let answer = proxy.request(Request::post("/", format!("size {LIMIT}"))).await;
            answer.assert_problem(502, "response-too-large");
        })
        .await;
    }
    assert!(backend.received().iter().all(|received| received.body.len() < LIMIT));
    // A record may be as large as its topic allows, including its headers.
    assert_eq!(
        proxy.request(Request::post("/", vec![b'x'; LIMIT - 3000])).await.status,
        200
    );
    let answer = proxy
        .request(Request::post("/", format!("size {}", LIMIT - 1000)))
        .await;
    assert_eq!((answer.status, answer.body.len()), (200, LIMIT - 1000));
}

#[tokio::test]
async fn batches_of_accepted_requests_have_the_limit_of_their_topic() {
    let topics = Topics::unique("jobs");
    create_limited_topic(&topics.request, LIMIT).await;
    let proxy = proxy(&topics).set("async", "required").start().await;
    for _ in 0..3 {
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let (address, request) = (proxy.address(), Request::post("/", vec![b'x'; 2000]));
            clients.spawn(async move { client::request(&address, request).await });
        }
        while let Some(answer) = clients.join_next().await {
            let answer = answer.expect("no panic");
            assert_eq!(answer.status, 202, "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_dead_letter_is_truncated_to_the_limit_of_its_topic() {
    let topics = Topics::unique("orders");
    let dead_letters = unique("dead-letters");
    create_limited_topic(&dead_letters, 5_000).await;
    let _processor = processor(&[(&topics, &unreachable_url())])
        .set_topics("max_retries", 0)
        .set("dead_letter_topic", dead_letters.as_str())
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    for _ in 0..2 {
        proxy
            .request(Request::post("/", vec![b'x'; 10_000]))
            .await
            .assert_problem(502, "backend-unreachable");
    }
    wait_for_count(&dead_letters, 2).await;
    let letters = Reader::open(&dead_letters);
    for _ in 0..2 {
        let letter = letters.next().await;
        assert_eq!(letter.header_text("khp-truncated"), "10000");
        assert!(
            letter
                .value
                .is_some_and(|value| value.len() > 3_000 && value.len() < 5_000)
        );
    }
}

#[tokio::test]
async fn a_limit_that_is_lowered_later_is_noticed() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let backend = Backend::start(answer_of_size).await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set("dead_letter_topic", json!(null))
        .start()
        .await;
    let proxy = without_bodies_topic(&topics).start().await;
    let large_answer = || Request::post("/", format!("size {}", 2 * LIMIT));
    assert_eq!(proxy.request(large_answer()).await.status, 200);
    limit_topic(&topics.response, LIMIT).await;
    eventually("the broker knows its new limit", async || {
        match proxy.request(large_answer()).await.status {
            502 => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
    beside_small_requests(&proxy, async {
        proxy
            .request(large_answer())
            .await
            .assert_problem(502, "response-too-large");
    })
    .await;

    assert_eq!(
        proxy.request(Request::post("/", vec![b'x'; 2 * LIMIT])).await.status,
        200
    );
    limit_topic(&topics.request, LIMIT).await;
    eventually("the broker knows its new limit", async || {
        match proxy.request(Request::post("/", vec![b'x'; 2 * LIMIT])).await.status {
            413 => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
}
