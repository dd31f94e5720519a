//! Nobody waits longer than the deadline, and nothing is done for nobody.

use std::time::{Duration, Instant};

use crate::harness::Topics;
use crate::harness::app::{processor, proxy};
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::records::{Reader, expired, produce, produce_all, wait_until_expired};
use crate::harness::topics::{count, create_topic, wait_for_commit};
use crate::harness::wait::eventually;

#[tokio::test]
async fn when_nobody_answers_the_client_hears_so_at_the_deadline() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics)
        .set("default_timeout", 1)
        .timeout_of("/patient", 50)
        .start()
        .await;
    proxy.wait_until_sent(&Request::get("/patient")).await;
    let sent = Instant::now();
    let answer = proxy.request(Request::post("/", "anyone?")).await;
    let took = sent.elapsed();
    answer.assert_problem(504, "reply-timeout");
    assert_eq!(
        answer.header("khp-correlation-id").as_deref(),
        answer.json()["correlation_id"].as_str()
    );
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(15),
        "{took:?}"
    );
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("proxy_timeouts_total", &[("topic", &topics.request)]), 1.0);
    assert_eq!(
        metrics.sum("proxy_requests_total", &[("topic", &topics.request), ("status", "504")]),
        1.0
    );
    proxy.wait_until_idle().await;
}

#[tokio::test]
async fn a_reply_that_comes_late_is_counted_and_harms_nobody() {
    let topics = Topics::unique("orders");
    create_topic(&topics.response, 1).await;
    let proxy = proxy(&topics).timeout_of("/hasty", 2).start().await;
    proxy.wait_until_sent(&Request::get("/")).await;
    proxy
        .request(Request::post("/hasty", "too slow"))
        .await
        .assert_problem(504, "reply-timeout");
    // Our own processor ends a call in time to say so: this is another's, or one whose reply was held up in Kafka.
    let request = Reader::open(&topics.request).next_with("too slow").await;
    let id = request.header("kafka_correlationId").expect("an id");
    produce(&topics.response, 0, b"late", &[("kafka_correlationId", id)]).await;
    proxy.wait_for_metric("proxy_late_replies_total", &[], 1.0).await;

    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("clock_tolerance", 0)
        .start()
        .await;
    let answer = proxy.request(Request::post("/", "in time")).await;
    assert_eq!((answer.status, answer.json()["body"].as_str()), (200, Some("in time")));
    assert_eq!(proxy.metrics().await.sum("proxy_unmatched_replies_total", &[]), 0.0);
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

/// Requests that nobody waits for any more when the processor starts: a whole backlog, and a few that a proxy gave up.
const EXPIRED: i64 = 500;
const GIVEN_UP: usize = 10;

#[tokio::test]
async fn work_that_has_expired_never_reaches_the_backend() {
    let topics = Topics::unique("orders");
    // One partition: what has expired lies before what has not.
    create_topic(&topics.request, 1).await;
    let backend = Backend::echo().await;
    let spec = processor(&[(&topics, &backend.url())]);
    let proxy = proxy(&topics).timeout_of("/hasty", 1).start().await;
    // Its topics are open from here on.
    let mut first = spec.clone().start().await;
    assert_eq!(proxy.request(Request::post("/", "before")).await.status, 200);
    first.signal("TERM").await;
    assert_eq!(first.wait_exit().await, Some(0));

    produce_all(
        &topics.request,
        0,
        (0..EXPIRED).map(|number| expired(number.to_string())),
    )
    .await;
    // A machine that stands still for a second sends none.
    eventually("some were sent and given up", async || {
        let mut given_up = Vec::new();
        for _ in 0..GIVEN_UP {
            given_up.push(proxy.leave_waiting(&Request::post("/hasty", "expired")).await);
        }
        for client in &mut given_up {
            let answer = client.read_response(false).await.expect("an answer");
            answer.assert_problem(504, "reply-timeout");
        }
        match count(&topics.request) - EXPIRED {
            1 => Err("none was sent".into()),
            _ => Ok(()),
        }
    })
    .await;
    let mut waiting = proxy.leave_waiting(&Request::post("/", "still wanted")).await;
    let requests = Reader::open(&topics.request);
    let (mut last_expired, mut request) = (None, requests.next().await);
    while request.value.as_deref() != Some(b"still wanted") {
        last_expired = Some(std::mem::replace(&mut request, requests.next().await));
    }
    wait_until_expired(&last_expired.expect("those before it")).await;

    let processor = spec.start().await;
    let answer = waiting.read_response(false).await.expect("an answer");
    assert_eq!(
        (answer.status, answer.json()["body"].as_str()),
        (200, Some("still wanted"))
    );
    // All between the first and the last.
    let expired = request.offset - 1;
    assert!(expired > EXPIRED, "{expired}");
    processor
        .wait_for_metric("processor_expired_total", &[], expired as f64)
        .await;
    assert_eq!(backend.received().len(), 2, "{:?}", backend.received());
    wait_for_commit(&topics.group, &topics.request, request.offset + 1).await;
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn what_expired_while_its_topic_was_paused_never_reaches_the_backend() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("management_token", "t")
        .start()
        .await;
    let proxy = proxy(&topics).timeout_of("/hasty", 2).start().await;
    assert_eq!(proxy.request(Request::post("/", "before")).await.status, 200);
    let order = |what: &str| {
        Request::post(&format!("/topics/{}/{what}", topics.request), "{}")
            .header("Content-Type", "application/json")
            .header("Authorization", "Bearer t")
    };
    let manage = async |what| crate::harness::client::request(&processor.management_address(), order(what)).await;
    assert_eq!(manage("pause").await.status, 200);
    assert_eq!(proxy.request(Request::post("/hasty", "expired")).await.status, 504);
    wait_until_expired(&Reader::open(&topics.request).next_with("expired").await).await;
    assert_eq!(manage("resume").await.status, 200);
    processor.wait_for_metric("processor_expired_total", &[], 1.0).await;
    assert_eq!(backend.calls_with_body("expired"), 0);
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}
