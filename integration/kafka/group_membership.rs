//! Other kinds of membership in a consumer group: static (`group_instance_id`), and KIP-848 (`group.protocol=consumer`).

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::Topics;
use crate::harness::app::{App, Spec, processor, proxy};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::load::{Load, OnClose};
use crate::harness::topics::create_topic;
use crate::harness::wait::eventually;

/// A session is over after 45 s, by KIP-848's default and where a test sets it: what took less did not wait for that.
const NO_SESSION: Duration = Duration::from_secs(40);

fn kip_848(spec: Spec) -> Spec {
    spec.set("kafka.properties", json!({ "group.protocol": "consumer" }))
}

/// A member with a name of its own. However late a busy machine brings it back, its session (10 s otherwise) is not over.
fn named(spec: Spec, id: &str) -> Spec {
    spec.set("kafka.properties", json!({ "session.timeout.ms": "45000" }))
        .set_topics("group_instance_id", id)
}

async fn echo() -> Backend {
    Backend::start(|received| Answer::body(received.body.clone())).await
}

/// The partitions of a processor with one worker.
async fn partitions(app: &App, topics: &Topics) -> Vec<i64> {
    let status = app.topic_status(&topics.request).await;
    let partitions = status["workers"][0]["partitions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    partitions.iter().filter_map(serde_json::Value::as_i64).collect()
}

/// Waits until each of them has this many partitions.
async fn wait_for_shares(apps: &[&App], topics: &Topics, share: usize) {
    eventually("each has its share", async || {
        let mut shares = Vec::new();
        for app in apps {
            shares.push(partitions(app, topics).await);
        }
        match shares.iter().all(|found| found.len() == share) {
            true => Ok(()),
            false => Err(format!("{shares:?}")),
        }
    })
    .await;
}

/// One of two members ends by a signal and is started again.
async fn return_after(signal: &str, spec: impl Fn(&str) -> Spec, topics: &Topics) {
    let (mut dying, staying) = (spec("one").start().await, spec("two").start().await);
    wait_for_shares(&[&dying, &staying], topics, 2).await;
    let (had, kept) = (partitions(&dying, topics).await, partitions(&staying, topics).await);
    let moves = |app: &App| app.logged("partitions assigned") + app.logged("partitions revoked");
    let before = moves(&staying);
    dying.signal(signal).await;
    dying.wait_exit().await;
    let gone = Instant::now();
    let returned = spec("one").start().await;
    eventually("it has what it had", async || {
        match partitions(&returned, topics).await {
            found if found == had => Ok(()),
            found => Err(format!("{found:?}, not {had:?}")),
        }
    })
    .await;
    assert!(gone.elapsed() < NO_SESSION, "{:?}", gone.elapsed());
    let proxy = proxy(topics).start().await;
    let load = Load::start(&proxy.address(), 8, OnClose::Reconnect, |body| Request::post("/", body));
    eventually("both work", async || {
        let mut done = Vec::new();
        for app in [&returned, &staying] {
            done.push(app.metrics().await.sum("processor_messages_total", &[]));
        }
        if done.iter().all(|done| *done > 5.0) {
            Ok(())
        } else {
            Err(format!("{done:?}"))
        }
    })
    .await;
    assert_eq!(load.finish().await.failures, Vec::<String>::new());
    assert_eq!(partitions(&staying, topics).await, kept);
    assert_eq!(
        moves(&staying),
        before,
        "the other never heard of it: {}",
        staying.log()
    );
    proxy.wait_until_idle().await;
}

#[tokio::test]
async fn a_static_member_that_is_killed_and_returns_in_time_moves_no_partitions() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 4).await;
    let backend = echo().await;
    let spec = |id: &str| named(processor(&[(&topics, &backend.url())]), id);
    return_after("KILL", spec, &topics).await;
}

#[tokio::test]
async fn a_static_member_that_is_stopped_and_returns_in_time_moves_no_partitions() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 4).await;
    let backend = echo().await;
    let spec = |id: &str| named(processor(&[(&topics, &backend.url())]), id);
    return_after("TERM", spec, &topics).await;
}

#[tokio::test]
async fn without_a_static_name_whoever_returns_is_somebody_new() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 4).await;
    let backend = echo().await;
    let spec = processor(&[(&topics, &backend.url())]);
    let (dying, staying) = (spec.clone().start().await, spec.clone().start().await);
    wait_for_shares(&[&dying, &staying], &topics, 2).await;
    let before = staying.logged("partitions assigned");
    dying.signal("KILL").await;
    let _returned = spec.start().await;
    eventually("the group divides its partitions anew", async || {
        match staying.logged("partitions assigned") {
            more if more > before => Ok(()),
            same => Err(format!("{same}")),
        }
    })
    .await;
}

#[tokio::test]
async fn kip_848_divides_partitions_and_moves_them_when_a_member_leaves() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 4).await;
    let backend = echo().await;
    let spec = kip_848(processor(&[(&topics, &backend.url())]));
    let mut first = spec.clone().start().await;
    wait_for_shares(&[&first], &topics, 4).await;
    let proxy = proxy(&topics).start().await;
    let load = Load::start(&proxy.address(), 8, OnClose::Reconnect, |body| Request::post("/", body));
    load.wait_for_more(50).await;
    let second = spec.start().await;
    wait_for_shares(&[&first, &second], &topics, 2).await;
    load.wait_for_more(50).await;
    first.signal("TERM").await;
    assert_eq!(first.wait_exit().await, Some(0));
    let gone = Instant::now();
    wait_for_shares(&[&second], &topics, 4).await;
    assert!(gone.elapsed() < NO_SESSION, "{:?}", gone.elapsed());
    load.wait_for_more(50).await;
    let report = load.finish().await;
    assert_eq!(report.failures, Vec::<String>::new());
    println!(
        "KIP-848: {} answered, {} calls doubled, slowest {:?}",
        report.answered,
        backend.count() - report.answered,
        report.slowest
    );
    proxy.wait_until_idle().await;
    second.wait_until_idle().await;
}

#[tokio::test]
async fn a_static_member_under_kip_848_that_is_stopped_and_returns_moves_no_partitions() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 4).await;
    let backend = echo().await;
    let spec = |id: &str| kip_848(processor(&[(&topics, &backend.url())])).set_topics("group_instance_id", id);
    // After kill -9 the broker keeps the name for the dead until its session is over (45 s): README, "Groups".
    return_after("TERM", spec, &topics).await;
}
