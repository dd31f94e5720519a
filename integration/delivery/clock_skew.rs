//! Clocks that disagree: a processor whose clock is a minute ahead of the requester's, or behind it, still executes what has not expired,
//! warns, and extends no deadline. The test is the requester, so that its clock can be wrong.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::backend::{Answer, Backend};
use crate::harness::management::TOKEN;
use crate::harness::names::Topics;
use crate::harness::records::{Header, Reader, Written, expired, produce_all, request_headers, written};
use crate::harness::service::Service;
use crate::harness::spec::processor;
use crate::harness::topics::{create_topic, wait_for_commit};
use crate::harness::wait::eventually;

/// How long a requester waits, in milliseconds.
const TIMEOUT_MS: i64 = 5_000;

/// A request of a requester whose clock is `ahead_s` seconds ahead of the processor's.
fn request(ahead_s: i64, body: &str) -> Written {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as i64;
    let deadline = (now + ahead_s * 1000 + TIMEOUT_MS).to_string();
    let timeout = TIMEOUT_MS.to_string();
    let more: [Header<'_>; 2] = [
        ("khp-deadline", deadline.as_bytes()),
        ("khp-timeout", timeout.as_bytes()),
    ];
    written(body, &request_headers(body, "GET", "/", &more))
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

async fn assert_skew(processor: &Service, expected: f64) {
    let skew = processor.metrics().await.sum("processor_clock_skew_seconds", &[]);
    assert!((skew - expected).abs() < 5.0, "{skew}, not {expected}");
}

#[tokio::test]
async fn a_processor_whose_clock_is_a_minute_off_executes_what_has_not_expired() {
    for (ahead_s, warns) in [(-60, true), (60, false)] {
        let topics = topics().await;
        let backend = Backend::echo().await;
        // A busy machine may stop the processor for seconds, and then it sees a backlog: the usual tolerance of 2 s is too short.
        let processor = processor(&[(&topics, &backend.url())])
            .set("clock_tolerance", 20)
            .start()
            .await;
        // The processor knows the end of an empty topic once Kafka has answered the first fetch, after half a second.
        eventually("the end of the topic is known", async || {
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
            // So the next record is alone in its partition too.
            wait_for_commit(&topics.group, &topics.request, number + 1).await;
        }
        // Ten records arrive in one batch, and none of them waits for another.
        let at_once = (10..20).map(|number| request(ahead_s, &number.to_string()));
        produce_all(&topics.request, 0, at_once).await;
        for _ in 0..10 {
            assert_eq!(replies.next().await.header_text(":status"), "200");
        }
        assert_skew(&processor, -ahead_s as f64).await;
        let warned = processor.log().contains("the clocks of proxy and processor differ");
        assert_eq!(warned, warns, "{}", processor.log());
        assert_eq!(backend.received().len(), 20);
    }
}

#[tokio::test]
async fn a_clock_that_is_behind_does_not_extend_the_time_for_a_request() {
    let topics = topics().await;
    let backend = Backend::start(|_| Answer::Hang).await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set_topics("timeout", 1)
        .set_topics("max_retries", 1000)
        .start()
        .await;
    send(&topics, 60, "hangs").await;
    backend.wait_for_calls(1).await;
    // The request's timeout of 5 s bounds the work, whatever the clocks show.
    wait_for_commit(&topics.group, &topics.request, 1).await;
    let calls = backend.received().len();
    assert!((1..=6).contains(&calls), "{calls}");
}

#[tokio::test]
async fn records_expire_in_a_backlog() {
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
}

#[tokio::test]
async fn records_expire_while_another_processor_has_their_partition() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 2).await;
    let backend = Backend::echo().await;
    let spec = processor(&[(&topics, &backend.url())]).set("management_token", TOKEN);
    let share = async |processor: &Service, count: usize| {
        eventually(&format!("{count} partitions"), async || {
            match processor.partitions(&topics.request).await {
                all if all.len() == count => Ok(all),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    };
    // The first processor has both partitions, and knows that both are empty.
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
    second.signal("KILL");
    share(&first, 2).await;
    first.wait_for_metric("processor_expired_total", &[], 1.0).await;
    wait_for_commit(&topics.group, &topics.request, 1).await;
    assert_eq!(backend.received().len(), 0, "{:?}", backend.received());
}
