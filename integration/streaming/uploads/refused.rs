//! Bodies that are refused, and what of them is not asked for.

use serde_json::json;

use super::client::{Framing, Upload, upload};
use super::sink::Sink;
use super::{MIB, bodies_topic};
use crate::harness::exchange::assert_nothing_was_sent;
use crate::harness::names::Topics;
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{count, create_topic};

#[tokio::test]
async fn a_body_over_max_body_size_is_a_413_however_it_is_framed() {
    let topics = Topics::unique("files");
    let proxy = proxy(&topics).set("max_body_size", 3 * MIB).start().await;
    // Told beforehand: nothing of it is read, and no topic is made for it.
    let told = Upload::begin(&proxy.address(), Framing::Length, 3 * MIB + 1, "").await;
    told.finish().await.0.assert_problem(413, "body-too-large");
    // Found on the way.
    let (answer, _) = upload(&proxy.address(), Framing::Chunked, 3 * MIB + 1).await;
    answer.assert_problem(413, "body-too-large");
    assert_eq!(
        proxy
            .metrics()
            .await
            .sum("proxy_uploads_total", &[("outcome", "body-too-large")]),
        1.0
    );
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn json_carries_what_fits_into_a_record() {
    let topics = Topics::unique("files");
    let proxy = proxy(&topics).set("wire_format", "json").start().await;
    for framing in [Framing::Length, Framing::Chunked] {
        let (answer, _) = upload(&proxy.address(), framing, 2 * MIB).await;
        answer.assert_problem(413, "body-too-large");
    }
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn without_a_topic_for_them_large_bodies_are_refused_and_the_log_says_why() {
    let topics = Topics::unique("files");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let proxy = proxy(&topics).set("create_topics.enabled", false).start().await;
    let (answer, _) = upload(&proxy.address(), Framing::Length, 2 * MIB).await;
    answer.assert_problem(413, "body-too-large");
    let name = bodies_topic(&topics);
    assert_eq!(
        proxy.logged("bodies larger than a record are refused"),
        1,
        "{}",
        proxy.log()
    );
    assert!(proxy.log().contains(&name));
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_no_request() {
    let topics = Topics::unique("files");
    let sink = Sink::start().await;
    let _processor = processor(&[(&topics, &sink.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    for framing in [Framing::Length, Framing::Chunked] {
        let mut left = Upload::begin(&proxy.address(), framing, 10 * MIB, "").await;
        left.send(5 * MIB).await.expect("taken");
        drop(left);
    }
    crate::harness::wait::eventually("both were noticed", async || {
        let metrics = proxy.metrics().await;
        metrics.expect_sum("proxy_uploads_total", &[("outcome", "client-left")], 2.0)?;
        metrics.expect_sum("proxy_uploads_open", &[], 0.0)?;
        metrics.expect_sum("proxy_pending_bytes", &[], 0.0)
    })
    .await;
    assert!(count(&bodies_topic(&topics)) > 10, "what came of them was written");
    assert_eq!(count(&topics.request), 0);
    assert!(sink.calls().is_empty());
}

#[tokio::test]
async fn a_pause_ends_an_upload() {
    let topics = Topics::unique("files");
    let proxy = proxy(&topics).set("routes", json!([])).start().await;
    let mut paused = Upload::begin(&proxy.address(), Framing::Length, 10 * MIB, "").await;
    paused.send(MIB).await.expect("taken");
    let began = std::time::Instant::now();
    paused.finish().await.0.assert_problem(408, "body-timeout");
    let took = began.elapsed().as_secs();
    assert!((9..30).contains(&took), "{took} s");
    assert_eq!(count(&topics.request), 0);
}
