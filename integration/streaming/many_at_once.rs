//! Many streams at once: each client gets every byte of its own in order, and nothing is left of them.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::harness::client::{Connection, Request};
use crate::harness::names::Topics;
use crate::harness::spec::{processor, proxy};
use crate::harness::stream_backend::{Call, StreamBackend};
use crate::harness::wait::long;

/// Pieces of each stream, after the first.
const PIECES: usize = 20;
/// The time between two of them.
const PAUSE: Duration = Duration::from_millis(50);

/// A piece that no other stream has.
fn piece(path: &str, number: usize) -> String {
    format!("{path} {number:3} {}\n", "x".repeat(number % 7 * 40))
}

/// Begins the answer to a call.
async fn begin(call: &mut Call) -> String {
    let path = call.line.trim_start_matches("GET ").to_owned();
    call.chunked_head("text/event-stream").await;
    call.chunk(&piece(&path, 0)).await;
    path
}

/// As many as a process takes by default (`max_streams`), at full length.
#[tokio::test]
async fn a_thousand_streams_at_once_come_whole_and_nothing_is_left_of_them() {
    let count = if long() { 1000 } else { 300 };
    let (topics, mut backend) = (Topics::unique("streams"), StreamBackend::start().await);
    let processor = processor(&[(&topics, &backend.url())])
        .set("max_concurrent_requests", count)
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    let mut clients = JoinSet::new();
    for number in 0..count {
        let address = proxy.address();
        clients.spawn(async move {
            let path = format!("/stream/{number}");
            let mut connection = Connection::open(&address).await.expect("the proxy listens");
            let answer = connection.request(&Request::get(&path)).await;
            (path, answer.expect("an answer that is whole"))
        });
    }
    let mut calls = Vec::new();
    for _ in 0..count {
        let mut call = backend.next().await;
        calls.push((begin(&mut call).await, call));
    }
    // All of them are open before the first one goes on.
    for (service, gauge) in [(&proxy, "proxy_streams_open"), (&processor, "processor_streams_open")] {
        service.wait_for_metric(gauge, &[], count as f64).await;
    }
    let mut writing = JoinSet::new();
    for (path, mut call) in calls {
        writing.spawn(async move {
            for number in 1..=PIECES {
                tokio::time::sleep(PAUSE).await;
                call.chunk(&piece(&path, number)).await;
            }
            call.last_chunk().await;
        });
    }
    let mut whole = 0;
    while let Some(client) = clients.join_next().await {
        let (path, answer) = client.expect("no client panics");
        let expected: String = (0..=PIECES).map(|number| piece(&path, number)).collect();
        assert!(
            answer.status == 200 && answer.text() == expected,
            "{path}: {}",
            answer.text()
        );
        whole += 1;
    }
    assert_eq!((whole, backend.count()), (count, count));
    proxy
        .wait_for_metric("proxy_streams_total", &[("outcome", "complete")], count as f64)
        .await;
    for gauge in [
        "proxy_streams_open",
        "proxy_stream_places",
        "proxy_stream_buffered_bytes",
    ] {
        proxy.wait_for_metric(gauge, &[], 0.0).await;
    }
    processor.wait_for_metric("processor_streams_open", &[], 0.0).await;
}
