//! Topics that change under load: more partitions, or deleted and created again.

use std::time::{Duration, Instant};

use crate::harness::Topics;
use crate::harness::app::{processor, proxy};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::load::{Load, OnClose};
use crate::harness::records::produce;
use crate::harness::topics::{add_partitions, count_of, create_topic, delete_topic, partitions, wait_for_count};
use crate::harness::wait::eventually;

const CLIENTS: usize = 8;

/// A partition is used by producers before it is read: its replies are read from its first record on, seconds later.
#[tokio::test]
async fn partitions_added_to_both_topics_fail_no_request() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::body(received.body.clone())).await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    // Each with its own way to read replies.
    let (one, all) = (
        proxy(&topics).start().await,
        proxy(&topics).set("reply_partition", "all").start().await,
    );
    let loads = [&one, &all].map(|proxy| {
        Load::start(&proxy.address(), CLIENTS, OnClose::Persist, |body| {
            Request::post("/", body)
        })
    });
    for load in &loads {
        load.wait_for_more(100).await;
    }
    for topic in [&topics.request, &topics.response] {
        add_partitions(topic, 8).await;
    }
    // New partitions are in use: the processor's own metadata is five seconds old at most.
    within_use(&topics).await;
    for load in &loads {
        load.wait_for_more(300).await;
    }
    for (load, name) in loads.into_iter().zip(["auto", "all"]) {
        let report = load.finish().await;
        println!(
            "partitions added, {name}: {} answered, failed {:?}, slowest {:?}",
            report.answered, report.kinds, report.slowest
        );
        assert_eq!(report.failures, Vec::<String>::new());
    }
    for app in [&one, &all, &processor] {
        app.wait_until_idle().await;
    }
}

/// Until both topics have records on a partition that was added.
async fn within_use(topics: &Topics) {
    for topic in [&topics.request, &topics.response] {
        assert_eq!(partitions(topic), 8);
        eventually(
            &format!("records on new partitions of {topic}"),
            async || match count_of(topic, 4..8) {
                0 => Err("none".into()),
                _ => Ok(()),
            },
        )
        .await;
    }
}

/// A proxy that has just started reads a partition that the processor's client has not heard of: only there its reply is found.
#[tokio::test]
async fn a_reply_goes_to_a_partition_that_was_added_a_moment_ago() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let backend = Backend::start(|received| Answer::body(received.body.clone())).await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let request = async |id: &str, partition: i32| {
        let partition = partition.to_be_bytes();
        let headers: [(&str, &[u8]); 6] = [
            ("khp-version", b"1"),
            ("kafka_correlationId", id.as_bytes()),
            (":method", b"POST"),
            (":path", b"/"),
            ("kafka_replyTopic", topics.response.as_bytes()),
            ("kafka_replyPartition", &partition),
        ];
        produce(&topics.request, 0, id.as_bytes(), &headers).await;
    };
    // Each has to find the partition within five seconds, when the client looks by itself.
    for partition in 1..4 {
        request("before", 0).await;
        wait_for_count(&topics.response, 2 * partition as i64 - 1).await;
        add_partitions(&topics.response, partition + 1).await;
        request("after", partition as i32).await;
        wait_for_count(&topics.response, 2 * partition as i64).await;
        assert_eq!(count_of(&topics.response, partition..partition + 1), 1, "{partition}");
    }
    // One that there is not is none.
    request("nowhere", 99).await;
    wait_for_count(&topics.response, 7).await;
    processor.wait_until_idle().await;
}

/// What was in the deleted topic is gone, and while there is none, requests are refused or wait: those have to fail, each with a definite
/// error; nobody after them, and nobody gets another's answer.
#[tokio::test]
async fn topics_recreated_under_load_cost_only_what_was_in_them() {
    const TIMEOUT: Duration = Duration::from_secs(5);
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::body(received.body.clone())).await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).set("default_timeout", TIMEOUT.as_secs()).start().await;
    for topic in [&topics.response, &topics.request] {
        let load = Load::start(&proxy.address(), CLIENTS, OnClose::Persist, |body| {
            Request::post("/", body)
        });
        load.wait_for_more(100).await;
        let gone = Instant::now();
        delete_topic(topic).await;
        // Either we or the service may be the quicker one.
        if partitions(topic) == 0 {
            crate::harness::topics::try_create_topic(topic, 4).await;
        }
        // Replies may be found before that, and requests in flight when it comes are told that theirs are lost.
        eventually("the end of the reply topic is noticed", async || {
            match proxy.logged("reply topic was recreated") + proxy.logged("reply topic was deleted") {
                0 => Err("not yet".into()),
                _ => Ok(()),
            }
        })
        .await;
        // As many in a row as the topic has partitions, and more: each of them is in use again.
        let mut answered = 0;
        eventually("requests are answered again", async || {
            match proxy.request(Request::post("/", "again")).await.status {
                200 => answered += 1,
                _ => answered = 0,
            }
            if answered >= 20 {
                Ok(())
            } else {
                Err(format!("{answered} in a row"))
            }
        })
        .await;
        let recovered = Instant::now();
        load.wait_for_more(300).await;
        let (report, outage) = (load.finish().await, recovered - gone);
        println!(
            "{topic} recreated, {outage:?} until it served again: {} answered, failed {:?}, slowest {:?}",
            report.answered, report.kinds, report.slowest
        );
        // A client has one request at a time, and waits a fifth of a second after each that failed.
        let times = |each: Duration| CLIENTS * (1 + outage.as_millis().div_ceil(each.as_millis()) as usize);
        for (kind, count) in &report.kinds {
            let most = match kind.as_str() {
                // What is in flight when the reply topic's end is noticed, once.
                "502 reply-lost" => CLIENTS,
                "503 kafka-unavailable" => times(Duration::from_millis(200)),
                "504 reply-timeout" => times(TIMEOUT),
                _ => 0,
            };
            assert!(*count <= most, "{count} × {kind}: {:?}", report.failures.first());
        }
        assert!(report.last_failed < Some(recovered), "{:?}", report.failures.last());
        assert!(report.slowest < Duration::from_secs(15), "{:?}", report.slowest);
    }
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn the_harness_tells_partitions_apart() {
    let topic = Topics::unique("a").request;
    create_topic(&topic, 2).await;
    produce(&topic, 1, b"x", &[]).await;
    assert_eq!(count_of(&topic, 0..1), 0);
    assert_eq!(count_of(&topic, 1..2), 1);
}
