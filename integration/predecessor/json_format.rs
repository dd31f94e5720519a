//! The json format carries everything that the native format carries, and both share topics.

use serde_json::{Value, json};

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Body, Request};
use crate::harness::json::{envelope, json_proxy};
use crate::harness::names::Topics;
use crate::harness::records::{Reader, produce};
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::topics::create_topic;

#[tokio::test]
async fn requests_and_answers_pass_unchanged_in_json() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| {
        Answer::same_body(received)
            .header("Set-Cookie", "a=1")
            .header("X-Back", "1")
            .header("Set-Cookie", "b=2")
            .header("X-Back", b"caf\xe9")
    })
    .await;
    // One partition, so that the first record is the first request.
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = json_proxy(&topics).start().await;

    let every_byte: Vec<u8> = (0..=255).collect();
    let target = "/a%20b//c/%2F?k=2&other=x&k=1&empty=&flag&k=2&p=a+b%20c";
    let sent = Request::new("PURGE", target)
        .header("X-Many", "first")
        .header("X-Latin", b"caf\xe9")
        .header("X-Many", "second, with a comma")
        .header("X-Many", "");
    let answer = proxy.request(sent.body(Body::Sized(every_byte.clone()))).await;
    assert_eq!((answer.status, &answer.body), (200, &every_byte), "{answer:?}");
    assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.all_bytes("x-back"), [&b"1"[..], b"caf\xe9"]);
    let received = backend.last();
    assert_eq!((received.method.as_str(), received.target.as_str()), ("PURGE", target));
    assert_eq!(received.body, every_byte);
    assert_eq!(received.all("x-many"), ["first", "second, with a comma", ""]);
    assert_eq!(received.all_bytes("x-latin"), [b"caf\xe9"]);
    assert_eq!(
        received.header("khp-correlation-id"),
        answer.header("khp-correlation-id")
    );

    for (body, length) in [(Body::None, None), (Body::Empty, Some("0".to_owned()))] {
        assert_eq!(proxy.request(Request::new("POST", "/").body(body)).await.status, 200);
        assert_eq!(backend.last().header("content-length"), length);
    }

    // The records have one header. They name no partition, and have nothing of the native format.
    for topic in [&topics.request, &topics.response] {
        let record = Reader::open(topic).next().await;
        let id = envelope(&record)["correlation_id"].as_str().map(str::to_owned);
        assert_eq!(id, answer.header("khp-correlation-id"));
        assert_eq!(
            record.headers,
            [("correlation_id".to_owned(), id.unwrap_or_default().into_bytes())]
        );
    }
    proxy.assert_no_restarts().await;
    processor.assert_no_restarts().await;
}

#[tokio::test]
async fn limits_hold_for_the_encoded_record() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|_| Answer::body(vec![0xff; 800_000])).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set_topics("max_retries", 0)
        .start()
        .await;
    let proxy = json_proxy(&topics).start().await;
    // In base64 both bodies are a third larger, and do not fit any more.
    let answer = proxy.request(Request::post("/", vec![0xff; 800_000])).await;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (413, Some("body-too-large"))
    );
    let answer = proxy.request(Request::post("/", "small")).await;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (502, Some("response-too-large"))
    );
    backend.answer_with(|_| Answer::body(vec![b'x'; 800_000]));
    let answer = proxy.request(Request::post("/", vec![b'x'; 800_000])).await;
    assert_eq!((answer.status, answer.body.len()), (200, 800_000));
    drop(backend);
    let answer = proxy.request(Request::get("/")).await;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (502, Some("backend-unreachable"))
    );
    let replies = Reader::open(&topics.response);
    let mut errors = Vec::new();
    for _ in 0..3 {
        errors.push(envelope(&replies.next().await)["error"].clone());
    }
    errors.sort_by_key(Value::to_string);
    assert_eq!(
        errors,
        [json!("backend-unreachable"), json!("response-too-large"), Value::Null]
    );
    proxy.assert_no_restarts().await;
    processor.assert_no_restarts().await;
}

#[tokio::test]
async fn proxies_of_both_formats_share_topics_and_a_processor() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let (native, json) = (proxy(&topics).start().await, json_proxy(&topics).start().await);
    for number in 0..10 {
        let (a, b) = (format!("native {number}"), format!("json {number}"));
        let (first, second) = tokio::join!(
            native.request(Request::post("/", a.clone())),
            json.request(Request::post("/", b.clone()))
        );
        assert_eq!(
            (first.json()["body"].as_str(), second.json()["body"].as_str()),
            (Some(a.as_str()), Some(b.as_str()))
        );
    }
    assert_eq!(json.metrics().await.sum("proxy_unmatched_replies_total", &[]), 0.0);
    native.assert_no_restarts().await;
    json.assert_no_restarts().await;
    processor.assert_no_restarts().await;
}

#[tokio::test]
async fn a_route_can_write_json_beside_one_that_does_not() {
    let (native, old) = (Topics::unique("new"), Topics::unique("old"));
    for topic in [&native.request, &old.request] {
        create_topic(topic, 1).await;
    }
    let route = |path: &str, topics: &Topics, format: &str| json!({ "path": path, "request_topic": topics.request, "response_topic": topics.response, "wire_format": format });
    let routes = json!([route("/new", &native, "native"), route("/old", &old, "json")]);
    let proxy = Spec::new("proxy")
        .set("warmup_topics", json!([]))
        .set("routes", routes)
        .start()
        .await;
    // The proxy reads every partition of the json route's replies, because its repliers know no partitions. Of the
    // other route's replies it reads the one that it names.
    let requests = Reader::open(&old.request);
    for partition in 0..4 {
        let mut waiting = proxy.leave_waiting(&Request::post("/old", "x")).await;
        let record = requests.next().await;
        let id = envelope(&record)["correlation_id"].clone();
        assert_eq!((record.reply_partition(), record.headers.len()), (None, 1));
        let reply =
            json!({ "correlation_id": id, "status_code": 200, "headers": {}, "body": format!("from {partition}") });
        produce(&old.response, partition, reply.to_string().as_bytes(), &[]).await;
        let answer = waiting.read_response(false).await.expect("an answer");
        assert_eq!((answer.status, answer.text()), (200, format!("from {partition}")));
    }
    let mut waiting = proxy.leave_waiting(&Request::post("/new", "x")).await;
    let record = Reader::open(&native.request).next().await;
    let partition = record.reply_partition().expect("the proxy reads one partition");
    let id = ("kafka_correlationId", record.correlation_id());
    produce(&native.response, partition, b"native", &[id]).await;
    assert_eq!(waiting.read_response(false).await.expect("an answer").text(), "native");
    proxy.assert_no_restarts().await;
}
