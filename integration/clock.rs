//! Clocks that disagree: a processor a minute ahead of a requester, or behind it, still serves who waits, says so, and stretches no
//! deadline. The test is the requester, so that its clock can be wrong.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::Topics;
use crate::harness::app::{App, processor};
use crate::harness::backend::{Answer, Backend};
use crate::harness::records::{Header, Reader, create_topic, expired, produce, produce_all, wait_for_commit};
use crate::harness::wait::eventually;

const SPAN_MS: i64 = 5_000;

/// Sends a request by a clock that is `ahead_s` ahead of the processor's.
async fn send(topics: &Topics, ahead_s: i64, body: &str) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as i64;
    let deadline = (now + ahead_s * 1000 + SPAN_MS).to_string();
    let headers: [Header<'_>; 6] = [
        ("khp-version", b"1"),
        ("kafka_correlationId", body.as_bytes()),
        (":method", b"GET"),
        (":path", b"/"),
        ("khp-deadline", deadline.as_bytes()),
        ("khp-timeout", b"5000"),
    ];
    produce(&topics.request, 0, body.as_bytes(), &headers).await;
}

async fn topics() -> Topics {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    topics
}

async fn assert_skew(processor: &App, expected: f64) {
    let skew = processor.metrics().await.sum("processor_clock_skew_seconds", &[]);
    assert!((skew - expected).abs() < 5.0, "{skew}, not {expected}");
}

#[tokio::test]
async fn a_processor_whose_clock_is_a_minute_off_serves_who_waits() {
    for (ahead_s, warns) in [(-60, true), (60, false)] {
        let topics = topics().await;
        let backend = Backend::echo().await;
        let processor = processor(&[(&topics, &backend.url())]).start().await;
        // An empty topic's end is known once Kafka answered the first fetch (it waits half a second for records).
        eventually("its end is known", async || {
            match processor.metrics().await.count("processor_consumer_lag", &[]) {
                1 => Ok(()),
                other => Err(other.to_string()),
            }
        })
        .await;
        let replies = Reader::open(&topics.response);
        for number in 0..10 {
            send(&topics, ahead_s, &number.to_string()).await;
            assert_eq!(replies.next().await.header_text(":status"), "200");
            // The next one is alone in its partition, too.
            wait_for_commit(&topics.group, &topics.request, number + 1).await;
        }
        assert_skew(&processor, -ahead_s as f64).await;
        let warned = processor.log().contains("the clocks of proxy and processor differ");
        assert_eq!(warned, warns, "{}", processor.log());
        assert_eq!(backend.received().len(), 10);
        processor.wait_until_idle().await;
    }
}

#[tokio::test]
async fn a_clock_that_is_behind_stretches_no_span_of_work() {
    let topics = topics().await;
    let backend = Backend::start(|_| Answer::Hang).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set_topics("timeout", 1)
        .set_topics("max_retries", 1000)
        .start()
        .await;
    send(&topics, 60, "hangs").await;
    backend.wait_for_calls(1).await;
    // What the request says it waits, 5 s, bounds the work, whatever the time of day.
    wait_for_commit(&topics.group, &topics.request, 1).await;
    let calls = backend.received().len();
    assert!((1..=6).contains(&calls), "{calls}");
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn what_waited_in_a_backlog_expires() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 4).await;
    for partition in 0..4 {
        let records = (0..125).map(|number| expired((partition * 125 + number).to_string()));
        produce_all(&topics.request, partition, records).await;
    }
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    processor.wait_for_metric("processor_expired_total", &[], 500.0).await;
    assert_eq!(backend.received().len(), 0);
    wait_for_commit(&topics.group, &topics.request, 500).await;
    processor.wait_until_idle().await;
}
