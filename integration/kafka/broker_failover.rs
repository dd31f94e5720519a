//! Three brokers. While one of them is killed or hangs, every request is answered and the service stays ready. While
//! all of them are killed, every client gets a definite error; the service recovers when they are back.

use std::time::{Duration, Instant};

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::kafka::Cluster;
use crate::harness::load::{Load, OnClose};
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::wait::{long, off_thread, within};

/// Long enough for an election and the start of a broker on a busy machine.
const RECOVERED: Duration = Duration::from_secs(60);

fn load(proxy: &Service) -> Load {
    Load::start(&proxy.address(), 8, OnClose::Persist, |body| Request::post("/", body))
}

/// Waits until a request is answered, and returns how long that took.
async fn answered_again(proxy: &Service) -> Duration {
    let answered = async || match proxy.request(Request::post("/", "again")).await.status {
        200 => Ok(()),
        status => Err(format!("{status}")),
    };
    within(RECOVERED, "an answer", answered).await.1
}

/// Kills each broker under load, one after the other. At full length, freezes each of them too. No request fails,
/// because an election is not an outage.
async fn lose_one_at_a_time(mut cluster: Cluster, proxy: &Service) -> Cluster {
    let load = load(proxy);
    load.wait_for_more(100).await;
    for index in 0..if long() { 3 } else { 1 } {
        cluster.nodes[index].kill();
        load.wait_for_more(100).await;
        cluster = off_thread(move || {
            cluster.nodes[index].restart();
            cluster
        })
        .await;
        load.wait_for_more(100).await;
    }
    if long() {
        for index in 0..3 {
            cluster.nodes[index].freeze();
            tokio::time::sleep(Duration::from_secs(12)).await;
            load.wait_for_more(100).await;
            cluster.nodes[index].thaw();
            load.wait_for_more(100).await;
        }
    }
    let report = load.finish().await;
    println!(
        "one broker at a time: {} answered, failed {:?}, slowest {:?}",
        report.answered, report.kinds, report.slowest
    );
    assert_eq!(report.failures, Vec::<String>::new());
    cluster
}

/// Every broker hangs in turn, so one of them is the broker that an idle client used last.
#[tokio::test]
async fn an_idle_service_stays_ready_while_one_of_three_brokers_hangs() {
    // Longer than three failed probes, and longer than a connection that hangs is kept (socket.timeout.ms).
    const HANGS: Duration = Duration::from_secs(8);
    let cluster = Cluster::start();
    let topics = Topics::unique("orders");
    let backend = Backend::start(Answer::same_body).await;
    let processor = processor(&[(&topics, &backend.url())])
        .on(cluster.brokers())
        .start()
        .await;
    let proxy = proxy(&topics).on(cluster.brokers()).start().await;
    assert_eq!(proxy.request(Request::post("/", "before")).await.status, 200);
    for node in &cluster.nodes {
        let frozen = Instant::now();
        node.freeze();
        while frozen.elapsed() < HANGS {
            for service in [&proxy, &processor] {
                assert_eq!(
                    service.expect_health("/health/ready", 200).await,
                    Ok(()),
                    "{:?}",
                    frozen.elapsed()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        node.thaw();
        println!("answered {:?} after the broker went on", answered_again(&proxy).await);
    }
}

#[tokio::test]
async fn the_service_recovers_from_the_loss_of_one_broker_and_of_all() {
    // Declared first, so that the brokers end after the services.
    let _cluster;
    let cluster = Cluster::start();
    let topics = Topics::unique("orders");
    let backend = Backend::start(Answer::same_body).await;
    let processor = processor(&[(&topics, &backend.url())])
        .on(cluster.brokers())
        .start()
        .await;
    let proxy = proxy(&topics)
        .on(cluster.brokers())
        .set("default_timeout", 30)
        .start()
        .await;
    let mut cluster = lose_one_at_a_time(cluster, &proxy).await;

    let load = load(&proxy);
    load.wait_for_more(100).await;
    cluster.nodes.iter_mut().for_each(|node| node.kill());
    within(Duration::from_secs(15), "not ready", async || {
        proxy.expect_health("/health/ready", 503).await
    })
    .await;
    tokio::time::sleep(Duration::from_secs(if long() { 20 } else { 3 })).await;
    _cluster = off_thread(move || {
        cluster.restart();
        cluster
    })
    .await;
    for service in [&proxy, &processor] {
        let (_, took) = within(RECOVERED, "ready again", async || {
            service.expect_health("/health/ready", 200).await
        })
        .await;
        println!("ready again {took:?} after the brokers");
    }
    println!("answered again {:?} later", answered_again(&proxy).await);
    load.wait_for_more(100).await;
    let report = load.finish().await;
    println!(
        "all brokers lost: {} answered, failed {:?}, slowest {:?}",
        report.answered, report.kinds, report.slowest
    );
    // A 503 was not sent. A 504 and a 502 reply-lost were sent, and their clients heard so.
    for (kind, count) in &report.kinds {
        let explained = [
            "503 kafka-unavailable",
            "503 overloaded",
            "504 reply-timeout",
            "502 reply-lost",
        ];
        assert!(
            explained.contains(&kind.as_str()),
            "{count} × {kind}: {:?}",
            report.failures.first()
        );
    }
    for service in [&proxy, &processor] {
        service.assert_no_restarts().await;
    }
}
