//! Under overload, requests beyond the limits are refused at once, and the others are answered.

use std::time::{Duration, Instant};

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Connection, Request};
use crate::harness::load::{Load, OnClose};
use crate::harness::names::Topics;
use crate::harness::spec::{processor, proxy};
use crate::harness::wait::{PATIENCE, eventually, long};

#[tokio::test]
async fn a_request_beyond_max_pending_is_refused_at_once() {
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

    // One client leaves, so there is room for one request.
    waiting.pop();
    proxy.wait_for_pending(4).await;
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    assert_eq!(proxy.request(Request::post("/", "room")).await.status, 200);
    for client in &mut waiting {
        assert_eq!(client.read_response(false).await.expect("an answer").status, 200);
    }
}

#[tokio::test]
async fn one_slow_topic_does_not_use_up_the_permits_of_others() {
    let (slow, quick) = (Topics::unique("slow"), Topics::unique("quick"));
    let proxy = proxy(&slow)
        .set("max_pending", 10)
        .set("max_pending_per_topic", 5)
        .start()
        .await;
    let backend = Backend::echo().await;
    let _processor = processor(&[(&quick, &backend.url())]).start().await;
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
    answer.assert_echo("the other");
    drop(waiting);
}

#[tokio::test]
async fn a_backend_never_gets_more_calls_at_once_than_configured() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::echo(received).after(Duration::from_millis(50))).await;
    let _processor = processor(&[(&topics, &backend.url())])
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
            "every request is answered in its turn"
        );
    }
    assert_eq!(backend.most_at_once(), 5);
}

/// Ten times as many clients as keep the service busy. Each sends again soon after a refusal.
#[tokio::test]
async fn throughput_and_memory_hold_under_overload() {
    const ENOUGH: usize = 16;
    // At full length, one slice is the whole time.
    let (seconds, slice) = if long() { (20, 20) } else { (6, 1) };
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::same_body(received).after(Duration::from_millis(20))).await;
    let _processor = processor(&[(&topics, &backend.url())])
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
        // The best slice counts, because the machine may be busy with other tests in the others.
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
    // Ten times as many clients take more of the machine, so the short version demands less. At full length the machine must be quiet.
    let least = if long() { 0.9 } else { 0.5 };
    assert!(goodput[1] > least * goodput[0], "{goodput:?}");
    assert!(!long() || refused[10] < Duration::from_millis(50), "{refused:?}");
    assert!(memory[1] < memory[0] + (64 << 20), "{memory:?}");
}

/// A hundred clients with a timeout of four seconds, and a backend that answers ten requests a second: most of them would time out.
#[tokio::test]
async fn a_request_that_would_only_time_out_is_refused_at_once() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::same_body(received).after(Duration::from_millis(95))).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("max_concurrent_requests", 1)
        .start()
        .await;
    let proxy = proxy(&topics).set("default_timeout", 4).start().await;
    let load = Load::start(&proxy.address(), 100, OnClose::Persist, |body| Request::post("/", body));
    // Answered, refused and timed out so far. One load goes on all the time: between two loads the queue would run
    // empty, and the proxy would forget how long it is.
    let seen = async || {
        let metrics = proxy.metrics().await;
        [
            metrics.sum("proxy_requests_total", &[("status", "200")]),
            metrics.sum("proxy_rejected_total", &[("reason", "overloaded")]),
            metrics.sum("proxy_timeouts_total", &[]),
        ]
    };
    let refused = async || match seen().await[1] {
        0.0 => Err("no request is refused yet".to_owned()),
        _ => Ok(()),
    };
    eventually("the queue is noticed", refused).await;
    // The requests that were admitted before have timed out after this.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (before, began) = (seen().await, Instant::now());
    println!("answered, refused, timed out while it built up: {before:?}");
    tokio::time::sleep(Duration::from_secs(if long() { 60 } else { 8 })).await;
    let (after, seconds) = (seen().await, began.elapsed().as_secs_f64());
    let [answered, refused, timed_out] = std::array::from_fn(|kind| after[kind] - before[kind]);
    println!("ten a second possible, in {seconds:.1} s: {answered} answered, {refused} refused, {timed_out} timed out");
    println!("in all: {:?}", load.finish().await.kinds);
    assert!(refused > 0.0, "no request was refused");
    assert!(answered > 2.0 * seconds, "{answered} answered in {seconds} s");
    assert!(timed_out < answered, "{timed_out} timed out, {answered} answered");
    proxy.wait_until_idle().await;
    // Requests that have timed out may still be under way.
    processor.wait_until_idle().await;
    processor.wait_for_metric("processor_consumer_lag", &[], 0.0).await;
    for _ in 0..5 {
        assert_eq!(proxy.request(Request::post("/", "alone")).await.status, 200);
    }
}
