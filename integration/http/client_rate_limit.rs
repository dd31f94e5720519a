//! `rate_limit`: a client that asks too often is refused, and the others are not.

use serde_json::json;

use crate::harness::backend::Backend;
use crate::harness::client::{Request, Response};
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor, proxy};

/// A client may send three requests at once, and then one in a hundred seconds.
fn limited(topics: &Topics) -> Spec {
    proxy(topics).set("rate_limit", 0.01).set("rate_limit_burst", 3)
}

async fn ask(proxy: &Service, client: &str) -> Response {
    proxy
        .request(Request::post("/", "hello").header("X-Real-IP", client))
        .await
}

#[tokio::test]
async fn a_client_beyond_its_rate_gets_429_and_others_their_answer() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = limited(&topics).set("rate_limit_per", "header:X-Real-IP").start().await;
    for _ in 0..3 {
        assert_eq!(ask(&proxy, "10.0.0.1").await.status, 200);
    }
    let refused = ask(&proxy, "10.0.0.1").await;
    refused.assert_problem(429, "rate-limited");
    let seconds: u32 = refused
        .header("retry-after")
        .expect("Retry-After")
        .parse()
        .expect("seconds");
    assert!((1..=100).contains(&seconds), "{seconds}");
    assert_eq!(ask(&proxy, "10.0.0.2").await.status, 200);
    assert_eq!(backend.received().len(), 4);
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("proxy_rejected_total", &[("reason", "rate-limited")]), 1.0);
}

#[tokio::test]
async fn a_limit_by_address_is_of_the_client_that_a_trusted_proxy_tells_and_of_no_other() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let strangers = limited(&topics)
        .set("trusted_proxies", json!([]))
        .set("management_port", 0)
        .start()
        .await;
    for client in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        assert_eq!(ask(&strangers, client).await.status, 200);
    }
    ask(&strangers, "192.0.2.4").await.assert_problem(429, "rate-limited");
    assert_eq!(
        strangers.health("/health/ready").await,
        Some(200),
        "probes are not counted"
    );
    let behind = limited(&topics).start().await;
    for _ in 0..3 {
        assert_eq!(ask(&behind, "192.0.2.1").await.status, 200);
    }
    ask(&behind, "192.0.2.1").await.assert_problem(429, "rate-limited");
    assert_eq!(ask(&behind, "192.0.2.2").await.status, 200);
}
