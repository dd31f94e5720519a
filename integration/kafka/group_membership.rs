//! Two other kinds of membership in a consumer group: static (`group_instance_id`), and the protocol of KIP-848
//! (`group.protocol=consumer`).

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::load::{Load, OnClose};
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::topics::create_topic;
use crate::harness::wait::eventually;

/// Less than a session of 45 s, which is the default of KIP-848 and the one that these tests set. What takes less than
/// this did not wait for the end of a session.
const NO_SESSION: Duration = Duration::from_secs(40);

fn kip_848(spec: Spec) -> Spec {
    spec.set("kafka.properties", json!({ "group.protocol": "consumer" }))
}

/// A static member. Its session of 45 s (10 s by default) is not over when a busy machine brings it back late.
fn named(spec: Spec, id: &str) -> Spec {
    spec.set("kafka.properties", json!({ "session.timeout.ms": "45000" }))
        .set_topics("group_instance_id", id)
}

async fn echo() -> Backend {
    Backend::start(Answer::same_body).await
}

/// Waits until each processor has this many partitions.
async fn wait_for_shares(members: &[&Service], topics: &Topics, share: usize) {
    eventually("each has its share", async || {
        let mut shares = Vec::new();
        for member in members {
            shares.push(member.partitions(&topics.request).await);
        }
        match shares.iter().all(|found| found.len() == share) {
            true => Ok(()),
            false => Err(format!("{shares:?}")),
        }
    })
    .await;
}

/// A signal ends one of two members, and it starts again.
async fn return_after(signal: &str, spec: impl Fn(&str) -> Spec, topics: &Topics) {
    let (mut dying, staying) = (spec("one").start().await, spec("two").start().await);
    wait_for_shares(&[&dying, &staying], topics, 2).await;
    let (had, kept) = (
        dying.partitions(&topics.request).await,
        staying.partitions(&topics.request).await,
    );
    let moves = |member: &Service| member.logged("partitions assigned") + member.logged("partitions revoked");
    let before = moves(&staying);
    dying.signal(signal);
    dying.wait_exit().await;
    let gone = Instant::now();
    let returned = spec("one").start().await;
    eventually("it has its partitions again", async || {
        match returned.partitions(&topics.request).await {
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
        for member in [&returned, &staying] {
            done.push(member.metrics().await.sum("processor_messages_total", &[]));
        }
        if done.iter().all(|done| *done > 5.0) {
            Ok(())
        } else {
            Err(format!("{done:?}"))
        }
    })
    .await;
    assert_eq!(load.finish().await.failures, Vec::<String>::new());
    assert_eq!(staying.partitions(&topics.request).await, kept);
    assert_eq!(
        moves(&staying),
        before,
        "the other member saw no rebalance: {}",
        staying.log()
    );
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
async fn a_member_without_a_static_name_returns_as_a_new_member() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 4).await;
    let backend = echo().await;
    let spec = processor(&[(&topics, &backend.url())]);
    let (dying, staying) = (spec.clone().start().await, spec.clone().start().await);
    wait_for_shares(&[&dying, &staying], &topics, 2).await;
    let before = staying.logged("partitions assigned");
    dying.signal("KILL");
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
    let first = spec.clone().start().await;
    wait_for_shares(&[&first], &topics, 4).await;
    let proxy = proxy(&topics).start().await;
    let load = Load::start(&proxy.address(), 8, OnClose::Reconnect, |body| Request::post("/", body));
    load.wait_for_more(50).await;
    let second = spec.start().await;
    wait_for_shares(&[&first, &second], &topics, 2).await;
    load.wait_for_more(50).await;
    first.stop().await;
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
}

#[tokio::test]
async fn a_static_member_under_kip_848_that_is_stopped_and_returns_moves_no_partitions() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 4).await;
    let backend = echo().await;
    let spec = |id: &str| kip_848(processor(&[(&topics, &backend.url())])).set_topics("group_instance_id", id);
    // After kill -9 the broker keeps the name for the killed member until its session is over (45 s), so this test stops it.
    return_after("TERM", spec, &topics).await;
}
