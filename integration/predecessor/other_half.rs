//! Each half of kafka-http-proxy 1.0.1 works with the other half of this service. The test plays the predecessor and writes its envelope.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::json::{envelope, json_proxy};
use crate::harness::kafka::brokers;
use crate::harness::names::{Topics, unique};
use crate::harness::records::Reader;
use crate::harness::spec::processor;
use crate::harness::topics::{count, create_topic, wait_for_commit};
use crate::harness::wait::PATIENCE;

const ID: &str = "3f1c9a52-7d0e-4b6a-9c41-5e2d8f7a6b10";

/// Writes a record as the predecessor does: to any partition, compressed.
async fn write(topic: &str, partition: i32, value: &[u8], id: Option<&str>) {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers())
        .set("compression.type", "gzip");
    let producer: FutureProducer = config.create().expect("a producer");
    let headers = id.map(|id| {
        OwnedHeaders::new().insert(Header {
            key: "correlation_id",
            value: Some(id),
        })
    });
    let record = FutureRecord::<(), [u8]>::to(topic)
        .partition(partition)
        .payload(value)
        .headers(headers.unwrap_or_default());
    producer
        .send(record, PATIENCE)
        .await
        .unwrap_or_else(|(error, _)| panic!("{topic}: {error}"));
}

/// A request's envelope as the predecessor's proxy writes it.
fn request(id: &str, method: &str, path: &str, body: Value) -> Value {
    json!({
        "correlation_id": id,
        "timestamp": 1_700_000_000.25,
        "method": method,
        "path": path,
        "query_params": {},
        "headers": { "host": "shop.example", "accept": "*/*" },
        "body": body,
        "client_ip": "192.0.2.7",
    })
}

/// A reply's envelope as the predecessor's processor writes it.
fn reply(id: &Value, status: u16, body: Value) -> Value {
    json!({
        "correlation_id": id,
        "timestamp": 1_700_000_000.5,
        "status_code": status,
        "headers": { "content-type": "text/plain", "x-backend": "orders" },
        "body": body,
    })
}

#[tokio::test]
async fn our_proxy_works_with_the_predecessors_processor() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 2).await;
    create_topic(&topics.response, 4).await;
    let proxy = json_proxy(&topics).start().await;
    let requests = Reader::open(&topics.request);

    // The reply may come on any partition, with the record header or without it.
    for partition in 0..4 {
        let sent = Request::post("/orders/7?colour=blue+green&k=1&k=2", "žluť").header("X-A", "1");
        let mut waiting = proxy.leave_waiting(&sent).await;
        let record = requests.next().await;
        let request = envelope(&record);
        assert_eq!(
            record.header_text("correlation_id"),
            request["correlation_id"].as_str().unwrap_or_default()
        );
        assert_eq!(
            (&request["method"], &request["path"]),
            (&json!("POST"), &json!("/orders/7"))
        );
        assert_eq!(
            request["query_params"],
            json!({ "colour": "blue green", "k": ["1", "2"] })
        );
        assert_eq!(
            (&request["body"], &request["headers"]["x-a"]),
            (&json!("žluť"), &json!("1"))
        );
        assert_eq!(request["client_ip"], "127.0.0.1");
        assert!(request["timestamp"].as_f64().is_some_and(|seconds| seconds > 1.7e9));
        assert!(request.get("response_topic").is_none() && request.get("backend_url").is_none());
        let id = &request["correlation_id"];
        let text = reply(id, 404, json!("nicht gefunden: Stück"));
        let header = (partition % 2 == 0).then(|| id.as_str().unwrap_or_default());
        write(&topics.response, partition, text.to_string().as_bytes(), header).await;
        let answer = waiting.read_response(false).await.expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (404, "nicht gefunden: Stück"));
        assert_eq!(answer.header("x-backend").as_deref(), Some("orders"));
    }

    // The predecessor may put a backend's JSON into its envelope as JSON.
    let mut waiting = proxy.leave_waiting(&Request::get("/")).await;
    let id = envelope(&requests.next().await)["correlation_id"].clone();
    let body = r#"{"z": 1.10, "a": [12345678901234567890]}"#;
    let text = format!(r#"{{"correlation_id": {id}, "status_code": 200, "headers": {{}}, "body": {body}}}"#);
    write(&topics.response, 1, text.as_bytes(), None).await;
    let answer = waiting.read_response(false).await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, body));
    assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));

    // A malformed reply ends its request at once. A reply without a request is skipped.
    write(
        &topics.response,
        0,
        reply(&json!(ID), 200, json!("x")).to_string().as_bytes(),
        Some(ID),
    )
    .await;
    write(&topics.response, 0, b"\xff garbage", None).await;
    let mut waiting = proxy.leave_waiting(&Request::get("/")).await;
    let id = envelope(&requests.next().await)["correlation_id"].clone();
    let asked = Instant::now();
    write(
        &topics.response,
        2,
        reply(&id, 99, json!("x")).to_string().as_bytes(),
        id.as_str(),
    )
    .await;
    let answer = waiting.read_response(false).await.expect("an answer");
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (502, Some("reply-lost"))
    );
    assert!(asked.elapsed() < Duration::from_secs(10));
    proxy.wait_for_metric("proxy_malformed_replies_total", &[], 1.0).await;
    proxy.wait_for_metric("proxy_unmatched_replies_total", &[], 2.0).await;
    proxy.assert_no_restarts().await;
}

