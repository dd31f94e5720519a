//! Results where records are sealed: none is read by who has no key, and none is believed that was not sealed.

use serde_json::json;

use super::{accepted, accepting, ask, job, result};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::records::{Reader, produce};
use crate::harness::spec::{Spec, processor};
use crate::harness::wait::eventually;

fn sealed(spec: Spec) -> Spec {
    let key = json!({ "id": "one", "secret": "a secret that is at least 32 characters long" });
    spec.set("sealing", json!({ "keys": [key], "require": true }))
}

#[tokio::test]
async fn sealed_results_are_found_and_others_are_not_believed() {
    let topics = Topics::unique("jobs");
    let large: Vec<u8> = (0..1_500_000_u32).map(|number| (number % 249) as u8).collect();
    let body = large.clone();
    let backend = Backend::start(move |received| match received.text().as_str() {
        "large" => Answer::body(body.clone()),
        _ => Answer::same_body(received),
    })
    .await;
    let spec = sealed(accepting(&topics));
    let proxy = spec.clone().start().await;
    let forged = accepted(&proxy, job("a secret answer")).await;
    // Whoever reads the topic learns the id, and answers first.
    let request = Reader::open(&topics.request).next().await;
    let headers = [
        ("kafka_correlationId", request.correlation_id()),
        ("khp-version", b"1"),
        (":status", b"200"),
    ];
    produce(&format!("{}-results", topics.response), 0, b"forged", &headers).await;
    proxy.wait_for_metric("proxy_results_unbelieved_total", &[], 1.0).await;
    let _processor = sealed(processor(&[(&topics, &backend.url())])).start().await;
    assert_eq!(result(&proxy, &forged).await.text(), "a secret answer");
    let at = accepted(&proxy, job("large")).await;
    let other = spec.start().await;
    assert!(result(&other, &at).await.body == large);
    assert_eq!(ask(&other, Request::new("DELETE", &at)).await.status, 204);
    eventually("it is gone", async || {
        match ask(&proxy, Request::get(&at)).await.status {
            410 => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
}
