//! Several workers on one topic share its partitions and its limits, and end together.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::records::{job, produce_all};
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{create_topic, wait_for_commit};
use crate::harness::wait::{PATIENCE, eventually, long, within};

async fn wait_for_shares(app: &Service, topic: &str, shares: &[usize]) {
    eventually("each worker has its share", async || {
        let status = app.topic_status(topic).await;
        let workers = status["workers"].as_array().cloned().unwrap_or_default();
        let share = |worker: &serde_json::Value| worker["partitions"].as_array().map_or(0, Vec::len);
        match workers.iter().map(share).collect::<Vec<_>>() {
            found if found == shares => Ok(()),
            _ => Err(status.to_string()),
        }
    })
    .await;
}

#[tokio::test]
async fn two_workers_share_partitions_and_rate_limit() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 4).await;
    let (came, mut calls) = mpsc::unbounded_channel();
    let backend = Backend::start(move |received| {
        came.send(Instant::now()).expect("the test listens");
        Answer::echo(received)
    })
    .await;
    let processor = processor(&[(&topics, &backend.url())])
        .set_topics("workers", 2)
        .set_topics("rate_limit", 20)
        .start()
        .await;
    wait_for_shares(&processor, &topics.request, &[2, 2]).await;
    for partition in 0..4 {
        let records = (0..10).map(|number| job((partition * 10 + number).to_string()));
        produce_all(&topics.request, partition, records).await;
    }
    backend.wait_for_calls(40).await;
    let mut times = Vec::new();
    calls.recv_many(&mut times, 40).await;
    // The median time of ten calls is half a second. With a limit for each worker it would be half of that. The median
    // counts, because a busy machine delays some calls.
    let mut runs: Vec<Duration> = times.windows(11).map(|run| run[10] - run[0]).collect();
    runs.sort();
    let middle = runs[runs.len() / 2];
    println!("ten of 40 records at 20/s through two workers took {middle:?}");
    assert!(middle >= Duration::from_millis(400), "{runs:?}");
    wait_for_commit(&topics.group, &topics.request, 40).await;
    assert_eq!(backend.received().len(), 40);
}

#[tokio::test]
async fn two_workers_drain_together() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 4).await;
    let (open, gate) = watch::channel(false);
    let backend = Backend::start(move |received| Answer::same_body(received).until(&gate)).await;
    let mut processor = processor(&[(&topics, &backend.url())])
        .set_topics("workers", 2)
        .set("revoke_timeout", 60)
        .start()
        .await;
    wait_for_shares(&processor, &topics.request, &[2, 2]).await;
    let proxy = proxy(&topics).start().await;
    let mut waiting = Vec::new();
    for number in 0..40 {
        waiting.push(proxy.leave_waiting(&Request::post("/", number.to_string())).await);
    }
    backend.wait_for_calls(40).await;
    processor.signal("TERM");
    eventually("draining", async || processor.expect_health("/health/ready", 503).await).await;
    open.send_replace(true);
    for client in &mut waiting {
        assert_eq!(client.read_response(false).await.expect("an answer").status, 200);
    }
    assert_eq!(processor.wait_exit().await, Some(0));
    assert_eq!(backend.received().len(), 40, "each was executed once");
    wait_for_commit(&topics.group, &topics.request, 40).await;
}

/// One partition keeps a slow backend as busy as `concurrency` allows.
#[tokio::test]
async fn one_partition_feeds_64_calls_at_once() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    let records = if long() { 20_000 } else { 2_000 };
    let (open, gate) = watch::channel(false);
    let backend = Backend::start(move |received| {
        let answer = Answer::same_body(received).after(Duration::from_millis(100));
        answer.until(&gate)
    })
    .await;
    produce_all(&topics.request, 0, (0..records).map(|number| job(number.to_string()))).await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set_topics("concurrency", 64)
        .start()
        .await;
    // No call is answered before all of them have come.
    backend.wait_for_calls(64).await;
    open.send_replace(true);
    let first = Instant::now();
    within(PATIENCE * 4, "all calls have come", async || match backend.count() {
        all if all >= records => Ok(()),
        some => Err(some.to_string()),
    })
    .await;
    let rate = records as f64 / first.elapsed().as_secs_f64();
    let most = backend.most_at_once();
    println!("{records} calls of 100 ms from one partition: {rate:.0}/s, at most {most} at once (64 allowed)");
    assert_eq!(most, 64);
    wait_for_commit(&topics.group, &topics.request, records as i64).await;
}
