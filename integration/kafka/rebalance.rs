//! Processors join and leave under load, and no client notices.

use std::time::{Duration, Instant};

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::load::{Load, OnClose};
use crate::harness::names::Topics;
use crate::harness::records::produce_job;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{create_topic, wait_for_commit};
use crate::harness::wait::{eventually, long};

#[tokio::test]
async fn processors_that_join_and_leave_every_second_fail_no_request() {
    let rounds = if long() { 60 } else { 6 };
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 8).await;
    let backend = Backend::start(|received| Answer::same_body(received).after(Duration::from_millis(20))).await;
    let spec = processor(&[(&topics, &backend.url())]);
    let mut processors = vec![spec.clone().start().await, spec.clone().start().await];
    let (one, two) = (proxy(&topics).start().await, proxy(&topics).start().await);
    let loads = [&one, &two].map(|proxy| {
        Load::start(&proxy.address(), 12, OnClose::Reconnect, |body| {
            Request::post("/load", body)
        })
    });
    for round in 0..rounds {
        let began = Instant::now();
        processors.push(spec.clone().launch().await);
        let mut leaving = processors.remove(0);
        leaving.signal("TERM");
        assert_eq!(leaving.wait_exit().await, Some(0), "round {round}");
        for load in &loads {
            load.wait_for_more(10).await;
        }
        tokio::time::sleep(Duration::from_secs(1).saturating_sub(began.elapsed())).await;
    }
    let (mut answered, mut slowest) = (0, Duration::ZERO);
    for load in loads {
        let report = load.finish().await;
        assert_eq!(report.failures, Vec::<String>::new());
        answered += report.answered;
        slowest = slowest.max(report.slowest);
    }
    println!(
        "{rounds} joins and {rounds} leaves: {answered} answered, none failed, {} calls doubled, slowest {slowest:?}",
        backend.count() - answered
    );
}

#[tokio::test]
async fn a_partition_that_moves_waits_for_its_running_calls() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 2).await;
    // Longer than a processor takes to join, and shorter than a revocation waits.
    let backend = Backend::start(|_| Answer::body("done").after(Duration::from_secs(12))).await;
    let spec = processor(&[(&topics, &backend.url())]).set("revoke_timeout", 60);
    let first = spec.clone().start().await;
    for partition in 0..2 {
        produce_job(&topics.request, partition, None, "POST", &partition.to_string()).await;
    }
    backend.wait_for_calls(2).await;
    let second = spec.launch().await;
    let partitions = async |processor: &Service| processor.topic_status(&topics.request).await["partitions"].clone();
    eventually("the revocation has begun", async || {
        match first.logged("partitions wait for their calls") {
            0 => Err(first.log()),
            _ => Ok(()),
        }
    })
    .await;
    assert_eq!(
        first.metrics().await.sum("processor_messages_in_flight", &[]),
        2.0,
        "both calls run"
    );
    eventually("one partition each", async || {
        match (partitions(&first).await, partitions(&second).await) {
            (one, other) if one == 1 && other == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(
        first.metrics().await.sum("processor_messages_in_flight", &[]),
        0.0,
        "the revocation waited for the calls"
    );
    wait_for_commit(&topics.group, &topics.request, 2).await;
    // The next records show that no record is executed twice before them.
    for partition in 0..2 {
        produce_job(&topics.request, partition, None, "POST", &format!("{partition} later")).await;
    }
    wait_for_commit(&topics.group, &topics.request, 4).await;
    for partition in 0..2 {
        assert_eq!(backend.calls_with_body(&partition.to_string()), 1, "{partition}");
    }
    assert_eq!(backend.count(), 4);
}
