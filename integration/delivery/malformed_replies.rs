//! Replies that cannot be read are counted, and their client hears so at once where it is known.

use std::time::Instant;

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::digest::hex;
use crate::harness::malformed::{LARGE, LARGE_LIMIT, Waiting, borrowed, many_headers};
use crate::harness::names::Topics;
use crate::harness::records::{Header, Reader, produce, produce_with_header_name};
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{create_limited_topic, create_topic};

/// The id of a request that does not exist.
const ID: &[u8] = b"\x01\x02\x03\x04\x05\x06\x87\x08\x89\x0a\x0b\x0c\x0d\x0e\x0f\x10";

/// A correlation id as the json format writes it.
fn uuid_text(id: &[u8]) -> String {
    let digits = hex(id);
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}

#[tokio::test]
async fn no_reply_record_stops_a_proxy() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_limited_topic(&topics.response, LARGE_LIMIT).await;
    let proxy = proxy(&topics).start().await;
    let requests = Reader::open(&topics.request);

    produce(&topics.response, 0, b"\xff\xfe\x00garbage", &[]).await;
    produce(&topics.response, 0, &vec![b'x'; LARGE], &[]).await;
    produce(&topics.response, 0, b"", &borrowed(&many_headers())).await;
    produce(&topics.response, 0, b"{\"correlation_id\": \"3f1c9a52", &[]).await;
    produce_with_header_name(&topics.response, 0, b"no UTF-8", b"caf\xe9\xff").await;

    let (large, flood) = (vec![0xff; LARGE], many_headers());
    let replies: [(&str, &[u8], Vec<Header<'_>>); 7] = [
        ("status 99", b"", vec![(":status", b"99")]),
        ("status 600", b"", vec![(":status", b"600")]),
        ("an interim status", b"", vec![(":status", b"103")]),
        ("a status that is not a number", b"", vec![(":status", b"banana")]),
        ("ten thousand headers", b"", borrowed(&flood)),
        (
            "a header with a line end",
            b"",
            vec![("x-split", b"a\r\nX-Injected: 1")],
        ),
        ("four MiB with status 99", &large, vec![(":status", b"99")]),
    ];
    for (what, value, mut headers) in replies {
        let waiting = Waiting::start(&proxy, &requests).await;
        let id = waiting.record.correlation_id().to_vec();
        headers.push(("kafka_correlationId", &id));
        let sent = Instant::now();
        produce(&topics.response, 0, value, &headers).await;
        waiting.assert_problem(sent, 502, "reply-lost", what).await;
    }
    // Json envelopes that are cut off or have wrong types, with the id of a request that waits.
    for value in [
        &b"{\"status_code\": 200, \"bo"[..],
        b"{\"status_code\": \"fine\", \"body\": 7}",
        b"[]",
        b"\xff",
    ] {
        let waiting = Waiting::start(&proxy, &requests).await;
        let id = uuid_text(waiting.record.correlation_id());
        let sent = Instant::now();
        produce(&topics.response, 0, value, &[("correlation_id", id.as_bytes())]).await;
        let what = String::from_utf8_lossy(value);
        waiting.assert_problem(sent, 502, "reply-lost", &what).await;
    }
    // A reply that is large but well formed.
    let waiting = Waiting::start(&proxy, &requests).await;
    let id = ("kafka_correlationId", waiting.record.correlation_id());
    produce(&topics.response, 0, &large, &[id]).await;
    let answer = waiting.answer().await;
    assert_eq!((answer.status, answer.body.len()), (200, large.len()));

    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("proxy_malformed_replies_total", &[]), 11.0);
    assert_eq!(metrics.sum("proxy_unmatched_replies_total", &[]), 5.0);
    assert_eq!(metrics.sum("actor_restarts_total", &[]), 0.0);
}

#[tokio::test]
async fn malformed_replies_are_skipped_and_counted() {
    let topics = Topics::unique("orders");
    create_topic(&topics.response, 1).await;
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    produce(&topics.response, 0, b"\xff\xfe garbage", &[]).await;
    produce(
        &topics.response,
        0,
        b"strange status",
        &[("kafka_correlationId", ID), (":status", b"banana")],
    )
    .await;
    produce(&topics.response, 0, b"short id", &[("kafka_correlationId", b"7")]).await;
    produce_with_header_name(&topics.response, 0, b"a header name that is not UTF-8", b"caf\xe9").await;
    proxy
        .request(Request::post("/", "well formed"))
        .await
        .assert_echo("well formed");

    let metrics = proxy.metrics().await;
    let counted: f64 = ["unmatched", "foreign", "late", "malformed"]
        .map(|kind| metrics.sum(&format!("proxy_{kind}_replies_total"), &[]))
        .iter()
        .sum();
    assert_eq!(counted, 4.0);
    assert_eq!(metrics.sum("actor_restarts_total", &[]), 0.0);
}
