//! Versions without streams beside this one, in both directions: nothing is lost, and answers are whole as before.
//!
//! What the old version writes was recorded (`old_records.json`), and is replayed in every run. With `--ignored` its binary runs beside this
//! one: the one that `KHP_OLD_BINARY` names, or one that is built for it.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{Client, GET};
use crate::harness::backend::{Answer, Backend};
use crate::harness::binary;
use crate::harness::client::Request;
use crate::harness::digest::hex;
use crate::harness::load::{Load, OnClose};
use crate::harness::names::Topics;
use crate::harness::records::{Header, Reader, Record, produce};
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::stream_backend::{Call, StreamBackend};
use crate::harness::topics::create_topic;

/// A request of the old proxy, and the reply of the old processor.
const RECORDED: &str = include_str!("old_records.json");
/// Headers whose values are those of one request.
const OF_ONE_REQUEST: [&str; 8] = [
    "kafka_correlationId",
    "kafka_replyTopic",
    "kafka_replyPartition",
    "khp-deadline",
    "khp-timeout",
    "x-request-id",
    "khp-client-ip",
    ":authority",
];
/// How many answers come while two versions are beside each other.
const BETWEEN: usize = 200;

/// Answers as a version that streams would pass on as it comes.
async fn slowly(mut call: Call) {
    call.chunked_head("text/event-stream").await;
    for part in ["one ", "two ", "three"] {
        call.chunk(part).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    call.last_chunk().await;
}

/// Waits for an answer that is whole.
async fn assert_whole(mut client: Client) {
    client.until("one two three").await;
    let text = client.text().to_ascii_lowercase();
    assert!(
        text.starts_with("http/1.1 200 ok\r\n") && text.contains("content-length: 13\r\n"),
        "{text}"
    );
    assert!(!text.contains("transfer-encoding"), "{text}");
}

/// A request or a reply as `old_records.json` has it.
fn recorded(name: &str) -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let all: Value = serde_json::from_str(RECORDED).expect("it is JSON");
    let record = &all[name];
    let bytes = |text: &Value| from_hex(text.as_str().expect("hexadecimal digits"));
    let headers = record["headers"].as_array().expect("a list").iter();
    let headers = headers.map(|pair| (pair[0].as_str().expect("a name").to_owned(), bytes(&pair[1])));
    (bytes(&record["value"]), headers.collect())
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text
        .as_bytes()
        .chunks(2)
        .map(|two| std::str::from_utf8(two).expect("ASCII"));
    digits
        .map(|two| u8::from_str_radix(two, 16).expect("two digits"))
        .collect()
}

fn as_json(record: &Record) -> Value {
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|(name, value)| json!([name, hex(value)]))
        .collect();
    json!({ "headers": headers, "value": hex(record.value.as_deref().unwrap_or_default()) })
}

