//! Answers that are larger than a record are remembered, too: their bodies lie in a topic of their own.

use openssl::sha::sha256;
use serde_json::json;

use super::{Once, answers_of, bytes, honours, is_replay, large, memory_of, payment, remembers};
use crate::harness::backend::Answer;
use crate::harness::client::Response;
use crate::harness::names::Topics;
use crate::harness::records::read_all;
use crate::harness::spec::Spec;
use crate::harness::topics::{count, create_limited_topic, create_topic, delete_topic, partitions, topic_setting};

const SIZE: usize = 5_000_000;

/// The answer is that of the first call.
fn assert_first(answer: &Response, replays: bool) {
    assert_eq!((answer.status, is_replay(answer)), (200, replays), "{}", answer.text());
    assert_eq!(answer.all("location"), ["/payments/0"]);
    assert_eq!(
        (answer.body.len(), sha256(&answer.body)),
        (SIZE, sha256(&bytes(0, SIZE)))
    );
}

#[tokio::test]
async fn a_repeat_gets_all_of_a_large_answer_from_any_proxy() {
    let once = Once::start(large(SIZE).await).await;
    let second = honours(&once.topics).start().await;
    assert_first(&once.pay("k", "ten").await, false);
    for proxy in [&once.proxy, &second, &second] {
        assert_first(&proxy.request(payment("k", "ten")).await, true);
    }
    let metrics = once.processor.metrics().await;
    assert_eq!(metrics.sum("processor_idempotency_replayed_total", &[]), 3.0);
    assert_eq!(metrics.sum("processor_idempotency_remembered_total", &[]), 1.0);
    assert_eq!(metrics.sum("processor_idempotency_storing", &[]), 0.0);
    // Also where another processor had called.
    once.processor.signal("KILL");
    let _next = remembers(&once.topics, &once.backend).start().await;
    assert_first(&once.pay("k", "ten").await, true);
    assert_eq!(once.backend.count(), 1);
    assert_eq!(once.pay("other", "ten").await.body, bytes(1, SIZE));
}

#[tokio::test]
async fn its_body_lies_in_a_topic_of_its_own() {
    let once = Once::start(large(SIZE).await).await;
    assert_first(&once.pay("k", "ten").await, false);
    let answers = answers_of(&once.topics);
    assert_eq!(partitions(&answers), partitions(&once.topics.request));
    assert_eq!(topic_setting(&answers, "cleanup.policy").await, "delete");
    assert_eq!(topic_setting(&answers, "retention.ms").await, "90000000");
    let (of_request, pieces) = (read_all(&once.topics.request).await, read_all(&answers).await);
    assert!(pieces.iter().all(|piece| piece.partition == of_request[0].partition));
    let kept: usize = pieces
        .iter()
        .map(|piece| piece.value.as_ref().map_or(0, Vec::len))
        .sum();
    assert_eq!((kept, pieces.len()), (SIZE, SIZE.div_ceil(256 << 10)));
    let mark = &read_all(&once.memory()).await[0];
    // A version that knows of no place refuses repeats, and does not run them.
    assert_eq!(mark.header_text("khp-idempotency-state"), "too-large");
    assert_eq!(mark.header("khp-stream"), pieces[0].header("kafka_correlationId"));
    assert_eq!(mark.header_text("khp-body-length"), SIZE.to_string());
    assert_eq!(mark.value.as_deref().unwrap_or_default(), b"");
    let log = once.processor.log();
    assert!(!log.contains("ERROR"), "a new topic is no fault: {log}");
    // One that fits into a record is in the memory alone.
    once.backend.answer_with(|_| Answer::body("small"));
    assert_eq!(once.pay("small", "ten").await.text(), "small");
    assert_eq!(count(&answers), pieces.len() as i64);
}

#[tokio::test]
async fn an_answer_that_is_gone_does_not_run_again() {
    let once = Once::start(large(SIZE).await).await;
    assert_first(&once.pay("k", "ten").await, false);
    delete_topic(&answers_of(&once.topics)).await;
    once.pay("k", "ten").await.assert_problem(502, "outcome-unknown");
    assert_eq!(once.processor.logged("a remembered answer cannot be read"), 1);
    assert_eq!(once.backend.count(), 1);
    // The topic comes back with the next one.
    assert_eq!(once.pay("other", "ten").await.body, bytes(1, SIZE));
    assert_eq!(once.pay("other", "ten").await.body, bytes(1, SIZE));
    assert_eq!(once.backend.count(), 2);
}

