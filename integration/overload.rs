//! Overload is answered, not absorbed.

use std::time::{Duration, Instant};

use crate::harness::Topics;
use crate::harness::app::{processor, proxy};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Connection, Request};

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
    for _ in 0..3 {
        let sent = Instant::now();
        proxy
            .request(Request::post("/", "one too many"))
            .await
            .assert_try_again("overloaded");
        assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
    }
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("proxy_rejected_total", &[("reason", "overloaded")]), 3.0);
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
