//! A broker that stands still for a few seconds: work whose client gave up meanwhile is not executed when it goes on.

use std::time::{Duration, Instant};

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::kafka::Node;
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::wait::{eventually, long};

/// How far clocks may disagree.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(1);
/// Requests sent during each freeze.
const SENT: usize = 4;

/// What became of the requests that were sent during a freeze.
#[derive(Default)]
struct Frozen {
    /// Their clients had given up, and the tolerance for clocks was over as well, when the broker went on. Those that a busy machine sent
    /// late in the freeze do not count.
    given_up: usize,
    /// Of these, the ones that were executed later.
    executed: usize,
}

/// A stop takes hold of all threads when one of them has been scheduled, which takes a while on a busy machine.
fn stands_still(pid: u32) -> Result<(), String> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| error.to_string())?;
    for thread in threads.flatten() {
        let stat = std::fs::read_to_string(thread.path().join("stat")).map_err(|error| error.to_string())?;
        // The state stands behind the name, which is in brackets.
        match stat.rsplit_once(") ") {
            Some((_, rest)) if rest.starts_with('T') => {}
            _ => return Err(stat),
        }
    }
    Ok(())
}

/// Freezes the broker for so long, and sends requests meanwhile that wait for a second.
async fn freeze(node: &Node, proxy: &Service, backend: &Backend, length: Duration) -> Frozen {
    node.freeze();
    eventually("every thread of the broker stands still", async || {
        stands_still(node.pid())
    })
    .await;
    let began = Instant::now();
    let mut clients = Vec::new();
    for number in 0..SENT {
        let body = format!("{number} in a freeze of {length:?}");
        clients.push((proxy.leave_waiting(&Request::post("/hasty", body.clone())).await, body));
    }
    let mut given_up = Vec::new();
    for (mut client, body) in clients {
        let answer = client.read_response(false).await.expect("an answer");
        match answer.status {
            // It was quicker than the freeze.
            200 => {}
            // The proxy had noticed that Kafka does not answer, and sent nothing.
            503 => answer.assert_try_again("kafka-unavailable"),
            _ => {
                answer.assert_problem(504, "reply-timeout");
                // Its deadline has passed by now.
                given_up.push((body, Instant::now()));
            }
        }
    }
    tokio::time::sleep(length.saturating_sub(began.elapsed())).await;
    let given_up: Vec<String> = given_up
        .into_iter()
        .filter(|(_, passed)| passed.elapsed() > CLOCK_TOLERANCE)
        .map(|(body, _)| body)
        .collect();
    node.thaw();
    // One that comes after them, on the same partition, was executed: so would have been those before it.
    while proxy.request(Request::post("/", "after")).await.status != 200 {}
    Frozen {
        given_up: given_up.len(),
        executed: given_up.iter().filter(|body| backend.calls_with_body(body) > 0).count(),
    }
}

#[tokio::test]
async fn work_that_expired_during_a_freeze_of_its_broker_is_not_executed() {
    let node = Node::start();
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let brokers = node.brokers();
    let processor = processor(&[(&topics, &backend.url())])
        .on(brokers.clone())
        .set("create_topics.partitions", 1)
        .set("clock_tolerance", CLOCK_TOLERANCE.as_secs())
        .start()
        .await;
    let proxy = proxy(&topics)
        .on(brokers)
        .set("create_topics.partitions", 1)
        .timeout_of("/hasty", 1)
        .start()
        .await;
    for number in 0..5 {
        assert_eq!(proxy.request(Request::post("/", number.to_string())).await.status, 200);
    }
    let lengths = if long() { 20 } else { 2 };
    let (mut sent, mut executed) = (0, 0);
    for index in 0..lengths {
        let length = Duration::from_millis(3300 + 300 / (lengths - 1) * index);
        let frozen = freeze(&node, &proxy, &backend, length).await;
        (sent, executed) = (sent + frozen.given_up, executed + frozen.executed);
    }
    println!("{lengths} freezes of 3.3 to 3.6 s: {executed} of {sent} expired requests executed");
    assert_eq!(executed, 0);
    let expired = processor.metrics().await.sum("processor_expired_total", &[]);
    assert!(expired >= sent as f64, "{expired} of {sent} counted");
    assert_eq!(processor.logged("the clocks of proxy and processor differ"), 0);
}
