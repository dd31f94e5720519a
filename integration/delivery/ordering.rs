//! `ordering`: records that must wait for each other do, through retries and rebalances. No other record waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::harness::backend::{Answer, Backend};
use crate::harness::names::Topics;
use crate::harness::records::produce_job;
use crate::harness::spec::processor;
use crate::harness::topics::{create_topic, wait_for_commit};

/// The bodies that the backend received, in order.
fn bodies(backend: &Backend) -> Vec<String> {
    backend.received().iter().map(|received| received.text()).collect()
}

#[tokio::test]
async fn records_of_one_key_run_one_after_the_other_and_others_do_not_wait() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    let overlaps = Arc::new(AtomicUsize::new(0));
    let (open, gate) = watch::channel(false);
    // For each lane, in ms: its call is not answered before then, so the next one must come later.
    let (began, under_way) = (Instant::now(), [const { AtomicU64::new(0) }; 3]);
    let seen = overlaps.clone();
    let backend = Backend::start(move |received| {
        let lane: usize = received.text()[..1].parse().expect("a lane's number");
        if lane < 3 {
            let now = began.elapsed().as_millis() as u64;
            if now < under_way[lane].swap(now + 20, Ordering::SeqCst) {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        }
        Answer::body("done").after(Duration::from_millis(30)).until(&gate)
    })
    .await;
    for number in 0..60 {
        let lane = number % 4;
        let key = format!("key {lane}");
        // A record with a null key is not ordered.
        let key = (lane < 3).then_some(key.as_str());
        produce_job(&topics.request, 0, key, "POST", &format!("{lane} {number:02}")).await;
    }
    let _processor = processor(&[(&topics, &backend.url())])
        .set_topics("ordering", "key")
        .start()
        .await;
    // While no call is answered, one record of each key comes, and all records without a key.
    backend.wait_for_calls(18).await;
    let mut first: Vec<String> = bodies(&backend).iter().map(|body| body[..1].into()).collect();
    first.sort();
    assert_eq!(first.concat(), format!("012{}", "3".repeat(15)));
    open.send_replace(true);
    wait_for_commit(&topics.group, &topics.request, 60).await;
    assert_eq!(overlaps.load(Ordering::SeqCst), 0, "never two calls of one key at once");
    let came = bodies(&backend);
    for lane in ["0", "1", "2"] {
        let of_lane: Vec<_> = came.iter().filter(|body| body.starts_with(lane)).collect();
        assert!(of_lane.is_sorted() && of_lane.len() == 15, "{of_lane:?}");
    }
}

#[tokio::test]
async fn a_record_that_waits_for_its_retry_holds_its_lane_but_no_permit() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    let failing = Arc::new(AtomicUsize::new(2));
    let left = failing.clone();
    let backend = Backend::start(move |received| {
        let fails = received.text() == "a1"
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok();
        match fails {
            true => Answer::status(503).header("Retry-After", "3"),
            false => Answer::body("done"),
        }
    })
    .await;
    for (key, body) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b2")] {
        produce_job(&topics.request, 0, Some(key), "GET", body).await;
    }
    let _processor = processor(&[(&topics, &backend.url())])
        .set_topics("ordering", "key")
        .set_topics("concurrency", 1)
        .start()
        .await;
    wait_for_commit(&topics.group, &topics.request, 4).await;
    // The only permit goes to the other lane while the first lane waits for its retries.
    assert_eq!(bodies(&backend), ["a1", "b1", "b2", "a1", "a1", "a2"]);
}

#[tokio::test]
async fn a_call_is_ended_before_its_partition_moves() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 2).await;
    let (open, opened) = watch::channel(false);
    let backend = Backend::start(move |_| match *opened.borrow() {
        true => Answer::body("done"),
        false => Answer::Hang,
    })
    .await;
    for partition in 0..2 {
        for number in 1..=2 {
            produce_job(
                &topics.request,
                partition,
                None,
                "POST",
                &format!("{partition} {number}"),
            )
            .await;
        }
    }
    let spec = processor(&[(&topics, &backend.url())])
        .set_topics("ordering", "partition")
        .set("revoke_timeout", 1);
    let first = spec.clone().start().await;
    backend.wait_for_calls(2).await;
    // One of the two partitions moves, and with it the record whose call hangs.
    let second = spec.start().await;
    backend.wait_for_calls(3).await;
    first.wait_for_metric("processor_messages_in_flight", &[], 2.0).await;
    let came = bodies(&backend);
    let moved = came.last().expect("three calls").clone();
    assert!(
        moved.ends_with(" 1"),
        "the first record of its partition comes again, not the second: {came:?}"
    );
    assert_eq!(came.iter().filter(|body| **body == moved).count(), 2, "{came:?}");
    let left: Vec<(String, usize)> = backend
        .left()
        .iter()
        .map(|(call, calls)| (call.text(), *calls))
        .collect();
    assert_eq!(
        left,
        [(moved, 2)],
        "the first call ended before the second came, and no other call ended"
    );

    // The call that still hangs ends when its processor is killed. The last processor executes the rest, in order.
    open.send_replace(true);
    for processor in [first, second] {
        processor.signal("KILL");
    }
    let _last = processor(&[(&topics, &backend.url())])
        .set_topics("ordering", "partition")
        .start()
        .await;
    wait_for_commit(&topics.group, &topics.request, 4).await;
    for partition in ["0", "1"] {
        let mut of_partition: Vec<_> = bodies(&backend)
            .into_iter()
            .filter(|body| body.starts_with(partition))
            .collect();
        of_partition.dedup();
        assert_eq!(of_partition, [format!("{partition} 1"), format!("{partition} 2")]);
    }
}
