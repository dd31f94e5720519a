//! Nobody waits longer than the deadline, and nothing is done for nobody.

use std::time::{Duration, Instant};

use crate::harness::Topics;
use crate::harness::app::{processor, proxy};
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::records::{create_topic, produce, read_all, wait_for_commit, wait_for_count};

#[tokio::test]
async fn when_nobody_answers_the_client_hears_so_at_the_deadline() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).set("default_timeout", 1).start().await;
    let sent = Instant::now();
    let answer = proxy.request(Request::post("/", "anyone?")).await;
    let took = sent.elapsed();
    answer.assert_problem(504, "reply-timeout");
    assert_eq!(
        answer.header("khp-correlation-id").as_deref(),
        answer.json()["correlation_id"].as_str()
    );
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(4),
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
    let proxy = proxy(&topics).set("default_timeout", 2).start().await;
    proxy
        .request(Request::post("/", "too slow"))
        .await
        .assert_problem(504, "reply-timeout");
    // Our own processor ends a call in time to say so: this is another's, or one whose reply was held up in Kafka.
    let request = read_all(&topics.request).await.remove(0);
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

/// Requests that nobody waits for any more when the processor starts.
const EXPIRED: i64 = 500;

#[tokio::test]
async fn work_that_has_expired_never_reaches_the_backend() {
    let topics = Topics::unique("orders");
    // One partition: what has expired lies before what has not.
    create_topic(&topics.request, 1).await;
    let backend = Backend::echo().await;
    let impatient = proxy(&topics).set("default_timeout", 1).start().await;
    let patient = proxy(&topics).set("default_timeout", 40).start().await;
    let mut given_up = Vec::new();
    for number in 0..EXPIRED {
        given_up.push(
            impatient
                .leave_waiting(&Request::post("/", format!("expired {number}")))
                .await,
        );
    }
    for client in &mut given_up {
        client
            .read_response(false)
            .await
            .expect("an answer")
            .assert_problem(504, "reply-timeout");
    }
    let mut waiting = patient.leave_waiting(&Request::post("/", "still wanted")).await;
    wait_for_count(&topics.request, EXPIRED + 1).await;
    // The deadline has passed; with it the tolerance for clocks that disagree (2 s) must.
    tokio::time::sleep(Duration::from_millis(2500)).await;

    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let answer = waiting.read_response(false).await.expect("an answer");
    assert_eq!(
        (answer.status, answer.json()["body"].as_str()),
        (200, Some("still wanted"))
    );
    processor
        .wait_for_metric("processor_expired_total", &[], EXPIRED as f64)
        .await;
    assert_eq!(backend.received().len(), 1, "{:?}", backend.received());
    wait_for_commit(&topics.group, &topics.request, EXPIRED + 1).await;
    impatient.wait_until_idle().await;
    patient.wait_until_idle().await;
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
    let proxy = proxy(&topics).set("default_timeout", 1).start().await;
    assert_eq!(proxy.request(Request::post("/", "before")).await.status, 200);
    let order = |what: &str| {
        Request::post(&format!("/topics/{}/{what}", topics.request), "{}")
            .header("Content-Type", "application/json")
            .header("Authorization", "Bearer t")
    };
    let manage = async |what| crate::harness::client::request(&processor.management_address(), order(what)).await;
    assert_eq!(manage("pause").await.status, 200);
    assert_eq!(proxy.request(Request::post("/", "expired")).await.status, 504);
    // With the deadline, the tolerance for clocks (2 s) must pass.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(manage("resume").await.status, 200);
    processor.wait_for_metric("processor_expired_total", &[], 1.0).await;
    assert_eq!(backend.calls_with_body("expired"), 0);
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}
