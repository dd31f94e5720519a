//! What a million results cost: memory, the time to index them at start, and the time of a GET. Run by name, with `--ignored`.

use std::time::{Duration, Instant};

use actix_khp::proxy::results::location::{Locations, ResultId, place_of};
use actix_khp::wire::{CorrelationId, Response, native, now_ms};
use bytes::Bytes;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::{accepting, ask};
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::topics::{config, create_topic};
use crate::harness::wait::within;

const BODY: usize = 300;
const PATIENCE: Duration = Duration::from_secs(600);

/// Writes so many results; returns their ids.
fn produce(topic: &str, results: usize) -> Vec<CorrelationId> {
    let mut config = config();
    config
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "200000");
    let producer: BaseProducer = config.create().expect("a producer");
    let mut ids = Vec::with_capacity(results);
    let began = Instant::now();
    for _ in 0..results {
        let id = CorrelationId::new(7);
        ids.push(id);
        let record = native::encode_response(Response {
            correlation_id: Bytes::copy_from_slice(&id.to_bytes()),
            status: 200,
            headers: vec![("content-type".into(), Bytes::from_static(b"text/plain"))],
            body: Bytes::from(vec![b'x'; BODY]),
            error: None,
        });
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(&value[..]),
                })
            });
        let mut next = BaseRecord::<[u8], [u8]>::to(topic)
            .payload(&record.value)
            .headers(headers);
        while let Err((error, back)) = producer.send(next) {
            assert!(began.elapsed() < PATIENCE, "{error}");
            producer.poll(Duration::from_millis(20));
            next = back;
        }
    }
    producer.flush(PATIENCE).expect("all are acknowledged");
    ids
}

#[tokio::test]
#[ignore = "it takes minutes, and measures"]
async fn a_million_results() {
    let results: usize = std::env::var("KHP_RESULTS").map_or(1_000_000, |text| text.parse().expect("a number"));
    let topics = Topics::unique("jobs");
    let topic = format!("{}-results", topics.response);
    create_topic(&topic, 4).await;
    let empty = accepting(&topics).start().await;
    empty.wait_for_metric("proxy_results_read_total", &[], 0.0).await;
    println!("resident memory without results: {} MiB", empty.resident_memory() >> 20);
    drop(empty);
    let ids = produce(&topic, results);
    let began = Instant::now();
    let proxy = accepting(&topics).start().await;
    let ready = began.elapsed();
    let at = |id: CorrelationId| {
        let result = ResultId {
            id,
            place: place_of(&topics.request, &topic),
            deadline_ms: now_ms() + 3_600_000,
            timeout: Duration::from_secs(3600),
        };
        format!("/.khp/results/{}", Locations::new(None).write(&result, None))
    };
    let nobodys = CorrelationId::new(8);
    within(PATIENCE, "all results are indexed", async || {
        match proxy.request(Request::get(&at(nobodys))).await.status {
            503 => Err(proxy.metrics().await.sum("proxy_results_indexed", &[]).to_string()),
            _ => Ok(()),
        }
    })
    .await;
    let indexed = began.elapsed();
    let metrics = proxy.metrics().await;
    metrics
        .expect_sum("proxy_results_indexed", &[], results as f64)
        .expect("all of them");
    println!(
        "{results} results of {BODY} bytes: ready after {ready:?}, indexed after {indexed:?}, {:?} of CPU, {} bytes read, resident memory {} MiB, at most {} MiB",
        proxy.cpu(),
        metrics.sum("proxy_results_read_bytes_total", &[]),
        proxy.resident_memory() >> 20,
        proxy.peak_memory() >> 20,
    );
    let mut times = Vec::new();
    for number in 0..500 {
        let id = ids[number * (results / 500).max(1) % results];
        let began = Instant::now();
        let answer = ask(&proxy, Request::get(&at(id))).await;
        times.push(began.elapsed());
        assert_eq!((answer.status, answer.body.len()), (200, BODY));
    }
    times.sort_unstable();
    println!(
        "GET of a result, one after the other: median {:?}, 99 % within {:?}",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
}
