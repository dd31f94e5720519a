//! A body of any size arrives as it was sent, and neither process holds it.

use std::time::Duration;

use serde_json::json;

use super::client::{Framing, Upload, assert_arrived, block, upload};
use super::sink::Sink;
use super::{GROWTH, MIB, bodies_topic};
use crate::harness::client::Request;
use crate::harness::curl::curl;
use crate::harness::digest::hex;
use crate::harness::memory::Growth;
use crate::harness::names::Topics;
use crate::harness::records::read_all;
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::temp_dir::TempDir;
use crate::harness::tls::Authority;
use crate::harness::topics::{count, create_limited_topic, topic_setting};
use crate::harness::wait::long;

#[tokio::test]
async fn a_hundred_mebibytes_arrive_whole_and_are_held_by_nobody() {
    let size = if long() { 1024 * MIB } else { 100 * MIB };
    let topics = Topics::unique("files");
    let sink = Sink::start().await;
    let processor = processor(&[(&topics, &sink.url())])
        .set_topics("timeout", 120)
        .start()
        .await;
    let proxy = proxy(&topics)
        .set("max_body_size", 0)
        .set("default_timeout", 120)
        .start()
        .await;
    // What is held once is not counted as growth: clients and threads start with the first body.
    let (answer, sha) = upload(&proxy.address(), Framing::Length, 4 * MIB).await;
    assert_arrived(&answer, 4 * MIB, &sha);
    for framing in [Framing::Length, Framing::Chunked] {
        let grown = [&proxy, &processor].map(Growth::of);
        let (answer, sha) = upload(&proxy.address(), framing, size).await;
        assert_arrived(&answer, size, &sha);
        let grown = grown.map(|grown| grown.most());
        println!(
            "{framing:?}: proxy grew by {} KiB, processor by {} KiB",
            grown[0] >> 10,
            grown[1] >> 10
        );
        assert!(grown.iter().all(|grown| *grown < GROWTH), "{grown:?}");
    }
    let heads: Vec<String> = sink
        .calls()
        .into_iter()
        .map(|call| call.head.to_ascii_lowercase())
        .collect();
    assert_eq!(heads.len(), 3, "each was called once");
    assert!(
        heads[1..]
            .iter()
            .all(|head| head.contains(&format!("content-length: {size}\r\n")))
    );
    assert_eq!(topic_setting(&bodies_topic(&topics), "retention.ms").await, "86400000");
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("proxy_uploads_total", &[("outcome", "written")]), 3.0);
    assert_eq!(metrics.sum("proxy_uploads_open", &[]), 0.0);
    assert_eq!(metrics.sum("proxy_upload_unacknowledged_bytes", &[]), 0.0);
    assert_eq!(
        metrics.sum("proxy_upload_bytes_total", &[]),
        (2 * size + 4 * MIB) as f64
    );
    let metrics = processor.metrics().await;
    assert_eq!(metrics.sum("processor_bodies_total", &[("outcome", "whole")]), 3.0);
}

