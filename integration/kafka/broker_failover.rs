//! Three brokers. One of them is killed or hangs: every request is answered, and the service stays ready. All of them are killed: nobody gets another's answer,
//! nobody gets none, and when they are back so is the service.

use std::time::{Duration, Instant};

use crate::harness::app::{App, Spec, processor, proxy};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::kafka::Cluster;
use crate::harness::load::{Load, OnClose};
use crate::harness::wait::within;
use crate::harness::{Topics, long};

/// An election, the broker's start, and the machine's other work.
const RECOVERED: Duration = Duration::from_secs(60);

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

fn load(proxy: &App) -> Load {
    Load::start(&proxy.address(), 8, OnClose::Persist, |body| Request::post("/", body))
}

/// One after the other, each under load: an election is not an outage.
async fn lose_one_at_a_time(mut cluster: Cluster, proxy: &App) -> Cluster {
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

/// Whichever broker an idle client used last: the others answer.
#[tokio::test]
async fn an_idle_service_stays_ready_while_one_of_three_brokers_hangs() {
    // Longer than three failed probes take, and than a connection that hangs is kept (socket.timeout.ms).
    const HANGS: Duration = Duration::from_secs(8);
    let cluster = off_thread(Cluster::start).await;
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::body(received.body.clone())).await;
    let on = |spec: Spec| spec.set("kafka.bootstrap_servers", cluster.brokers());
    let processor = on(processor(&[(&topics, &backend.url())])).start().await;
    let proxy = on(proxy(&topics)).start().await;
    assert_eq!(proxy.request(Request::post("/", "before")).await.status, 200);
    for node in &cluster.nodes {
        let frozen = Instant::now();
        node.freeze();
        while frozen.elapsed() < HANGS {
            for app in [&proxy, &processor] {
                assert_eq!(
                    app.expect_health("/health/ready", 200).await,
                    Ok(()),
                    "{:?}",
                    frozen.elapsed()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        node.thaw();
        let (_, took) = within(RECOVERED, "an answer", async || {
            match proxy.request(Request::post("/", "after")).await.status {
                200 => Ok(()),
                status => Err(format!("{status}")),
            }
        })
        .await;
        println!("answered {took:?} after the broker went on");
    }
    for app in [&proxy, &processor] {
        app.wait_until_idle().await;
    }
}

#[tokio::test]
async fn brokers_go_one_by_one_and_all_at_once_and_everything_recovers() {
    let cluster = off_thread(Cluster::start).await;
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::body(received.body.clone())).await;
    let brokers = cluster.brokers();
    let on = |spec: Spec| spec.set("kafka.bootstrap_servers", brokers.clone());
    let processor = on(processor(&[(&topics, &backend.url())])).start().await;
    let proxy = on(proxy(&topics)).set("default_timeout", 30).start().await;
    let mut cluster = lose_one_at_a_time(cluster, &proxy).await;

    let load = load(&proxy);
    load.wait_for_more(100).await;
    cluster.nodes.iter_mut().for_each(|node| node.kill());
    within(Duration::from_secs(15), "not ready", async || {
        proxy.expect_health("/health/ready", 503).await
    })
    .await;
    tokio::time::sleep(Duration::from_secs(if long() { 20 } else { 3 })).await;
    let _cluster = off_thread(move || {
        cluster.restart();
        cluster
    })
    .await;
    for app in [&proxy, &processor] {
        let (_, took) = within(RECOVERED, "ready again", async || {
            app.expect_health("/health/ready", 200).await
        })
        .await;
        println!("ready again {took:?} after the brokers");
    }
    let (_, took) = within(RECOVERED, "an answer", async || {
        match proxy.request(Request::post("/", "back")).await.status {
            200 => Ok(()),
            status => Err(format!("{status}")),
        }
    })
    .await;
    println!("answered again {took:?} later");
    load.wait_for_more(100).await;
    let report = load.finish().await;
    println!(
        "all brokers lost: {} answered, failed {:?}, slowest {:?}",
        report.answered, report.kinds, report.slowest
    );
    // 503 was not sent; 504 and 502 reply-lost were, and their clients were told so.
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
    for app in [&proxy, &processor] {
        assert_eq!(app.metrics().await.sum("actor_restarts_total", &[]), 0.0);
        app.wait_until_idle().await;
    }
}
