//! Clocks that disagree: a processor a minute ahead of a requester, or behind it, still serves who waits, says so, and stretches no
//! deadline. The test is the requester, so that its clock can be wrong.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::Topics;
use crate::harness::app::{App, processor};
use crate::harness::backend::{Answer, Backend};
use crate::harness::records::{Reader, Written, expired, produce_all};
use crate::harness::topics::{create_topic, wait_for_commit};
use crate::harness::wait::eventually;

const SPAN_MS: i64 = 5_000;

/// A request by a clock that is `ahead_s` ahead of the processor's.
fn request(ahead_s: i64, body: &str) -> Written {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as i64;
    let headers = [
        ("khp-version", "1"),
        ("kafka_correlationId", body),
        (":method", "GET"),
        (":path", "/"),
        ("khp-deadline", &(now + ahead_s * 1000 + SPAN_MS).to_string()),
        ("khp-timeout", "5000"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    (body.as_bytes().to_vec(), headers.into())
}

async fn send(topics: &Topics, ahead_s: i64, body: &str) {
    produce_all(&topics.request, 0, [request(ahead_s, body)]).await;
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
        // A machine so busy that the processor stands still for two seconds would show it a backlog.
        let processor = processor(&[(&topics, &backend.url())])
            .set("clock_tolerance", 20)
            .start()
            .await;
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
        // Ten at once, in one batch: none of them has waited for the others.
        let at_once = (10..20).map(|number| request(ahead_s, &number.to_string()));
        produce_all(&topics.request, 0, at_once).await;
        for _ in 0..10 {
            assert_eq!(replies.next().await.header_text(":status"), "200");
        }
        assert_skew(&processor, -ahead_s as f64).await;
        let warned = processor.log().contains("the clocks of proxy and processor differ");
        assert_eq!(warned, warns, "{}", processor.log());
        assert_eq!(backend.received().len(), 20);
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

/// The partitions that a processor of one worker has.
async fn partitions(processor: &App, topics: &Topics) -> Vec<i64> {
    let status = processor.topic_status(&topics.request).await;
    let listed = status["workers"][0]["partitions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    listed.iter().filter_map(serde_json::Value::as_i64).collect()
}

#[tokio::test]
async fn what_waited_while_another_had_its_partition_expires() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 2).await;
    let backend = Backend::echo().await;
    let spec = processor(&[(&topics, &backend.url())]).set("management_token", "t");
    let share = async |processor: &App, count: usize| {
        eventually(&format!("{count} partitions"), async || {
            match partitions(processor, &topics).await {
                all if all.len() == count => Ok(all),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    };
    // The first to have both knows where they end: at 0.
    let first = spec.clone().start().await;
    share(&first, 2).await;
    let lag = [("topic", topics.request.as_str())];
    eventually("the first fetch is answered", async || {
        match first.metrics().await.count("processor_consumer_lag", &lag) {
            2 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    let second = spec.start().await;
    share(&first, 1).await;
    let moved = share(&second, 1).await[0];
    let pause = format!("/topics/{}/pause", topics.request);
    assert_eq!(second.order(&pause).await.status, 200);
    produce_all(&topics.request, moved as i32, [request(-60, "expired long ago")]).await;
    second.signal("KILL").await;
    share(&first, 2).await;
    first.wait_for_metric("processor_expired_total", &[], 1.0).await;
    wait_for_commit(&topics.group, &topics.request, 1).await;
    assert_eq!(backend.received().len(), 0, "{:?}", backend.received());
    first.wait_until_idle().await;
}
