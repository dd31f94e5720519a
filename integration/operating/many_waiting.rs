//! Thousands of requests that wait at once: the memory of each, the refusal of the next one, and the end of all at their deadline.

use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

use crate::harness::binary::open_files;
use crate::harness::client::{Connection, Request};
use crate::harness::names::Topics;
use crate::harness::spec::proxy;
use crate::harness::topics::create_topic;
use crate::harness::wait::{long, within};

/// The memory that the documentation promises at the most for a request that waits on HTTP/1.1, in bytes. Its body is one byte here.
const BYTES_EACH: usize = 25 << 10;
/// How many connections come from one loopback address: fewer than it has ports.
const PER_ADDRESS: usize = 10_000;

async fn connect(number: usize, address: &str) -> Connection {
    let socket = TcpSocket::new_v4().expect("a socket");
    let from = format!("127.0.0.{}:0", 2 + number / PER_ADDRESS);
    socket.bind(from.parse().expect("an address")).expect("a free port");
    let stream = socket.connect(address.parse().expect("an address")).await;
    Connection::over(stream.expect("the proxy listens"), address)
}

#[tokio::test]
async fn thousands_wait_with_little_memory_and_time_out_at_their_deadline() {
    // Each end of a connection is an open file.
    let (many, timeout) = if long() {
        (20_000.min(open_files() - 500), 60)
    } else {
        (2_000, 15)
    };
    let topics = Topics::unique("orders");
    // No processor serves this topic.
    create_topic(&topics.request, 4).await;
    let proxy = proxy(&topics)
        .set("max_pending", many)
        .set("max_pending_per_topic", many)
        .set("default_timeout", timeout)
        .start()
        .await;
    let before = proxy.resident_memory();
    let started = Instant::now();
    let mut waiting = Vec::with_capacity(many);
    for number in 0..many {
        let mut connection = connect(number, &proxy.address()).await;
        let sent = Instant::now();
        connection
            .send(&Request::post("/", "x"))
            .await
            .expect("the proxy takes the request");
        waiting.push((connection, sent));
    }
    proxy.wait_for_pending(many).await;
    let each = proxy.resident_memory().saturating_sub(before) / many;
    let asked = Instant::now();
    proxy
        .request(Request::post("/", "one too many"))
        .await
        .assert_try_again("overloaded");
    println!(
        "{many} waiting after {:?}: {each} bytes each; 503 for the next in {:?}",
        started.elapsed(),
        asked.elapsed()
    );
    assert!(each <= BYTES_EACH, "{each} bytes for each request that waits");
    let (mut earliest, mut latest) = (Duration::MAX, Duration::ZERO);
    for (mut connection, sent) in waiting {
        let answer = connection.read_response(false).await.expect("an answer");
        answer.assert_problem(504, "reply-timeout");
        earliest = earliest.min(sent.elapsed());
        latest = latest.max(sent.elapsed());
    }
    println!("all timed out, {earliest:?} to {latest:?} after they were sent (timeout {timeout} s)");
    assert!(
        earliest >= Duration::from_secs(timeout) - Duration::from_millis(100),
        "{earliest:?}"
    );
    assert!(latest < Duration::from_secs(timeout + 10), "{latest:?}");
    within(Duration::from_secs(10), "no entry is left", async || {
        proxy.metrics().await.expect_sum("proxy_router_entries", &[], 0.0)
    })
    .await;
    // Where handlers are late, the sweep may find their entries first.
    if latest < Duration::from_secs(timeout) + Duration::from_millis(1500) {
        assert_eq!(proxy.metrics().await.sum("proxy_swept_entries_total", &[]), 0.0);
    }
}
