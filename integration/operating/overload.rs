//! Overload is answered, not absorbed.

use std::time::{Duration, Instant};

use crate::harness::app::{processor, proxy};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Connection, Request};
use crate::harness::load::{Load, OnClose};
use crate::harness::wait::{PATIENCE, eventually};
use crate::harness::{Topics, long};

#[tokio::test]
async fn beyond_max_pending_a_request_is_told_at_once_to_come_again() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics)
        .set("max_pending", 5)
        .set("max_pending_per_topic", 5)
        .start()
        .await;
    let mut waiting: Vec<Connection> = Vec::new();
    for number in 0..5 {
        waiting.push(proxy.leave_waiting(&Request::post("/", number.to_string())).await);
    }
    proxy.wait_for_pending(5).await;
    let mut refused = Vec::new();
    for _ in 0..20 {
        let sent = Instant::now();
        proxy
            .request(Request::post("/", "one too many"))
            .await
            .assert_try_again("overloaded");
        refused.push(sent.elapsed());
    }
    refused.sort_unstable();
    println!("503 in {:?} (median), {:?} (slowest of 20)", refused[10], refused[19]);
    assert!(refused[10] < Duration::from_millis(20), "{refused:?}");
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("proxy_rejected_total", &[("reason", "overloaded")]), 20.0);
    assert_eq!(metrics.sum("proxy_pending_requests", &[]), 5.0);

    // One leaves: there is room for one.
    waiting.pop();
    proxy.wait_for_pending(4).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    assert_eq!(proxy.request(Request::post("/", "room")).await.status, 200);
    for client in &mut waiting {
        assert_eq!(client.read_response(false).await.expect("an answer").status, 200);
    }
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn one_slow_topic_does_not_take_the_others_permits() {
    let (slow, quick) = (Topics::unique("slow"), Topics::unique("quick"));
    let proxy = proxy(&slow)
        .set("max_pending", 10)
        .set("max_pending_per_topic", 5)
        .start()
        .await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&quick, &backend.url())]).start().await;
    let mut waiting = Vec::new();
    for number in 0..5 {
        waiting.push(proxy.leave_waiting(&Request::post("/", number.to_string())).await);
    }
    proxy.wait_for_pending(5).await;
    proxy
        .request(Request::post("/", "one too many"))
        .await
        .assert_try_again("overloaded");
    let answer = proxy
        .request(Request::post("/", "the other").via(&quick.request, &quick.response))
        .await;
    assert_eq!(
        (answer.status, answer.json()["body"].as_str()),
        (200, Some("the other"))
    );
    drop(waiting);
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn the_backend_never_gets_more_at_once_than_configured() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::echo(received).after(Duration::from_millis(50))).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("max_concurrent_requests", 5)
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    let mut waiting = Vec::new();
    for number in 0..50 {
        waiting.push(proxy.leave_waiting(&Request::post("/", number.to_string())).await);
    }
    for client in &mut waiting {
        assert_eq!(
            client.read_response(false).await.expect("an answer").status,
            200,
            "it only waits its turn"
        );
    }
    assert_eq!(backend.most_at_once(), 5);
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

