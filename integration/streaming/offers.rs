//! Which requests say that they may be answered in pieces.

use super::{Client, FIRST, GET, Played};
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::records::{Reader, Record};
use crate::harness::spec::{processor, proxy};

fn accepts(request: &Record) -> bool {
    let has = |name| request.header(name).is_some();
    assert_eq!(has("khp-window"), has("khp-accept"));
    assert_eq!(has("khp-instance"), has("khp-accept"));
    has("khp-accept")
}

#[tokio::test]
async fn only_a_client_that_would_see_a_cut_is_answered_in_pieces() {
    let played = Played::start(|spec| spec).await;
    for (head, offered) in [
        (GET, true),
        ("POST /chat HTTP/1.1\nHost: a\nContent-Length: 0", true),
        ("HEAD /events HTTP/1.1\nHost: a", false),
        ("GET /events HTTP/1.0\nHost: a", false),
    ] {
        let (client, request) = played.ask(head).await;
        assert_eq!(accepts(&request), offered, "{head}");
        drop(client);
    }
}

#[tokio::test]
async fn a_request_in_the_json_format_is_answered_whole() {
    let played = Played::start(|spec| spec.set("wire_format", "json")).await;
    let (_client, request) = played.ask(GET).await;
    assert!(!accepts(&request));
}

/// Beyond them, answers are whole.
#[tokio::test]
async fn no_more_than_max_streams_are_offered() {
    let played = Played::start(|spec| spec.set("max_streams", 2)).await;
    let (mut first, request) = played.ask(GET).await;
    assert!(accepts(&request));
    played.piece(&request, 0, b"begun", &FIRST).await;
    first.until("begun").await;
    let (second, request) = played.ask(GET).await;
    assert!(accepts(&request));
    played.proxy.wait_for_metric("proxy_stream_places", &[], 2.0).await;
    played.proxy.wait_for_metric("proxy_streams_open", &[], 1.0).await;
    let (_third, request) = played.ask(GET).await;
    assert!(!accepts(&request));
    drop(second);
    played.proxy.wait_for_metric("proxy_stream_places", &[], 1.0).await;
    let (_fourth, request) = played.ask(GET).await;
    assert!(accepts(&request));
    drop(first);
}

/// Topics that only a client names have a control topic of the default name.
#[tokio::test]
async fn a_topic_that_a_client_names_has_a_control_topic() {
    let topics = Topics::unique("named");
    let proxy = proxy(&Topics::unique("configured")).start().await;
    let head = format!(
        "GET / HTTP/1.1\nHost: a\nX-Kafka-Topic: {}\nX-Kafka-Reply-Topic: {}",
        topics.request, topics.response
    );
    let _client = Client::send(&proxy, &head).await;
    crate::harness::topics::wait_for_count(&topics.request, 1).await;
    let request = Reader::open(&topics.request).next().await;
    assert!(accepts(&request));
    crate::harness::topics::wait_for_topic(&super::control_topic(&topics)).await;
}

#[tokio::test]
async fn a_processor_that_answers_whole_works_beside_it() {
    let topics = Topics::unique("whole");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set("streaming", "off")
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    for number in 0..20 {
        let body = number.to_string();
        proxy.request(Request::post("/", body.clone())).await.assert_echo(&body);
    }
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("proxy_streams_total", &[]), 0.0);
    assert_eq!(metrics.sum("proxy_cancels_total", &[]), 0.0);
}
