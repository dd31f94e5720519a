//! Cancels: a client that leaves, or waits no longer, ends the call.

use std::time::Instant;

use super::{A_SECOND, CALL, Client, FIRST, GET, Played};

#[tokio::test]
async fn a_client_that_leaves_in_mid_stream_ends_the_call() {
    let mut played = Played::start(|spec| spec).await;
    let (mut client, request) = played.ask(GET).await;
    played.piece(&request, 0, b"begun", &FIRST).await;
    client.until("begun").await;
    let left = Instant::now();
    drop(client);
    played.assert_cancelled(&request, Some(CALL)).await;
    assert!(left.elapsed() < A_SECOND, "{:?}", left.elapsed());
    played.wait_for_outcome("client-left").await;
}

/// Answers that would be whole as well.
#[tokio::test]
async fn a_client_that_leaves_before_the_first_byte_ends_the_call() {
    let mut played = Played::start(|spec| spec).await;
    for head in [GET, "HEAD /events HTTP/1.1\nHost: shop.example", "GET / HTTP/1.0"] {
        let (client, request) = played.ask(head).await;
        let left = Instant::now();
        drop(client);
        played.assert_cancelled(&request, None).await;
        assert!(left.elapsed() < A_SECOND, "{:?}", left.elapsed());
    }
    played.proxy.wait_for_metric("proxy_stream_places", &[], 0.0).await;
    assert_eq!(played.proxy.metrics().await.sum("proxy_cancels_total", &[]), 3.0);
}

#[tokio::test]
async fn a_deadline_ends_the_call() {
    let mut played = Played::start(|spec| spec.set("default_timeout", 2)).await;
    let (mut client, request) = played.ask(GET).await;
    client.until("HTTP/1.1 504").await;
    played.assert_cancelled(&request, None).await;
}

/// `timeout` is for the head. What follows has limits of its own.
#[tokio::test]
async fn the_deadline_is_for_the_head() {
    let played = Played::start(|spec| spec.set("default_timeout", 2)).await;
    let (mut client, request) = played.ask(GET).await;
    played.piece(&request, 0, b"begun", &FIRST).await;
    client.until("begun").await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    played.piece(&request, 1, b"after", &[]).await;
    client.until("after\r\n0\r\n\r\n").await;
    played.wait_for_outcome("complete").await;
}

/// Its id is text there.
#[tokio::test]
async fn a_client_of_the_json_format_ends_the_call_as_well() {
    let mut played = Played::start(|spec| {
        // A native route keeps the control topic in use.
        let route = |path: &str, format: &str| {
            serde_json::json!({
                "path": path, "wire_format": format,
                "request_topic": spec_topic(&spec, "request_topic"),
                "response_topic": spec_topic(&spec, "response_topic"),
            })
        };
        let routes = vec![route("/json", "json"), route("/{tail}*", "native")];
        spec.set("routes", routes)
    })
    .await;
    let client = Client::send(&played.proxy, "GET /json HTTP/1.1\nHost: shop.example").await;
    let request = played.requests.next().await;
    drop(client);
    let cancel = played.next_control().await;
    assert_eq!(cancel.header_text("khp-control"), "cancel");
    assert_eq!(
        cancel.header_text("kafka_correlationId"),
        request.header_text("correlation_id")
    );
    assert_eq!(request.header("khp-accept"), None);
}

fn spec_topic(spec: &crate::harness::spec::Spec, key: &str) -> serde_json::Value {
    let config: serde_json::Value = serde_json::from_str(&spec.config()).expect("JSON");
    config[key].clone()
}