#[tokio::test]
async fn the_predecessors_proxy_works_with_our_processor() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let elsewhere = Topics::unique("elsewhere");
    create_topic(&elsewhere.response, 1).await;
    let backend = Backend::start(|received| Answer::echo(received).header("X-Backend", "orders")).await;
    let other_backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let replies = Reader::open(&topics.response);

    let mut sent = request(ID, "POST", "/a b/ü", json!("žluť"));
    sent["query_params"] = json!({ "colour": "blue green", "n": "1" });
    // The message may choose neither its reply topic nor its backend.
    sent["response_topic"] = json!(elsewhere.response);
    sent["backend_url"] = json!(other_backend.url());
    for header in [Some(ID), None] {
        write(&topics.request, 0, sent.to_string().as_bytes(), header).await;
        let record = replies.next().await;
        assert_eq!(record.headers, [("correlation_id".to_owned(), ID.as_bytes().to_vec())]);
        let reply = envelope(&record);
        assert_eq!(
            (&reply["correlation_id"], &reply["status_code"]),
            (&json!(ID), &json!(200))
        );
        assert_eq!(reply["headers"]["x-backend"], "orders");
        assert_eq!(reply["headers"]["content-type"], "application/json");
        assert!(reply["timestamp"].as_f64().is_some_and(|seconds| seconds > 1.7e9));
        let echo: Value = serde_json::from_str(reply["body"].as_str().unwrap_or_default()).expect("JSON");
        assert_eq!(echo["body"], "žluť");
        assert!(
            reply.get("error").is_none() && reply.get("header_list").is_none(),
            "{reply}"
        );
        let received = backend.last();
        assert_eq!(received.target, "/a%20b/%C3%BC?colour=blue+green&n=1");
        assert_eq!(
            (received.all("accept"), received.all("khp-correlation-id")),
            (vec!["*/*".into()], vec![ID.into()])
        );
    }
    assert_eq!((backend.received().len(), other_backend.received().len()), (2, 0));
    assert_eq!(count(&elsewhere.response), 0);
    wait_for_commit(&topics.group, &topics.request, 2).await;
    processor.assert_no_restarts().await;
}

#[tokio::test]
async fn malformed_envelopes_are_skipped_and_answered_where_their_client_is_known() {
    let topics = Topics::unique("orders");
    let dead_letters = unique("dead-letters");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    create_topic(&dead_letters, 1).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("dead_letter_topic", dead_letters.as_str())
        .start()
        .await;

    let whole = request(ID, "GET", "/", Value::Null);
    let truncated = &whole.to_string()[..60];
    let mut wrong_type = whole.clone();
    wrong_type["headers"] = json!(["accept"]);
    let mut split = whole.clone();
    split["headers"] = json!({ "x-a": "1\r\nX-Injected: 1" });
    let mut without_id = whole.clone();
    without_id["correlation_id"] = Value::Null;
    let deep = "[".repeat(200_000);
    let malformed: [(&str, Option<&str>, bool); 7] = [
        (truncated, Some(ID), true),
        (&wrong_type.to_string(), None, true),
        (&split.to_string(), None, true),
        (&without_id.to_string(), None, false),
        (truncated, None, false),
        ("[]", None, false),
        (&deep, None, false),
    ];
    for (value, header, _) in malformed {
        write(&topics.request, 0, value.as_bytes(), header).await;
    }
    write(&topics.request, 0, whole.to_string().as_bytes(), Some("last")).await;

    let replies = Reader::open(&topics.response);
    for _ in malformed.iter().filter(|(_, _, answered)| *answered) {
        let reply = envelope(&replies.next().await);
        assert_eq!(
            (&reply["correlation_id"], &reply["status_code"]),
            (&json!(ID), &json!(500))
        );
        assert_eq!(reply["error"], "bad-message");
    }
    let last = replies.next().await;
    assert_eq!(
        (
            last.header_text("correlation_id").as_str(),
            &envelope(&last)["status_code"]
        ),
        ("last", &json!(200))
    );
    let letters = Reader::open(&dead_letters);
    for (value, _, _) in malformed {
        let letter = letters.next().await;
        assert_eq!(letter.value.as_deref(), Some(value.as_bytes()));
        assert_eq!(letter.header_text("khp-error"), "bad-message");
    }
    processor
        .wait_for_metric("processor_dead_letters_total", &[], malformed.len() as f64)
        .await;
    assert_eq!(backend.received().len(), 1, "{:?}", backend.received());
    wait_for_commit(&topics.group, &topics.request, malformed.len() as i64 + 1).await;
    processor.assert_no_restarts().await;
}
