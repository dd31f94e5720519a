//! What a processor does with the records of the control topic, and without them.

use actix_khp::wire::Sealing;
use actix_khp::wire::control::Control;
use actix_khp::wire::sealing::keys::SealingKey;
use serde_json::json;

use super::requester::Requester;
use crate::harness::stream_backend::StreamBackend;
use crate::harness::topics::{add_partitions, create_topic, delete_topic, partitions, topic_setting, wait_for_topic};
use crate::harness::wait::eventually;

#[tokio::test]
async fn a_processor_creates_its_control_topic_and_is_not_ready_before_it_reads_it() {
    let (requester, processor, mut backend) = Requester::with_processor(|spec| spec).await;
    // It is ready, so it reads it.
    assert_eq!(processor.logged("reading the control topic"), 1);
    assert_eq!(
        topic_setting(&requester.control_topic(), "retention.ms").await,
        "3600000"
    );
    requester.ask("lives").await;
    let mut call = backend.next().await;
    call.chunked_head("text/event-stream").await;
    let head = requester.next().await;
    // Where it streams to, it shows that it lives.
    let alive = requester.next_alive().await;
    assert_eq!(alive.header("khp-instance"), head.0.header("khp-instance"));
    assert!(alive.header("khp-instance").is_some() && alive.header("khp-seal-key").is_none());
    call.last_chunk().await;
    requester.next().await.assert_ends(1, "");
}

#[tokio::test]
async fn where_the_control_topic_may_not_be_created_answers_are_whole_or_it_is_not_ready() {
    let requester = Requester::create().await;
    let mut backend = StreamBackend::start().await;
    let spec = requester.spec(&backend).set("create_topics.enabled", false);
    let auto = spec.clone().start().await;
    assert_eq!(auto.logged("the control topic cannot be read: answers are whole"), 1);
    requester.ask("whole").await;
    let mut call = backend.next().await;
    call.chunked_head("text/event-stream").await;
    call.chunk("data").await;
    requester.expect_nothing().await;
    call.last_chunk().await;
    assert_eq!(requester.next().await.seq(), None);
    auto.stop().await;

    let required = spec.set_topics("streaming", "required").launch().await;
    required.wait_for_metric("processor_active_consumers", &[], 1.0).await;
    let status = eventually("it says why", async || {
        let status = required.manage("/status").await.text();
        match status.contains("cannot be read, and streaming is required") {
            true => Ok(status),
            false => Err(status),
        }
    })
    .await;
    assert!(status.contains(&requester.control_topic()));
    assert_eq!(required.health("/health/ready").await, Some(503));
    // It is tried again.
    create_topic(&requester.control_topic(), 1).await;
    eventually("ready", async || required.expect_health("/health/ready", 200).await).await;
}

#[tokio::test]
async fn with_streaming_off_nothing_is_streamed_and_no_topic_created() {
    let (requester, _processor, mut backend) =
        Requester::with_processor(|spec| spec.set_topics("streaming", "off")).await;
    requester.ask("whole").await;
    let mut call = backend.next().await;
    call.chunked_head("text/event-stream").await;
    requester.expect_nothing().await;
    call.last_chunk().await;
    assert_eq!(requester.next().await.seq(), None);
    assert_eq!(partitions(&requester.control_topic()), 0);
}

#[tokio::test]
async fn new_partitions_and_a_new_topic_of_that_name_are_read() {
    let (requester, processor, mut backend) = Requester::with_processor(|spec| spec).await;
    let control = requester.control_topic();
    add_partitions(&control, 6).await;
    delete_topic(&control).await;
    wait_for_topic(&control).await;
    requester.ask("hangs").await;
    let mut call = backend.next().await;
    requester.cancel("hangs", None).await;
    call.closed().await;
    processor.assert_no_restarts().await;
}

/// Who has no key cannot end a call, and above all none that has not begun: its client would hear nothing.
#[tokio::test]
async fn where_seals_are_required_control_records_without_one_count_for_nothing() {
    const SECRET: &str = "a secret of at least 32 letters, yes";
    let keys = json!({"keys": [{"id": "k", "secret": SECRET}], "require": true});
    let (requester, processor, mut backend) = Requester::with_processor(|spec| spec.set("sealing", keys)).await;
    let sealing = Sealing {
        keys: vec![SealingKey::new("k", SECRET).expect("OpenSSL works")],
        require: true,
    };
    let unbelieved = "processor_unbelieved_controls_total";
    requester.cancel("sealed", None).await;
    processor.wait_for_metric(unbelieved, &[], 1.0).await;
    requester.ask_sealed(&sealing, "sealed").await;
    let mut call = backend.next().await;
    call.chunked_head("text/event-stream").await;
    requester.next().await;
    requester.cancel("sealed", None).await;
    processor.wait_for_metric(unbelieved, &[], 2.0).await;
    assert!(requester.next_alive().await.header("khp-seal-key").is_some());
    call.chunk("it goes on").await;
    requester.next().await;
    assert_eq!(processor.logged("a record of a control topic is not believed"), 1);
    let correlation_id = "sealed".into();
    let cancel = Control::Cancel {
        correlation_id,
        stream: None,
    };
    requester.steer_sealed(&sealing, cancel).await;
    call.closed().await;
    assert_eq!(processor.metrics().await.sum("processor_cancels_total", &[]), 1.0);
}
