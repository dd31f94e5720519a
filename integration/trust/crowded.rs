//! More connections than there may be: what a client has only begun makes room, and what is closed counts until it is gone.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::harness::client::{Connection, Request};
use crate::harness::exchange::connect;
use crate::harness::names::Topics;
use crate::harness::spec::proxy;

/// So many that each of the server's threads gets its share.
const MAX: usize = 100;
const MANY: usize = 3 * MAX;

#[tokio::test]
async fn heads_that_do_not_go_on_make_room() {
    let proxy = proxy(&Topics::unique("orders"))
        .set("max_connections", MAX)
        .start()
        .await;
    let mut begun = Vec::new();
    for _ in 0..MANY {
        let mut connection = connect(&proxy).await;
        // Err: it had to make room meanwhile.
        let _ = connection.send_raw(b"GET / HTTP/1.1\r\nHost:").await;
        begun.push(connection);
    }
    let mut honest = connect(&proxy).await;
    let answer = honest.request(&Request::get("/health/live")).await.expect("an answer");
    assert_eq!(answer.status, 200);
    begun[0].read_end().await.expect("the first was idle longest");
}

#[tokio::test]
async fn a_connection_that_is_read_on_after_its_answer_counts() {
    let proxy = proxy(&Topics::unique("orders"))
        .set("max_connections", MAX)
        .set("max_body_size", 1000)
        .start()
        .await;
    let before = proxy.descriptors();
    let (mut refused, mut most) = (Vec::new(), 0);
    // The parser reads on for a second, and what is below it for another.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        let mut connection = Connection::open(&proxy.address()).await.expect("it listens");
        let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nhello";
        // Err: there is no place for it.
        let _ = connection.send_raw(head).await;
        refused.push(connection);
        most = most.max(proxy.descriptors());
        sleep(Duration::from_millis(5)).await;
    }
    // As many as may be open, and a few that are about to be refused.
    assert!(most < before + MAX + 40, "{most}, before {before}");
}
