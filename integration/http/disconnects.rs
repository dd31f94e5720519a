//! A client that leaves is forgotten at once.

use std::time::Duration;

use tokio::sync::watch;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Connection, Request};
use crate::harness::names::Topics;
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::count;
use crate::harness::wait::within;

/// Well before the deadline of 50 s.
const SOON: Duration = Duration::from_secs(25);

#[tokio::test]
async fn clients_that_leave_are_forgotten_well_before_their_deadline() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).start().await;
    let mut waiting = Vec::new();
    for number in 0..30 {
        waiting.push(proxy.leave_waiting(&Request::post("/", number.to_string())).await);
    }
    proxy.wait_for_pending(30).await;
    drop(waiting);
    within(SOON, "pending is 0", async || {
        proxy.metrics().await.expect_sum("proxy_pending_requests", &[], 0.0)
    })
    .await;
}

#[tokio::test]
async fn a_reply_to_a_client_that_left_reaches_no_other_client() {
    let topics = Topics::unique("orders");
    let (open, gate) = watch::channel(false);
    let backend = Backend::start(move |received| Answer::echo(received).until(&gate)).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    // Otherwise the call would be cancelled, and there would be no late reply.
    let proxy = proxy(&topics).set("streaming", "off").start().await;
    let left = proxy.leave_waiting(&Request::post("/", "left")).await;
    backend.wait_for_calls(1).await;
    drop(left);
    proxy.wait_until_idle().await;
    // The processor executes the request, and its reply comes late.
    open.send_replace(true);
    proxy.wait_for_metric("proxy_late_replies_total", &[], 1.0).await;
    assert_eq!(proxy.request(Request::post("/", "stays")).await.status, 200);
}

#[tokio::test]
async fn a_request_whose_client_leaves_in_mid_body_is_not_sent() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    let mut connection = Connection::open(&proxy.address()).await.expect("the proxy listens");
    connection
        .send_raw(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf a bo")
        .await
        .expect("sent");
    drop(connection);
    assert_eq!(proxy.request(Request::post("/", "whole")).await.status, 200);
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
    assert_eq!(count(&topics.request), 1, "only the whole request");
}
