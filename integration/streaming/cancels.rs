//! Cancels: a client that leaves, or waits no longer, ends the call.

use std::time::{Duration, Instant};

use super::{A_SECOND, CALL, Client, FIRST, GET, MORE, Played};
use crate::harness::records::Record;

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
    tokio::time::sleep(Duration::from_secs(3)).await;
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

/// A cancel may be lost: the topic was recreated, or its leader was. A call that goes on is told again, be it that of a client who left or a
/// second one that nobody follows.
#[tokio::test]
async fn a_call_that_missed_its_cancel_is_cancelled_again() {
    const SECOND: &[u8] = b"call-002";
    let mut played = Played::start(|spec| spec).await;
    let (mut client, request) = played.ask(GET).await;
    played.piece(&request, 0, b"begun", &FIRST).await;
    client.until("begun").await;
    let first = played.goes_on_until_cancelled(&request, SECOND).await;
    let again = played.goes_on_until_cancelled(&request, SECOND).await;
    assert!(again - first > HEEDED_WITHIN / 2, "{:?}", again - first);
    drop(client);
    played.assert_cancelled(&request, Some(CALL)).await;
    played.goes_on_until_cancelled(&request, CALL).await;
}

/// So long the pieces that were under way are no reason to cancel a call again.
const HEEDED_WITHIN: Duration = Duration::from_secs(3);

impl Played {
    /// A replier that heard nothing writes on.
    async fn goes_on_until_cancelled(&mut self, request: &Record, call: &[u8]) -> Instant {
        for seq in 1.. {
            self.piece_of(call, request, seq, b"more", &[MORE]).await;
            let records = self.control.up_to_now().await.into_iter();
            let cancels: Vec<Record> = records
                .filter(|record| record.header_text("khp-control") == "cancel")
                .collect();
            if let [cancel] = &cancels[..] {
                assert_eq!(cancel.header("khp-stream"), Some(call));
                return Instant::now();
            }
            assert_eq!(cancels.len(), 0, "{cancels:?}");
        }
        unreachable!("it is cancelled before the numbers run out")
    }
}
