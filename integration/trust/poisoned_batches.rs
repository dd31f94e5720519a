//! A batch that cannot be unpacked: whoever may write to a topic can write one. It is passed over, and nothing is restarted.

use std::time::{Duration, Instant};

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::packed::{TOO_MUCH, produce_packed};
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{count, create_limited_topic, create_topic, topic_setting, wait_for_commit};
use crate::harness::wait::{eventually, long};

/// Within this, requests are answered again.
const AGAIN: Duration = Duration::from_secs(15);

/// Sends a request and asserts that it is answered in time.
async fn assert_answers(proxy: &Service) {
    let sent = Instant::now();
    proxy.request(Request::post("/", "again")).await.assert_echo("again");
    println!("answered again after {:?}", sent.elapsed());
    assert!(sent.elapsed() < AGAIN, "{:?}", sent.elapsed());
}

async fn assert_passed_over(service: &Service, metric: &str, batches: f64) {
    service.wait_for_metric(metric, &[], batches).await;
    assert_eq!(
        service.logged("cannot be unpacked and is passed over"),
        batches as usize
    );
    assert_eq!(service.health("/health/ready").await, Some(200));
    service.assert_no_restarts().await;
}

#[tokio::test]
async fn a_processor_passes_over_what_it_cannot_unpack() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    // The records beside the large one are lost with their batch, and no others.
    produce_packed(&topics.request, 0, "zstd", &[10, 10, TOO_MUCH, 10, 10], &[]).await;
    assert_answers(&proxy).await;
    assert_passed_over(&processor, "processor_poisoned_batches_total", 1.0).await;
    assert!(processor.log().contains("first=0 last=4"), "{}", processor.log());
    // At the end of the log as well: nothing comes behind it that would show its end.
    produce_packed(&topics.request, 0, "zstd", &[TOO_MUCH, 10], &[]).await;
    wait_for_commit(&topics.group, &topics.request, 8).await;
    assert_passed_over(&processor, "processor_poisoned_batches_total", 2.0).await;
    assert_answers(&proxy).await;
    assert_eq!(backend.received().len(), 2);
}

#[tokio::test]
async fn a_proxy_passes_over_what_it_cannot_unpack() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    produce_packed(&topics.response, 0, "zstd", &[10, TOO_MUCH, 10], &[]).await;
    assert_answers(&proxy).await;
    assert_passed_over(&proxy, "proxy_poisoned_batches_total", 1.0).await;
    assert!(proxy.log().contains("first=0 last=2"), "{}", proxy.log());
}

/// Whatever packs it: some codecs are given up at a limit, and what others unpack is larger than a record may be.
#[tokio::test]
async fn no_codec_makes_a_bomb_that_stops_anybody() {
    let topics = Topics::unique("orders");
    // Snappy packs to a twentieth at best.
    for topic in [&topics.request, &topics.response] {
        create_limited_topic(topic, 20 << 20).await;
    }
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    assert_answers(&proxy).await;
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        for topic in [&topics.request, &topics.response] {
            produce_packed(topic, 0, codec, &[TOO_MUCH], &[]).await;
        }
        print!("{codec}: ");
        assert_answers(&proxy).await;
    }
    for service in [&processor, &proxy] {
        assert_eq!(service.health("/health/ready").await, Some(200));
        service.assert_no_restarts().await;
    }
    let (taken, given) = (processor.metrics().await, proxy.metrics().await);
    let of = |metrics: &crate::harness::metrics::Metrics, name: &str| metrics.sum(name, &[]) as usize;
    println!(
        "processor: {} poisoned, {} oversized; proxy: {} poisoned, {} oversized",
        of(&taken, "processor_poisoned_batches_total"),
        of(&taken, "processor_oversized_records_total"),
        of(&given, "proxy_poisoned_batches_total"),
        of(&given, "proxy_oversized_replies_total"),
    );
}

#[tokio::test]
async fn many_batches_that_cannot_be_unpacked_are_passed_over_quickly() {
    // Packing them takes the time.
    let many = if long() { 20 } else { 3 };
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    for _ in 0..many {
        produce_packed(&topics.request, 0, "zstd", &[TOO_MUCH], &[]).await;
    }
    let backend = Backend::echo().await;
    let proxy = proxy(&topics).start().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let began = Instant::now();
    processor
        .wait_for_metric("processor_poisoned_batches_total", &[], many as f64)
        .await;
    let each = began.elapsed() / many;
    println!("{each:?} for each of {many} batches");
    assert!(each < Duration::from_secs(1), "{each:?}");
    assert_answers(&proxy).await;
}

#[tokio::test]
async fn topics_of_ours_take_no_more_than_they_unpack_to() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    assert_answers(&proxy).await;
    for topic in [&topics.request, &topics.response] {
        assert_eq!(
            topic_setting(topic, "compression.type").await,
            "uncompressed",
            "{topic}"
        );
    }
    // The broker measures what it unpacked, so nothing that it takes is too much for us.
    produce_packed(&topics.request, 0, "gzip", &[2 << 20], &[]).await;
    assert_eq!(count(&topics.request), 1);
    assert_eq!(processor.logged("takes compressed batches"), 0);
    assert_eq!(proxy.logged("takes compressed batches"), 0);
}

#[tokio::test]
async fn a_topic_that_takes_packed_batches_is_warned_about() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let proxy = proxy(&topics).start().await;
    for topic in [&topics.request, &topics.response] {
        eventually("a warning", async || {
            let log = proxy.log();
            let warned = |line: &str| line.contains("takes compressed batches") && line.contains(topic);
            log.lines().any(warned).then_some(()).ok_or(log)
        })
        .await;
    }
}
