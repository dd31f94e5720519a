//! Bodies that retention has removed: no backend takes a part for the whole.

use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

use super::client::{Framing, Upload, assert_arrived, upload};
use super::sink::{Does, Sink};
use super::{MIB, bodies_topic};
use crate::harness::names::Topics;
use crate::harness::records::read_all;
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{config, create_topic, wait_for_count};
use crate::harness::wait::eventually;

/// Removes all that a topic of one partition has, as retention would.
pub async fn remove_all(topic: &str) {
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, rdkafka::Offset::End)
        .expect("a topic");
    admin
        .delete_records(&list, &AdminOptions::new())
        .await
        .expect("removed");
}

#[tokio::test]
async fn a_body_that_is_gone_before_the_call_is_a_500_and_no_call() {
    let topics = Topics::unique("files");
    create_topic(&bodies_topic(&topics), 1).await;
    let sink = Sink::start().await;
    let proxy = proxy(&topics).start().await;
    let address = proxy.address();
    let answer = tokio::spawn(async move { upload(&address, Framing::Length, 3 * MIB).await });
    wait_for_count(&topics.request, 1).await;
    remove_all(&bodies_topic(&topics)).await;
    let processor = processor(&[(&topics, &sink.url())]).start().await;
    let (answer, _) = answer.await.expect("no panic");
    answer.assert_problem(500, "bad-message");
    assert!(sink.calls().is_empty());
    assert_eq!(
        processor
            .metrics()
            .await
            .sum("processor_bodies_total", &[("outcome", "gone")]),
        1.0
    );
    // The topic goes on to carry bodies.
    let (answer, sha) = upload(&proxy.address(), Framing::Length, 2 * MIB).await;
    assert_arrived(&answer, 2 * MIB, &sha);
}

#[tokio::test]
async fn a_body_that_is_removed_during_the_call_cuts_it() {
    let topics = Topics::unique("files");
    create_topic(&bodies_topic(&topics), 1).await;
    let sink = Sink::scripted(|call| if call == 0 { Does::WaitAfter(MIB) } else { Does::Take }).await;
    let processor = processor(&[(&topics, &sink.url())])
        .set_topics("max_retries", 0)
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    let address = proxy.address();
    let answer = tokio::spawn(async move { upload(&address, Framing::Length, 40 * MIB).await });
    sink.wait_for(0, MIB).await;
    // What is fetched ahead is still there.
    tokio::time::sleep(Duration::from_millis(500)).await;
    remove_all(&bodies_topic(&topics)).await;
    sink.open_gate();
    let (answer, _) = answer.await.expect("no panic");
    answer.assert_problem(500, "bad-message");
    let call = eventually("the backend's connection ended", async || {
        sink.calls()
            .into_iter()
            .find(|call| call.cut)
            .ok_or_else(|| "it has not".into())
    })
    .await;
    assert!(call.sha.is_none() && call.bytes < 40 * MIB, "{} bytes", call.bytes);
    assert_eq!(sink.calls().len(), 1);
    let metrics = processor.metrics().await;
    assert_eq!(metrics.sum("processor_bodies_total", &[("outcome", "gone")]), 1.0);
    let (answer, sha) = upload(&proxy.address(), Framing::Length, 2 * MIB).await;
    assert_arrived(&answer, 2 * MIB, &sha);
}

#[tokio::test]
async fn each_attempt_reads_the_body_again() {
    let topics = Topics::unique("files");
    let sink = Sink::scripted(|call| {
        if call == 0 {
            Does::ResetAfter(3 * MIB)
        } else {
            Does::Take
        }
    })
    .await;
    let processor = processor(&[(&topics, &sink.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    let (answer, sha) = upload(&proxy.address(), Framing::Length, 20 * MIB).await;
    assert_arrived(&answer, 20 * MIB, &sha);
    let calls = sink.calls();
    assert_eq!(calls.len(), 2);
    assert!(calls[0].cut && calls[0].sha.is_none());
    assert_eq!(
        processor
            .metrics()
            .await
            .sum("processor_bodies_total", &[("outcome", "call-ended")]),
        1.0
    );
    assert_eq!(read_all(&topics.request).await.len(), 1);
}

#[tokio::test]
async fn a_backend_that_answers_early_keeps_no_reader() {
    let topics = Topics::unique("files");
    let sink = Sink::scripted(|call| if call < 6 { Does::RefuseAfter(MIB) } else { Does::Take }).await;
    let processor = processor(&[(&topics, &sink.url())])
        .set("body_readers", 1)
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    for _ in 0..6 {
        let (answer, _) = upload(&proxy.address(), Framing::Length, 20 * MIB).await;
        assert_eq!(answer.status, 413, "the backend's own: {}", answer.text());
    }
    let (answer, sha) = upload(&proxy.address(), Framing::Length, 2 * MIB).await;
    assert_arrived(&answer, 2 * MIB, &sha);
    eventually("no reader is at work", async || {
        let metrics = processor.metrics().await;
        metrics.expect_sum("processor_body_readers_busy", &[], 0.0)
    })
    .await;
}

#[tokio::test]
async fn a_slow_backend_takes_a_reader_and_no_memory() {
    let topics = Topics::unique("files");
    let sink = Sink::scripted(|call| {
        if call == 0 {
            Does::WaitAfter(2 * MIB)
        } else {
            Does::Take
        }
    })
    .await;
    let processor = processor(&[(&topics, &sink.url())])
        .set("body_readers", 1)
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    let before = processor.resident_memory();
    let (address, other) = (proxy.address(), proxy.address());
    let slow = tokio::spawn(async move { upload(&address, Framing::Length, 60 * MIB).await });
    sink.wait_for(0, 2 * MIB).await;
    let waiting = tokio::spawn(async move { upload(&other, Framing::Length, 3 * MIB).await });
    eventually("the other waits for the reader", async || {
        let metrics = processor.metrics().await;
        metrics.expect_sum("processor_waiting_for_body_reader", &[], 1.0)
    })
    .await;
    // Small requests need no reader.
    let small = Upload::begin(&proxy.address(), Framing::Length, 3, "").await;
    let mut small = small;
    small.send(3).await.expect("taken");
    assert_eq!(small.finish().await.0.status, 200);
    let grown = processor.resident_memory().saturating_sub(before);
    println!("{} KiB grown", grown >> 10);
    assert!(grown < 32 << 20, "{grown}");
    sink.open_gate();
    for (upload, bytes) in [(slow, 60 * MIB), (waiting, 3 * MIB)] {
        let (answer, sha) = upload.await.expect("no panic");
        assert_arrived(&answer, bytes, &sha);
    }
}

/// The answer is kept meanwhile: it stands where no better one comes.
#[tokio::test]
async fn a_request_that_waits_for_its_next_attempt_keeps_no_reader() {
    let topics = Topics::unique("files");
    let sink = Sink::scripted(|call| if call == 0 { Does::BusyAfter(MIB) } else { Does::Take }).await;
    let _processor = processor(&[(&topics, &sink.url())])
        .set("body_readers", 1)
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    let address = proxy.address();
    let busy = tokio::spawn(async move { upload(&address, Framing::Length, 20 * MIB).await });
    sink.wait_for(0, MIB).await;
    let (answer, sha) = upload(&proxy.address(), Framing::Length, 2 * MIB).await;
    assert_arrived(&answer, 2 * MIB, &sha);
    assert_eq!(sink.calls().len(), 2, "the other has not begun its second attempt");
    let (answer, sha) = busy.await.expect("no panic");
    assert_arrived(&answer, 20 * MIB, &sha);
}