/// Writes a recorded record with these headers in the place of its own.
async fn replay(topic: &str, partition: i32, name: &str, instead: &[Header<'_>]) {
    let (value, headers) = recorded(name);
    let headers: Vec<Header<'_>> = headers
        .iter()
        .map(|(name, value)| {
            let other = instead.iter().find(|(other, _)| other == name);
            (name.as_str(), other.map_or(value.as_slice(), |(_, other)| other))
        })
        .collect();
    produce(topic, partition, &value, &headers).await;
}

async fn topics() -> Topics {
    let topics = Topics::unique("versions");
    for topic in [&topics.request, &topics.response] {
        create_topic(topic, 1).await;
    }
    topics
}

/// A record to the byte, but for what is each request's own.
fn common(headers: &[(String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    let is_common = |(name, _): &&(String, Vec<u8>)| !OF_ONE_REQUEST.contains(&name.as_str());
    headers.iter().filter(is_common).cloned().collect()
}

#[tokio::test]
async fn a_request_of_the_old_version_is_answered_to_the_byte_as_the_old_one_did() {
    let (topics, mut backend) = (topics().await, StreamBackend::start().await);
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let replies = Reader::open(&topics.response);
    let deadline = UNIX_EPOCH.elapsed().expect("after 1970").as_millis() + 50_000;
    let deadline = deadline.to_string();
    let instead: [Header<'_>; 3] = [
        ("kafka_replyTopic", topics.response.as_bytes()),
        ("kafka_replyPartition", &[0, 0, 0, 0]),
        ("khp-deadline", deadline.as_bytes()),
    ];
    replay(&topics.request, 0, "request", &instead).await;
    slowly(backend.next().await).await;
    let reply = replies.next().await;
    let (value, headers) = recorded("reply");
    assert_eq!(reply.value.as_deref(), Some(&value[..]));
    assert_eq!(reply.headers, headers);
    assert_eq!(processor.metrics().await.sum("processor_streams_total", &[]), 0.0);
}

#[tokio::test]
async fn a_reply_of_the_old_version_reaches_its_client_whole() {
    let topics = topics().await;
    let requests = Reader::open(&topics.request);
    let proxy = proxy(&topics).start().await;
    let client = Client::send(&proxy, GET).await;
    let request = requests.next().await;
    // All that the old version told is still there, as it was: the old processor reads it.
    let (_, old) = recorded("request");
    for header in common(&old) {
        assert!(request.headers.contains(&header), "{header:?} in {:?}", request.headers);
    }
    for name in OF_ONE_REQUEST {
        let was_there = old.iter().any(|(old, _)| old == name);
        assert_eq!(was_there, request.header(name).is_some(), "{name}");
    }
    assert!(request.header("khp-accept").is_some(), "it may be answered by a stream");
    let partition = request.reply_partition().expect("a partition");
    let instead = [("kafka_correlationId", request.correlation_id())];
    replay(&topics.response, partition, "reply", &instead).await;
    assert_whole(client).await;
    assert_eq!(proxy.metrics().await.sum("proxy_streams_total", &[]), 0.0);
}

/// What was recorded is what the old binary writes.
#[tokio::test]
#[ignore = "it builds the old version, which takes minutes"]
async fn the_old_binary_writes_what_was_recorded() {
    let old = binary::without_streams();
    let (topics, mut backend) = (topics().await, StreamBackend::start().await);
    let processor = processor(&[(&topics, &backend.url())]).binary(&old).start().await;
    let proxy = proxy(&topics).binary(&old).start().await;
    let client = Client::send(&proxy, GET).await;
    slowly(backend.next().await).await;
    assert_whole(client).await;
    let request = Reader::open(&topics.request).next().await;
    let reply = Reader::open(&topics.response).next().await;
    println!("{}", json!({ "request": as_json(&request), "reply": as_json(&reply) }));
    let (_, headers) = recorded("request");
    assert_eq!(common(&request.headers), common(&headers));
    let (value, headers) = recorded("reply");
    assert_eq!(reply.value, Some(value));
    assert_eq!(common(&reply.headers), common(&headers));
    // It has none of the metrics by which the end of a test finds a process idle.
    for service in [proxy, processor] {
        service.stop().await;
    }
}

/// Both roles, one version after the other and back, each pair beside each other under load.
#[tokio::test]
#[ignore = "it builds the old version, which takes minutes"]
async fn a_rolling_upgrade_and_the_way_back_lose_nothing() {
    let old = binary::without_streams();
    let topics = Topics::unique("versions");
    let backend = Backend::start(|received| Answer::same_body(received).after(Duration::from_millis(20))).await;
    let [old_processor, new_processor] = both(processor(&[(&topics, &backend.url())]), &old);
    let [old_proxy, new_proxy] = both(proxy(&topics), &old);
    let load = |proxy: &Service| Load::start(&proxy.address(), 8, OnClose::Reconnect, |body| Request::post("/", body));
    let mut running = old_processor.clone().start().await;
    let before = old_proxy.start().await;
    let of_before = load(&before);
    of_before.wait_for_more(BETWEEN).await;
    // Processors first, as the pages say; any other order has the same pairs.
    running = replaced(running, new_processor).await;
    of_before.wait_for_more(BETWEEN).await;
    let after = new_proxy.start().await;
    let of_after = load(&after);
    of_after.wait_for_more(BETWEEN).await;
    running = replaced(running, old_processor).await;
    for load in [&of_before, &of_after] {
        load.wait_for_more(BETWEEN).await;
    }
    for load in [of_before, of_after] {
        let report = load.finish().await;
        println!("{} answered, slowest {:?}", report.answered, report.slowest);
        assert_eq!(report.failures, Vec::<String>::new());
    }
    for service in [before, after, running] {
        service.stop().await;
    }
}

/// The same process in the old version and in this one.
fn both(spec: Spec, old: &std::path::Path) -> [Spec; 2] {
    [spec.clone().binary(old), spec]
}

/// The next one starts before this one stops.
async fn replaced(running: Service, next: Spec) -> Service {
    let next = next.start().await;
    running.stop().await;
    next
}