#[tokio::test]
async fn an_answer_over_the_limit_comes_once_and_does_not_run_again() {
    let limited = |processor: Spec| processor.set_topics("max_remembered_answer", "4MiB");
    let once = Once::start_with(large(SIZE).await, |proxy| proxy, limited).await;
    assert_first(&once.pay("k", "ten").await, false);
    for _ in 0..2 {
        once.pay("k", "ten").await.assert_problem(502, "response-too-large");
    }
    assert_eq!(once.backend.count(), 1);
}

#[tokio::test]
async fn a_topic_that_cannot_be_made_costs_the_first_client_nothing() {
    let (topics, backend) = (Topics::unique("payments"), large(SIZE).await);
    let control = format!("{}-control", topics.request);
    for topic in [&topics.request, &topics.response, &control, &memory_of(&topics)] {
        create_topic(topic, 1).await;
    }
    let processor = remembers(&topics, &backend).set("create_topics.enabled", false);
    let processor = processor.start().await;
    let proxy = honours(&topics).start().await;
    assert_first(&proxy.request(payment("k", "ten")).await, false);
    let refused = proxy.request(payment("k", "ten")).await;
    refused.assert_problem(502, "response-too-large");
    assert_eq!(
        (backend.count(), processor.logged("large answers are not remembered")),
        (1, 1)
    );
}

#[tokio::test]
async fn a_topic_of_small_records_takes_the_first_answer() {
    let (topics, backend) = (Topics::unique("payments"), large(SIZE).await);
    create_limited_topic(&answers_of(&topics), 100_000).await;
    let _processor = remembers(&topics, &backend).start().await;
    let proxy = honours(&topics).start().await;
    for replays in [false, true] {
        assert_first(&proxy.request(payment("k", "ten")).await, replays);
    }
    assert_eq!(backend.count(), 1);
}

#[tokio::test]
async fn a_client_that_takes_no_stream_gets_no_part_of_it() {
    let once = Once::start(large(SIZE).await).await;
    let whole = honours(&once.topics).set("streaming", "off").start().await;
    assert_first(&once.pay("k", "ten").await, false);
    let refused = whole.request(payment("k", "ten")).await;
    refused.assert_problem(502, "response-too-large");
    assert_first(&once.pay("k", "ten").await, true);
    assert_eq!(once.backend.count(), 1);
}

#[tokio::test]
async fn at_most_once_a_large_answer_comes_again_too() {
    let at_most_once = |processor: Spec| processor.set_topics("delivery", "at-most-once");
    let once = Once::start_with(large(SIZE).await, |proxy| proxy, at_most_once).await;
    for replays in [false, true] {
        assert_first(&once.pay("k", "ten").await, replays);
    }
    let states: Vec<_> = read_all(&once.memory())
        .await
        .iter()
        .map(|mark| mark.header_text("khp-idempotency-state"))
        .collect();
    assert_eq!(
        (states, once.backend.count()),
        (vec!["begun".into(), "too-large".into()], 1)
    );
}

#[tokio::test]
async fn a_large_answer_of_a_sealed_request_is_kept_sealed() {
    let seals = json!({ "keys": [{ "id": "one", "secret": "0123456789abcdef0123456789abcdef" }], "require": true });
    let once = Once::start_with(
        large(SIZE).await,
        |proxy| proxy.set("sealing", seals.clone()),
        |processor| processor.set("sealing", seals.clone()),
    )
    .await;
    for replays in [false, true] {
        assert_first(&once.pay("k", "ten").await, replays);
    }
    once.processor.signal("KILL");
    let next = remembers(&once.topics, &once.backend).set("sealing", seals.clone());
    let _next = next.start().await;
    assert_first(&once.pay("k", "ten").await, true);
    assert_eq!(once.backend.count(), 1);
    let clear = bytes(0, SIZE);
    for piece in read_all(&answers_of(&once.topics)).await {
        let value = piece.value.clone().unwrap_or_default();
        assert!(piece.header("khp-seal-key").is_some() && value.len() > 100);
        let part = &value[32..64];
        assert!(!clear.windows(part.len()).any(|window| window == part));
    }
    let mark = &read_all(&once.memory()).await[0];
    assert_eq!((mark.header(":status"), mark.header("khp-body-first")), (None, None));
}
