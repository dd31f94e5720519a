//! `rate_limit` of a topic: so many records a second, evenly, over all workers of the topic in the process.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::harness::backend::{Answer, Backend};
use crate::harness::names::Topics;
use crate::harness::records::produce_job;
use crate::harness::spec::processor;
use crate::harness::topics::{create_topic, wait_for_commit};

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
    // The median time of ten calls is half a second. It is a quarter where the workers do not share the rate, and nothing where the records of
    // a second come at once. A busy machine delays some calls, and the next ones come sooner; the median stays.
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
