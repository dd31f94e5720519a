//! Many topics in one process cost few threads, little memory and hardly any time.

use std::time::{Duration, Instant};

use crate::harness::backend::Backend;
use crate::harness::names::Topics;
use crate::harness::records::{job, produce_all};
use crate::harness::spec::processor;
use crate::harness::wait::long;

#[tokio::test]
async fn many_topics_share_threads_and_memory() {
    let count = if long() { 200 } else { 40 };
    let topics: Vec<Topics> = (0..count)
        .map(|number| Topics::unique(&format!("topic-{number}")))
        .collect();
    let backend = Backend::echo().await;
    let url = backend.url();
    let routed: Vec<_> = topics.iter().map(|topic| (topic, url.as_str())).collect();
    let spec = processor(&routed)
        .set("create_topics.partitions", 1)
        .set("health_check_interval", 10);
    // Creates the topics: the broker's time for that is not the service's.
    spec.clone().start().await.stop().await;
    let began = Instant::now();
    let processor = spec.start().await;
    let started = began.elapsed();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (began, cpu) = (Instant::now(), processor.cpu());
    tokio::time::sleep(Duration::from_secs(20)).await;
    let idle = (processor.cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    let memory = processor.resident_memory() >> 20;
    let (threads, descriptors) = (processor.threads(), processor.descriptors());
    println!(
        "{count} topics: ready after {started:?}, {memory} MiB, {threads} threads, {descriptors} descriptors, {:.2} % of a core idle",
        idle * 100.0
    );
    // Of each topic there remain the pump and librdkafka's threads: its main one, one for each broker, and two more.
    assert!(threads < count * 6 + 60, "{threads} threads");
    assert!(memory < 300, "{memory} MiB");
    // Of an idle topic, librdkafka takes most: its main thread wakes four times a second, and its connection fetches twice.
    assert!(idle < 0.001 * count as f64, "{idle}");
    for topic in &topics {
        produce_all(&topic.request, 0, [job("one".into())]).await;
    }
    backend.wait_for_calls(count).await;
}
