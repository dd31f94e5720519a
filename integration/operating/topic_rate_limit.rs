//! `rate_limit` of a topic: so many records a second, evenly, over all workers of the topic in the process.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::harness::backend::{Answer, Backend};
use crate::harness::names::Topics;
use crate::harness::records::{job, produce_all, produce_job};
use crate::harness::spec::processor;
use crate::harness::topics::{create_topic, wait_for_commit};
use crate::harness::wait::eventually;

#[tokio::test]
async fn the_workers_of_a_topic_share_its_rate_without_bursts() {
    const RECORDS: usize = 60;
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 4).await;
    for number in 0..RECORDS {
        produce_job(&topics.request, number as i32 % 4, None, "POST", &number.to_string()).await;
    }
    let (came, mut calls) = mpsc::unbounded_channel();
    let backend = Backend::start(move |_| {
        came.send(Instant::now()).expect("the test listens");
        Answer::body("done")
    })
    .await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set_topics("rate_limit", 20)
        .set_topics("workers", 2)
        .start()
        .await;
    wait_for_commit(&topics.group, &topics.request, RECORDS as i64).await;
    let mut times = Vec::new();
    calls.recv_many(&mut times, RECORDS).await;
    // The median time of ten calls is half a second. It is a quarter where the workers do not share the rate, and
    // nothing where the records of a second come at once. A busy machine delays some calls, and the next ones come
    // sooner; the median stays.
    let mut runs: Vec<Duration> = times.windows(11).map(|run| run[10] - run[0]).collect();
    runs.sort();
    let middle = runs[runs.len() / 2];
    println!("ten calls at 20 a second took {middle:?}, {:?} at least", runs[0]);
    assert!(middle >= Duration::from_millis(400), "{runs:?}");
}

#[tokio::test]
async fn records_that_wait_for_the_rate_limit_do_not_delay_the_end_of_a_process() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    for number in 0..40 {
        produce_job(&topics.request, 0, None, "POST", &number.to_string()).await;
    }
    let backend = Backend::echo().await;
    let spec = processor(&[(&topics, &backend.url())]).set("revoke_timeout", 1);
    let slow = spec.clone().set_topics("rate_limit", 2).start().await;
    backend.wait_for_calls(2).await;
    let stopped = Instant::now();
    slow.stop().await;
    assert!(stopped.elapsed() < Duration::from_secs(10), "{:?}", stopped.elapsed());
    let _next = spec.start().await;
    wait_for_commit(&topics.group, &topics.request, 40).await;
    for number in 0..40 {
        assert!(backend.calls_with_body(&number.to_string()) >= 1, "{number}");
    }
    // Some records run again: only the contiguous prefix is committed, and they were behind a record that was given back.
    assert!(backend.received().len() < 50, "{}", backend.received().len());
}

#[tokio::test]
async fn two_thousand_waiting_records_keep_to_the_rate_and_cost_little() {
    const RATE: usize = 200;
    const WAITING: usize = 2_000;
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 8).await;
    for partition in 0..8 {
        let numbers = (0..WAITING / 4).map(|number| job((partition * WAITING + number).to_string()));
        produce_all(&topics.request, partition as i32, numbers).await;
    }
    let backend = Backend::start(|_| Answer::body("done")).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set_topics("rate_limit", RATE)
        .set_topics("concurrency", 100)
        .start()
        .await;
    // Twice as many are in Kafka, and the windows take in 400 of each partition.
    eventually("so many wait", async || {
        let waiting = processor.metrics().await.sum("processor_messages_in_flight", &[]);
        (waiting >= WAITING as f64).then_some(()).ok_or(waiting.to_string())
    })
    .await;
    let (began, called, cpu) = (Instant::now(), backend.count(), processor.cpu());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (took, calls) = (began.elapsed().as_secs_f64(), backend.count() - called);
    let (rate, cpu) = (calls as f64 / took, (processor.cpu() - cpu).as_secs_f64() / took);
    println!(
        "{WAITING} records waited: {rate:.1} calls a second of {RATE}, {:.1} % of a core",
        cpu * 100.0
    );
    assert!((0.95..=1.05).contains(&(rate / RATE as f64)), "{rate}");
    assert!(cpu < 0.3, "{cpu}");
    wait_for_commit(&topics.group, &topics.request, 2 * WAITING as i64).await;
}
