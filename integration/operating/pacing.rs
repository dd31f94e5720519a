//! A standstill is over when it is over: what the topic carries afterwards is admitted again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Request, try_request};
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::wait::long;

/// Requests a second.
const RATE: u64 = 40;
/// All but the whole timeout.
const LATENCY: Duration = Duration::from_millis(4_400);

/// Sends `RATE` requests a second for so long, whether or not the earlier ones were answered; counts the statuses.
async fn send(proxy: &Service, time: Duration) -> BTreeMap<String, usize> {
    let mut ticks = interval(Duration::from_millis(1000 / RATE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut requests = JoinSet::new();
    let end = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < end {
        ticks.tick().await;
        let address = proxy.address();
        requests.spawn(async move {
            match try_request(&address, Request::post("/", "x")).await {
                Ok(answer) => answer.status.to_string(),
                Err(error) => error.to_string(),
            }
        });
    }
    let mut counts = BTreeMap::new();
    while let Some(status) = requests.join_next().await {
        *counts.entry(status.expect("a request does not panic")).or_default() += 1;
    }
    counts
}

/// Sends on while one of the processes stands still; what became of the requests before, during and after.
async fn stand_still(
    frozen: &Service,
    proxy: &Service,
    time: Duration,
    settled: Duration,
) -> [BTreeMap<String, usize>; 3] {
    let before = send(proxy, Duration::from_secs(8)).await;
    let freeze = async {
        sleep(Duration::from_secs(6)).await;
        frozen.signal("STOP");
        sleep(time).await;
        frozen.signal("CONT");
    };
    let (during, ()) = tokio::join!(send(proxy, Duration::from_secs(6) + time + settled), freeze);
    let after = send(proxy, Duration::from_secs(if long() { 60 } else { 12 })).await;
    let seen = [before, during, after];
    println!("{time:?}: before, during, after: {seen:?}");
    seen
}

/// All but one in twenty are answered: a busy machine that stands still for 0.6 s itself lets some time out.
fn assert_answered(counts: &BTreeMap<String, usize>) {
    let all: usize = counts.values().sum();
    let answered = counts.get("200").copied().unwrap_or(0);
    assert!(all > 0 && answered * 20 >= all * 19, "{counts:?}");
}

async fn start(topics: &Topics) -> (Backend, Service, Service) {
    let backend = Backend::start(|received| Answer::body(received.body.clone()).after(LATENCY)).await;
    let processor = processor(&[(topics, &backend.url())])
        .set("max_concurrent_requests", 1_000)
        .start()
        .await;
    let proxy = proxy(topics).set("default_timeout", 5).start().await;
    (backend, processor, proxy)
}

#[tokio::test]
async fn a_slow_topic_that_stood_still_is_admitted_whole_again() {
    let topics = Topics::unique("slow");
    let (_backend, processor, proxy) = start(&topics).await;
    let times: &[u64] = if long() { &[3, 6, 10, 1, 20] } else { &[3] };
    for time in times {
        let [before, _, after] =
            stand_still(&processor, &proxy, Duration::from_secs(*time), Duration::from_secs(15)).await;
        [before, after].iter().for_each(assert_answered);
    }
}

#[tokio::test]
async fn a_proxy_that_stood_still_blames_nobody() {
    let topics = Topics::unique("slow");
    let (_backend, _processor, proxy) = start(&topics).await;
    let time = Duration::from_secs(12);
    let [before, _, after] = stand_still(&proxy, &proxy, time, Duration::from_secs(8)).await;
    [before, after].iter().for_each(assert_answered);
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("proxy_rejected_total", &[]), 0.0);
    assert_eq!(metrics.sum("proxy_swept_entries_total", &[]), 0.0);
}