/// Ten times the clients that keep it busy, each of which comes again at once after a refusal.
#[tokio::test]
async fn under_overload_the_work_goes_on() {
    const ENOUGH: usize = 16;
    // At full length, the whole time counts.
    let (seconds, slice) = if long() { (20, 20) } else { (6, 1) };
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::body(received.body.clone()).after(Duration::from_millis(20))).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("max_concurrent_requests", ENOUGH)
        .start()
        .await;
    let proxy = proxy(&topics)
        .set("max_pending", 2 * ENOUGH)
        .set("max_pending_per_topic", 2 * ENOUGH)
        .start()
        .await;
    let mut goodput = Vec::new();
    let mut memory = Vec::new();
    for clients in [2 * ENOUGH, 20 * ENOUGH] {
        let load = Load::start(&proxy.address(), clients, OnClose::Persist, |body| {
            Request::post("/", body)
        });
        load.wait_for_more(2 * clients).await;
        // The best of all slices: that the machine had better to do for a second is not what is looked for.
        let mut best: f64 = 0.0;
        for _ in 0..seconds / slice {
            let (answered, began) = (load.answered(), Instant::now());
            tokio::time::sleep(Duration::from_secs(slice)).await;
            best = best.max((load.answered() - answered) as f64 / began.elapsed().as_secs_f64());
        }
        goodput.push(best);
        memory.push(proxy.resident_memory());
        let report = load.finish().await;
        println!(
            "{clients} clients: {:.0} answers/s, refused {:?}, {} MiB",
            goodput.last().unwrap_or(&0.0),
            report.kinds,
            memory.last().unwrap_or(&0) >> 20
        );
        assert!(
            report.kinds.keys().all(|kind| kind == "503 overloaded"),
            "{:?}",
            report.kinds
        );
    }
    let mut refused = Vec::new();
    let load = Load::start(&proxy.address(), 20 * ENOUGH, OnClose::Persist, |body| {
        Request::post("/", body)
    });
    load.wait_for_more(100).await;
    let asked = Instant::now();
    while refused.len() < 20 {
        assert!(asked.elapsed() < PATIENCE * 4, "only {} refused", refused.len());
        let sent = Instant::now();
        if proxy.request(Request::post("/", "?")).await.status == 503 {
            refused.push(sent.elapsed());
        }
    }
    refused.sort_unstable();
    println!("503 in {:?} (median), {:?} (slowest of 20)", refused[10], refused[19]);
    load.finish().await;
    // The clients take their share of the machine, too, ten times as many of them; at full length it is to be a quiet one.
    let least = if long() { 0.9 } else { 0.5 };
    assert!(goodput[1] > least * goodput[0], "{goodput:?}");
    assert!(!long() || refused[10] < Duration::from_millis(50), "{refused:?}");
    assert!(memory[1] < memory[0] + (64 << 20), "{memory:?}");
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

/// Ten a second, four seconds of patience, and a hundred clients: most of them would wait in vain.
#[tokio::test]
async fn a_request_that_would_only_time_out_is_refused_at_once() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::body(received.body.clone()).after(Duration::from_millis(95))).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("max_concurrent_requests", 1)
        .start()
        .await;
    let proxy = proxy(&topics).set("default_timeout", 4).start().await;
    let load = Load::start(&proxy.address(), 100, OnClose::Persist, |body| Request::post("/", body));
    // Read off the one load that goes on: between two, the queue would run empty, and what was known of it be forgotten.
    let seen = async || {
        let metrics = proxy.metrics().await;
        [
            metrics.sum("proxy_requests_total", &[("status", "200")]),
            metrics.sum("proxy_rejected_total", &[("reason", "overloaded")]),
            metrics.sum("proxy_timeouts_total", &[]),
        ]
    };
    let refused = async || match seen().await[1] {
        0.0 => Err("nobody is refused yet".to_owned()),
        _ => Ok(()),
    };
    eventually("the queue is noticed", refused).await;
    // Those that were let in before are over once they have timed out.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (before, began) = (seen().await, Instant::now());
    println!("answered, refused, timed out while it built up: {before:?}");
    tokio::time::sleep(Duration::from_secs(if long() { 60 } else { 8 })).await;
    let (after, seconds) = (seen().await, began.elapsed().as_secs_f64());
    let [answered, refused, in_vain] = std::array::from_fn(|kind| after[kind] - before[kind]);
    println!("ten a second possible, in {seconds:.1} s: {answered} answered, {refused} refused, {in_vain} timed out");
    println!("in all: {:?}", load.finish().await.kinds);
    assert!(refused > 0.0, "nobody was refused");
    assert!(answered > 2.0 * seconds, "{answered} answered in {seconds} s");
    assert!(in_vain < answered, "{in_vain} timed out, {answered} answered");
    proxy.wait_until_idle().await;
    // What timed out for its client may still be under way.
    processor.wait_until_idle().await;
    processor.wait_for_metric("processor_consumer_lag", &[], 0.0).await;
    for _ in 0..5 {
        assert_eq!(proxy.request(Request::post("/", "alone")).await.status, 200);
    }
    processor.wait_until_idle().await;
}
