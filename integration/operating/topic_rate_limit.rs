//! `rate_limit`: so many records a second, smoothly, over all workers of the topic in the process.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::harness::Topics;
use crate::harness::app::processor;
use crate::harness::backend::{Answer, Backend};
use crate::harness::records::produce_job;
use crate::harness::topics::{create_topic, wait_for_commit};

#[tokio::test]
async fn a_topic_s_workers_share_a_rate_without_bursts() {
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
    let processor = processor(&[(&topics, &backend.url())])
        .set_topics("rate_limit", 20)
        .set_topics("workers", 2)
        .start()
        .await;
    wait_for_commit(&topics.group, &topics.request, RECORDS as i64).await;
    let mut times = Vec::new();
    calls.recv_many(&mut times, RECORDS).await;
    // The middle one of all runs of ten calls: half a second apart, a quarter if the workers did not share the rate, nothing if a
    // second's worth came at once. A busy machine delays some calls, and the next seem to come faster; it does not move the middle.
    let mut runs: Vec<Duration> = times.windows(11).map(|run| run[10] - run[0]).collect();
    runs.sort();
    let middle = runs[runs.len() / 2];
    println!("ten calls at 20 a second took {middle:?}, {:?} at least", runs[0]);
    assert!(middle >= Duration::from_millis(400), "{runs:?}");
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn what_waits_for_its_place_does_not_hold_up_the_end_of_a_process() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    for number in 0..40 {
        produce_job(&topics.request, 0, None, "POST", &number.to_string()).await;
    }
    let backend = Backend::echo().await;
    let spec = processor(&[(&topics, &backend.url())]).set("revoke_timeout", 1);
    let mut slow = spec.clone().set_topics("rate_limit", 2).start().await;
    backend.wait_for_calls(2).await;
    let told = Instant::now();
    slow.signal("TERM").await;
    assert_eq!(slow.wait_exit().await, Some(0));
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    let next = spec.start().await;
    wait_for_commit(&topics.group, &topics.request, 40).await;
    for number in 0..40 {
        assert!(backend.calls_with_body(&number.to_string()) >= 1, "{number}");
    }
    // Those that were done behind one given back run again: only the contiguous prefix is committed.
    assert!(backend.received().len() < 50, "{}", backend.received().len());
    next.wait_until_idle().await;
}
