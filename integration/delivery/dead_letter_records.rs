//! A request that is given up is kept as a dead letter, byte for byte. Its offset is not committed before that.

use std::sync::Arc;
use std::time::Duration;

use actix_khp::kafka::producer::outgoing::Outgoing;
use actix_khp::kafka::producer::{Context, Delivered, DeliveryListener};
use actix_khp::kafka::record::raw_record;
use actix_khp::wire::RawFields;
use bytes::Bytes;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;

use crate::harness::backend::{Answer, Backend, unreachable_url};
use crate::harness::client::Request;
use crate::harness::kafka::brokers;
use crate::harness::names::{Topics, unique};
use crate::harness::records::{job, produce_all, read_all, request_headers, written};
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::topics::{committed, create_topic, set_topic, wait_for_commit, wait_for_count};
use crate::harness::wait::{PATIENCE, eventually};

/// A processor of one partition, with a dead letter topic.
async fn spec(topics: &Topics, dead_letters: &str, backend_url: &str) -> Spec {
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    processor(&[(topics, backend_url)])
        .set_topics("max_retries", 0)
        .set("dead_letter_topic", dead_letters)
}

fn client() -> rdkafka::ClientConfig {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", brokers()).set("group.id", "unused");
    config
}

/// Ignores delivery reports. The test writes and reads with the service's own types, because those of rdkafka cannot hold all bytes.
struct Ignored;

impl DeliveryListener for Ignored {
    type Ticket = ();
    fn delivered(&self, (): (), outcome: Delivered) {
        outcome.expect("the broker takes it");
    }
}

#[tokio::test]
async fn a_dead_letter_is_its_record_byte_for_byte() {
    let (topics, dead_letters) = (Topics::unique("orders"), unique("dead-letters"));
    create_topic(&dead_letters, 1).await;
    let _processor = spec(&topics, &dead_letters, &unreachable_url()).await.start().await;
    let field = |name: &[u8], value: Option<&[u8]>| (name.to_vec().into(), value.map(|value| value.to_vec().into()));
    let headers: RawFields = vec![
        field(b"khp-version", Some(b"1")),
        field(b"kafka_correlationId", Some(b"\0\x01\xff")),
        field(b":method", Some(b"POST")),
        field(b":path", Some(b"/x")),
        field(b"caf\xe9", Some(b"\r\n\0")),
        field(b"x-null", None),
        field(b"x-empty", Some(b"")),
        field(b"X-Twice", Some(b"1")),
        field(b"x-twice", Some(b"2")),
    ];
    // Key and value: null, empty, bytes.
    let parts: [Option<&'static [u8]>; 3] = [None, Some(b""), Some(b"\xff\0")];
    let producer =
        ThreadedProducer::from_config_and_context(&client(), Context(Arc::new(Ignored))).expect("a producer");
    for part in parts.map(|part| part.map(Bytes::from_static)) {
        Outgoing::raw(&topics.request, Some(0), (part.clone(), part), &headers, ())
            .and_then(|record| record.produce(producer.client()).map_err(|(_, ticket)| ticket))
            .expect("it is queued");
    }
    producer.flush(PATIENCE).expect("Kafka takes it");
    wait_for_count(&dead_letters, 3).await;

    let consumer: BaseConsumer = client().create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&dead_letters, 0, Offset::Beginning)
        .expect("a valid offset");
    consumer.assign(&list).expect("the topic exists");
    let mut letters = Vec::new();
    while letters.len() < 3 {
        let message = consumer.poll(PATIENCE).expect("a letter").expect("the broker answers");
        letters.push(raw_record(&message, &Arc::from(dead_letters.as_str())));
    }
    letters.sort_by_key(|letter| letter.value.clone());
    for (letter, part) in letters.iter().zip(parts) {
        assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (part, part));
        assert_eq!(letter.headers[..headers.len()], headers);
        assert!(
            letter.headers[headers.len()..]
                .iter()
                .all(|(name, _)| name.starts_with(b"kafka_dlt-") || name.starts_with(b"khp-"))
        );
    }
    wait_for_commit(&topics.group, &topics.request, 3).await;
}

