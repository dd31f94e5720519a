//! What was done behind a slow record stays done: neither a kill nor a rebalance has it executed again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::watch;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::kafka::Node;
use crate::harness::names::Topics;
use crate::harness::records::{job, produce_all};
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::topics::{create_topic, wait_for_commit};
use crate::harness::wait::{eventually, long};

/// Commits go out five times a second.
const COMMITTED: Duration = Duration::from_millis(1500);

fn quick_to_notice(spec: Spec) -> Spec {
    let properties = json!({ "session.timeout.ms": "6000", "heartbeat.interval.ms": "1000" });
    spec.set("kafka.properties", properties)
}

/// A backend that answers `slow…` only when the gate is open.
async fn backend(gate: &watch::Receiver<bool>) -> Backend {
    let gate = gate.clone();
    Backend::start(move |received| {
        let answer = Answer::same_body(received);
        if received.text().starts_with("slow") {
            answer.until(&gate)
        } else {
            answer
        }
    })
    .await
}

/// Bodies that came more than once, `slow` ones apart.
fn executed_twice(backend: &Backend) -> usize {
    let mut calls: HashMap<String, usize> = HashMap::new();
    for received in backend.received() {
        *calls.entry(received.text()).or_default() += 1;
    }
    let twice = |(body, calls): &(&String, &usize)| **calls > 1 && !body.starts_with("slow");
    calls.iter().filter(twice).count()
}

async fn slow_and_quick(topics: &Topics, partition: i32, quick: usize) {
    let slow = std::iter::once(job(format!("slow {partition}")));
    let records = slow.chain((0..quick).map(|number| job(format!("quick {partition}-{number}"))));
    produce_all(&topics.request, partition, records).await;
}

#[tokio::test]
async fn a_kill_repeats_nothing_that_was_done_behind_a_slow_record() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let (open, gate) = watch::channel(false);
    let backend = backend(&gate).await;
    let spec = quick_to_notice(processor(&[(&topics, &backend.url())]));
    let first = spec.clone().start().await;
    slow_and_quick(&topics, 0, 300).await;
    backend.wait_for_calls(301).await;
    first.wait_for_metric("processor_messages_in_flight", &[], 1.0).await;
    tokio::time::sleep(COMMITTED).await;
    first.signal("KILL");
    let _second = spec.start().await;
    eventually("the slow one is executed again", async || {
        match backend.calls_with_body("slow 0") {
            2 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    open.send_replace(true);
    wait_for_commit(&topics.group, &topics.request, 301).await;
    let twice = executed_twice(&backend);
    println!("a kill behind a slow record: {twice} of 300 executed twice");
    assert_eq!(twice, 0);
}

#[tokio::test]
async fn a_rebalance_repeats_nothing_that_was_done_behind_a_slow_record() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 2).await;
    create_topic(&topics.response, 1).await;
    let (open, gate) = watch::channel(false);
    let backend = backend(&gate).await;
    let spec = processor(&[(&topics, &backend.url())]).set_topics("timeout", 60);
    let first = spec.clone().start().await;
    for partition in 0..2 {
        slow_and_quick(&topics, partition, 100).await;
    }
    backend.wait_for_calls(202).await;
    first.wait_for_metric("processor_messages_in_flight", &[], 2.0).await;
    let _second = spec.start().await;
    eventually("a slow one is executed again by the other", async || {
        match backend.received().len() {
            202 => Err("not yet".into()),
            _ => Ok(()),
        }
    })
    .await;
    open.send_replace(true);
    wait_for_commit(&topics.group, &topics.request, 202).await;
    let twice = executed_twice(&backend);
    println!("a rebalance behind a slow record: {twice} of 200 executed twice");
    assert_eq!(twice, 0);
}

/// `offset.metadata.max.bytes` is the broker's: where it is small, less is remembered, and the offset is committed all the same.
#[tokio::test]
async fn a_broker_that_takes_hardly_any_metadata_still_takes_commits() {
    for limit in [0, 50] {
        let kafka = Node::try_start(&[&format!("offset.metadata.max.bytes={limit}")]).expect("a node");
        let topics = Topics::unique("orders");
        let backend = Backend::echo().await;
        let spec = processor(&[(&topics, &backend.url())]).on(kafka.brokers());
        let first = spec.clone().start().await;
        let proxy = proxy(&topics).on(kafka.brokers()).start().await;
        for number in 0..20 {
            assert_eq!(proxy.request(Request::post("/", number.to_string())).await.status, 200);
        }
        // Exit code 0: the last commit was taken.
        first.stop().await;
        let _second = spec.start().await;
        assert_eq!(proxy.request(Request::post("/", "next")).await.status, 200);
        assert_eq!(backend.received().len(), 21);
    }
}

/// Every fiftieth record is slow, processors are killed and join under way: how many were executed twice?
#[tokio::test]
async fn kills_and_joins_under_load_repeat_only_what_was_under_way() {
    const PARTITIONS: i32 = 8;
    const CONCURRENCY: usize = 32;
    let (kills, joins, records) = if long() { (12, 60, 8000) } else { (2, 4, 1200) };
    let topics = Topics::unique("orders");
    create_topic(&topics.request, PARTITIONS).await;
    create_topic(&topics.response, 4).await;
    let backend = Backend::start(|received| {
        let answer = Answer::same_body(received);
        let number: usize = received.text().parse().unwrap_or(0);
        answer.after(Duration::from_millis(if number.is_multiple_of(50) { 2000 } else { 10 }))
    })
    .await;
    let per_partition = records / PARTITIONS as usize;
    for partition in 0..PARTITIONS {
        let numbers = (0..per_partition).map(|number| job((partition as usize * per_partition + number).to_string()));
        produce_all(&topics.request, partition, numbers).await;
    }
    let spec = quick_to_notice(processor(&[(&topics, &backend.url())])).set_topics("concurrency", CONCURRENCY);
    let mut processors: Vec<Service> = vec![spec.clone().start().await, spec.clone().start().await];
    let began = Instant::now();
    for round in 0..kills + joins {
        let dying = processors.remove(0);
        processors.push(spec.clone().launch().await);
        match round % (kills + joins) % (joins / kills + 1) {
            0 => dying.signal("KILL"),
            _ => dying.signal("TERM"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Let go of it only when it has ended by itself.
        let mut dying = dying;
        dying.wait_exit().await;
    }
    wait_for_commit(&topics.group, &topics.request, records as i64).await;
    let twice = backend.received().len() - records;
    println!(
        "{records} records, {kills} kills, {joins} joins, {:?}: {twice} executed twice",
        began.elapsed()
    );
    // A kill repeats the calls under way, and those that ended since the last commit. That goes out five times a second.
    assert!(twice <= kills * (CONCURRENCY + 200), "{twice}");
}