#[tokio::test]
async fn a_body_goes_beside_its_request_only_where_it_does_not_fit_into_it() {
    let topics = Topics::unique("files");
    let sink = Sink::start().await;
    let _processor = processor(&[(&topics, &sink.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    let put = async |bytes: u64, framing| {
        let (answer, sha) = upload(&proxy.address(), framing, bytes).await;
        assert_arrived(&answer, bytes, &sha);
    };
    put(900_000, Framing::Length).await;
    put(900_000, Framing::Chunked).await;
    assert!(!proxy.metrics().await.has("proxy_uploads_total"), "nobody needed it");
    // Around the limit, to the byte: whatever the head takes, it arrives.
    for bytes in [999_000, 999_400, 999_800, 1_000_000, 1_000_001, 3 * MIB] {
        put(bytes, Framing::Length).await;
        put(bytes, Framing::Chunked).await;
    }
    let pieces = read_all(&bodies_topic(&topics)).await;
    assert!(
        pieces
            .iter()
            .all(|piece| piece.value.as_ref().is_some_and(|value| value.len() <= 256 << 10))
    );
    let requests = read_all(&topics.request).await;
    let beside = requests
        .iter()
        .filter(|request| request.header("khp-body-length").is_some());
    assert!(beside.clone().count() >= 6, "{}", beside.count());
    assert_eq!(requests.len(), 14);
}

#[tokio::test]
async fn pieces_are_sealed_and_not_readable() {
    let topics = Topics::unique("files");
    let sink = Sink::start().await;
    let sealing = json!({"keys": [{"id": "a", "secret": "a secret of at least 32 letters."}], "require": true});
    let sealed = |spec: Spec| spec.set("sealing", sealing.clone());
    let _processor = sealed(processor(&[(&topics, &sink.url())])).start().await;
    let proxy = sealed(proxy(&topics)).start().await;
    let (answer, sha) = upload(&proxy.address(), Framing::Length, 3 * MIB).await;
    assert_arrived(&answer, 3 * MIB, &sha);
    let pieces = read_all(&bodies_topic(&topics)).await;
    let plain = block(0, 32);
    assert_eq!(pieces.len(), 12);
    for piece in &pieces {
        assert_eq!(piece.header_text("khp-seal-key"), "a");
        let value = piece.value.as_deref().unwrap_or_default();
        assert!(!value.windows(plain.len()).any(|part| part == plain));
    }
}

#[tokio::test]
async fn a_large_body_is_told_to_go_on() {
    let topics = Topics::unique("files");
    let sink = Sink::start().await;
    let _processor = processor(&[(&topics, &sink.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    let fields = "Expect: 100-continue\r\n";
    let mut upload = Upload::begin(&proxy.address(), Framing::Length, 2 * MIB, fields).await;
    upload.connection.read_continue().await.expect("room for it");
    upload.send(2 * MIB).await.expect("taken");
    let (answer, sha) = upload.finish().await;
    assert_arrived(&answer, 2 * MIB, &sha);
}

#[tokio::test]
async fn a_body_comes_over_http_2() {
    let topics = Topics::unique("files");
    let (authority, dir) = (Authority::new(), TempDir::new());
    let identity = authority.issue("localhost");
    let sink = Sink::start().await;
    let _processor = processor(&[(&topics, &sink.url())]).start().await;
    let proxy = proxy(&topics)
        .set("management_port", 1)
        .set("tls.cert", identity.cert.to_str().expect("UTF-8"))
        .set("tls.key", identity.key.to_str().expect("UTF-8"))
        .start()
        .await;
    let body = block(0, 20 << 20);
    let file = dir.path().join("body");
    std::fs::write(&file, &body).expect("written");
    let url = proxy.address().replace("127.0.0.1", "https://localhost");
    let from = format!("@{}", file.display());
    // With a length, and without one.
    for field in ["x-none: 1", "content-length:"] {
        let answer = curl(&[
            "-k",
            "--http2",
            "-H",
            field,
            "-w",
            "%{http_version}",
            "--data-binary",
            &from,
            &url,
        ])
        .await;
        assert_eq!(answer.code, Some(0), "{answer:?}");
        let sha = hex(&openssl::sha::sha256(&body));
        assert!(answer.out.contains(&sha) && answer.out.ends_with("}2"), "{answer:?}");
    }
}

#[tokio::test]
async fn demo_mode_carries_what_its_broker_holds() {
    let mut demo = Spec::new("demo").unset("kafka").start().await;
    let (answer, _) = upload(&demo.address(), Framing::Length, 3 * MIB).await;
    answer.assert_problem(413, "body-too-large");
    let answer = demo.request(Request::post("/", vec![b'x'; 3 << 19])).await;
    // What the echo answers is larger than a record. That it was made shows that the body came.
    assert!(
        answer.status == 200 || answer.text().contains("response-too-large"),
        "{}",
        answer.text()
    );
    assert_eq!(
        demo.metrics()
            .await
            .sum("processor_bodies_total", &[("outcome", "whole")]),
        1.0
    );
    demo.signal("INT");
    assert_eq!(demo.wait_exit().await, Some(0));
}

/// A topic whose records are small gets small pieces.
#[tokio::test]
async fn pieces_fit_their_topic() {
    let topics = Topics::unique("files");
    create_limited_topic(&bodies_topic(&topics), 50_000).await;
    let sink = Sink::start().await;
    let _processor = processor(&[(&topics, &sink.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    let (answer, sha) = upload(&proxy.address(), Framing::Length, 2 * MIB).await;
    assert_arrived(&answer, 2 * MIB, &sha);
    assert!(count(&bodies_topic(&topics)) > 40);
}

/// It takes no time of its client's, as any body that lies beside its request: what it took to come and to be written does not count.
#[tokio::test]
async fn the_deadline_of_a_body_that_fits_but_not_beside_its_head_begins_when_it_is_in() {
    const BYTES: u64 = 999_800;
    let topics = Topics::unique("files");
    let proxy = proxy(&topics).set("default_timeout", 5).start().await;
    let mut upload = Upload::begin(&proxy.address(), Framing::Length, BYTES, "").await;
    upload.send(BYTES / 2).await.expect("taken");
    tokio::time::sleep(Duration::from_secs(2)).await;
    upload.send(BYTES - BYTES / 2).await.expect("taken");
    let (answer, _) = upload.finish().await;
    answer.assert_problem(504, "reply-timeout");
    let requests = read_all(&topics.request).await;
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header_text("khp-body-length"), BYTES.to_string());
    assert_eq!(requests[0].header_text("khp-timeout"), "5000");
    assert_eq!(proxy.metrics().await.sum("proxy_pending_bytes", &[]), 0.0);
}