#[tokio::test]
async fn a_letter_too_large_for_its_topic_is_truncated_and_marked() {
    let (topics, dead_letters) = (Topics::unique("orders"), unique("dead-letters"));
    create_topic(&dead_letters, 1).await;
    set_topic(&dead_letters, "max.message.bytes", "3000").await;
    let _processor = spec(&topics, &dead_letters, &unreachable_url()).await.start().await;
    let proxy = proxy(&topics).start().await;
    let answer = proxy.request(Request::post("/", vec![b'x'; 20_000])).await;
    answer.assert_problem(502, "backend-unreachable");
    wait_for_count(&dead_letters, 1).await;
    let letter = read_all(&dead_letters).await.remove(0);
    assert_eq!(letter.header_text("khp-truncated"), "20000");
    assert!(
        letter
            .value
            .as_ref()
            .is_some_and(|value| !value.is_empty() && value.iter().all(|byte| *byte == b'x'))
    );
    assert_eq!(letter.header_text("kafka_dlt-original-topic"), topics.request);
    wait_for_commit(&topics.group, &topics.request, 1).await;
}

#[tokio::test]
async fn while_a_letter_cannot_be_written_its_offset_is_not_committed_and_intake_stops() {
    let (topics, dead_letters) = (Topics::unique("orders"), unique("dead-letters"));
    let backend = Backend::start(|received| match received.target.as_str() {
        "/fail" => Answer::Close,
        _ => Answer::status(204),
    })
    .await;
    let processor = spec(&topics, &dead_letters, &backend.url()).await;
    let processor = processor
        .set("create_topics.enabled", false)
        .set_topics("concurrency", 8)
        .start()
        .await;
    let records = (0..600).map(|number: usize| {
        let path = if number == 0 { "/fail" } else { "/do" };
        written("x", &request_headers(&number.to_string(), "POST", path, &[]))
    });
    produce_all(&topics.request, 0, records).await;
    eventually("not ready, with the cause", async || {
        let answer = processor.manage("/health/ready").await;
        match answer.status == 503 && answer.text().contains("dead letter topic") {
            true => Ok(()),
            false => Err(answer.text()),
        }
    })
    .await;
    // The window has 256 records. 255 of them are answered, and none is committed before the letter is written.
    eventually("intake has stopped", async || {
        let status = processor.topic_status(&topics.request).await;
        match (&status["in_flight"], &status["lag"], backend.count()) {
            (one, all, 256) if *one == json!(1) && *all == json!(600) => Ok(()),
            _ => Err(format!("{} calls, {status}", backend.count())),
        }
    })
    .await;
    assert_eq!(committed(&topics.group, &topics.request), 0);
    assert_eq!(
        processor.logged("dead letter topic cannot be written"),
        1,
        "logged once"
    );

    create_topic(&dead_letters, 1).await;
    wait_for_commit(&topics.group, &topics.request, 600).await;
    wait_for_count(&dead_letters, 1).await;
    eventually("ready again", async || {
        processor.expect_health("/health/ready", 200).await
    })
    .await;
    assert_eq!(backend.count(), 600, "each was called once");
}

#[tokio::test]
async fn letters_whose_topic_is_missing_share_one_request_to_create_it() {
    const LETTERS: i64 = 200;
    let (topics, dead_letters) = (Topics::unique("orders"), unique("dead-letters"));
    // More replicas than there are brokers: Kafka refuses to create it.
    let processor = spec(&topics, &dead_letters, &unreachable_url())
        .await
        .set_topics("breaker", json!({"mode": "off"}))
        .set("create_topics.replication_factor", 3)
        .start()
        .await;
    let before = processor.threads();
    produce_all(&topics.request, 0, (0..LETTERS).map(|number| job(number.to_string()))).await;
    wait_for_count(&topics.response, LETTERS).await;
    processor
        .wait_for_metric("processor_messages_in_flight", &[], LETTERS as f64)
        .await;
    // Each letter is tried again twice a second. Twenty samples cover ten rounds of all letters, or more.
    let mut most = 0;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        most = most.max(processor.threads());
    }
    println!("{LETTERS} letters without a topic: {most} threads, {before} before");
    assert!(most < before + 40, "{before} threads, then {most}");
    create_topic(&dead_letters, 1).await;
    wait_for_count(&dead_letters, LETTERS).await;
    wait_for_commit(&topics.group, &topics.request, LETTERS).await;
}
