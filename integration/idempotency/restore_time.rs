//! The time of a rebalance with many keys: `KHP_RESTORE_KEYS=500000` writes so many to one partition, and prints what it takes to read
//! them.

use std::time::{Duration, Instant, UNIX_EPOCH};

use super::{honours, memory_of, payment, remembers};
use crate::harness::backend::Backend;
use crate::harness::names::Topics;
use crate::harness::topics::{config, create_topic};
use crate::harness::wait::PATIENCE;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

/// Bytes of each remembered answer.
const ANSWER: usize = 500;

fn write_keys(topic: &str, keys: usize) {
    let mut config = config();
    config
        .set("linger.ms", "50")
        .set("queue.buffering.max.messages", "200000");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
    let expires = (UNIX_EPOCH.elapsed().expect("after 1970").as_millis() + 3_600_000).to_string();
    let answer = vec![b'x'; ANSWER];
    let began = Instant::now();
    for number in 0..keys {
        let key = format!("{number:032x}");
        let field = |key, value: &str| (key, value.to_owned());
        let headers = [
            field("khp-idempotency-fingerprint", "00112233445566778899aabbccddeeff"),
            field("khp-idempotency-state", "answered"),
            field("khp-idempotency-expires", &expires),
            field("khp-idempotency-partitions", "1"),
            field("khp-version", "1"),
            field("kafka_correlationId", "0123456789abcdef"),
            field(":status", "201"),
            field("content-type", "application/json"),
        ];
        let headers = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header {
                key,
                value: Some(value),
            })
        });
        let mut record = BaseRecord::to(topic)
            .partition(0)
            .key(&key)
            .payload(&answer)
            .headers(headers);
        while let Err((error, back)) = producer.send(record) {
            assert!(began.elapsed() < PATIENCE, "{error}");
            std::thread::sleep(Duration::from_millis(5));
            record = back;
        }
    }
    producer.flush(Duration::from_secs(60)).expect("all are written");
}

#[tokio::test]
async fn a_partition_with_many_keys_is_restored_in_seconds() {
    let keys = std::env::var("KHP_RESTORE_KEYS")
        .ok()
        .and_then(|keys| keys.parse().ok())
        .unwrap_or(5000);
    let backend = Backend::echo().await;
    let topics = Topics::unique("payments");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let memory = memory_of(&topics);
    create_topic(&memory, 1).await;
    let proxy = honours(&topics).start().await;
    for (keys, name) in [(0, "without keys"), (keys, "with keys")] {
        let topic = memory.clone();
        crate::harness::wait::off_thread(move || write_keys(&topic, keys)).await;
        let processor = remembers(&topics, &backend).start().await;
        let before = processor.resident_memory();
        let began = Instant::now();
        assert_eq!(
            proxy.request(payment(&format!("after-{keys}"), "ten")).await.status,
            200
        );
        let took = began.elapsed();
        let metrics = processor.metrics().await;
        let restored = metrics.sum("processor_idempotency_restored_keys_total", &[]);
        println!(
            "{name}: {restored} keys restored in {:.3} s, first answer after {took:?}, memory from {} to {} MiB (at most {})",
            metrics.sum("processor_idempotency_restore_seconds_sum", &[]),
            before >> 20,
            processor.resident_memory() >> 20,
            processor.peak_memory() >> 20,
        );
        assert!(restored >= keys as f64);
        processor.stop().await;
    }
    assert_eq!(backend.count(), 2);
}
