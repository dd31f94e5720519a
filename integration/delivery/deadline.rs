//! No client waits longer than its deadline, and no expired request is executed.

use std::time::{Duration, Instant};

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::management::TOKEN;
use crate::harness::names::Topics;
use crate::harness::records::{Reader, expired, produce, produce_all, wait_until_expired};
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{count, create_topic, wait_for_commit};
use crate::harness::wait::eventually;

#[tokio::test]
async fn a_request_without_an_answer_is_a_504_at_its_deadline() {
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
}

#[tokio::test]
async fn a_late_reply_is_counted_and_reaches_no_other_client() {
    let topics = Topics::unique("orders");
    create_topic(&topics.response, 1).await;
    let proxy = proxy(&topics).timeout_of("/hasty", 2).start().await;
    proxy.wait_until_sent(&Request::get("/")).await;
    proxy
        .request(Request::post("/hasty", "too slow"))
        .await
        .assert_problem(504, "reply-timeout");
    // Our own processor ends a call before its deadline. This reply is another replier's, or it was delayed in Kafka.
    let request = Reader::open(&topics.request).next_with("too slow").await;
    let id = ("kafka_correlationId", request.correlation_id());
    produce(&topics.response, 0, b"late", &[id]).await;
    proxy.wait_for_metric("proxy_late_replies_total", &[], 1.0).await;

    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set("clock_tolerance", 0)
        .start()
        .await;
    let answer = proxy.request(Request::post("/", "in time")).await;
    answer.assert_echo("in time");
    assert_eq!(proxy.metrics().await.sum("proxy_unmatched_replies_total", &[]), 0.0);
}

/// Requests whose deadline has passed long before the processor starts.
const EXPIRED: i64 = 500;
/// Requests of a proxy that expire while no processor runs.
const TIMED_OUT: usize = 10;

#[tokio::test]
async fn an_expired_request_never_reaches_the_backend() {
    let topics = Topics::unique("orders");
    // One partition, so that the expired requests are before the others.
    create_topic(&topics.request, 1).await;
    let backend = Backend::echo().await;
    let spec = processor(&[(&topics, &backend.url())]);
    let proxy = proxy(&topics).timeout_of("/hasty", 1).start().await;
    // From here on the topics are open.
    let first = spec.clone().start().await;
    assert_eq!(proxy.request(Request::post("/", "before")).await.status, 200);
    first.stop().await;

    produce_all(
        &topics.request,
        0,
        (0..EXPIRED).map(|number| expired(number.to_string())),
    )
    .await;
    // A machine that stands still for a second sends none of them.
    eventually("some were sent and timed out", async || {
        let mut timed_out = Vec::new();
        for _ in 0..TIMED_OUT {
            timed_out.push(proxy.leave_waiting(&Request::post("/hasty", "expired")).await);
        }
        for client in &mut timed_out {
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
    wait_until_expired(&last_expired.expect("the expired requests before it")).await;

    let processor = spec.start().await;
    let answer = waiting.read_response(false).await.expect("an answer");
    answer.assert_echo("still wanted");
    // All requests between the first and the last.
    let expired = request.offset - 1;
    assert!(expired > EXPIRED, "{expired}");
    processor
        .wait_for_metric("processor_expired_total", &[], expired as f64)
        .await;
    assert_eq!(backend.received().len(), 2, "{:?}", backend.received());
    wait_for_commit(&topics.group, &topics.request, request.offset + 1).await;
}

#[tokio::test]
async fn a_request_that_expires_while_its_topic_is_paused_never_reaches_the_backend() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("management_token", TOKEN)
        .start()
        .await;
    let proxy = proxy(&topics).timeout_of("/hasty", 2).start().await;
    assert_eq!(proxy.request(Request::post("/", "before")).await.status, 200);
    let path = |action: &str| format!("/topics/{}/{action}", topics.request);
    assert_eq!(processor.order(&path("pause")).await.status, 200);
    assert_eq!(proxy.request(Request::post("/hasty", "expired")).await.status, 504);
    wait_until_expired(&Reader::open(&topics.request).next_with("expired").await).await;
    assert_eq!(processor.order(&path("resume")).await.status, 200);
    processor.wait_for_metric("processor_expired_total", &[], 1.0).await;
    assert_eq!(backend.calls_with_body("expired"), 0);
}
