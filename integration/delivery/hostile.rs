//! Records of any shape on any topic: counted, kept as dead letters, passed over, and whoever waits for them hears so at once.

use std::time::{Duration, Instant};

use crate::harness::app::{App, processor, proxy};
use crate::harness::backend::Backend;
use crate::harness::client::{Connection, Request};
use crate::harness::records::{Header, Reader, Record, produce, produce_with_header_name};
use crate::harness::topics::{create_limited_topic, create_topic, wait_for_commit, wait_for_count};
use crate::harness::{Topics, unique};

/// Larger than what our producers take: a foreign client's.
const LARGE: usize = 6 << 20;

/// A request that waits at the proxy, and the record it became.
async fn waiting_request(proxy: &App, requests: &Reader) -> (Connection, Record) {
    let waiting = proxy.leave_waiting(&Request::post("/", "x")).await;
    (waiting, requests.next().await)
}

async fn assert_answered_at_once(mut waiting: Connection, sent: Instant, status: u16, code: &str, what: &str) {
    println!("{what}");
    waiting
        .read_response(false)
        .await
        .expect("an answer")
        .assert_problem(status, code);
    assert!(sent.elapsed() < Duration::from_secs(15), "{what}: {:?}", sent.elapsed());
}

fn many(name: &str) -> Vec<(String, Vec<u8>)> {
    (0..10_000)
        .map(|number| (format!("{name}-{number}"), b"1".to_vec()))
        .collect()
}

fn borrowed(headers: &[(String, Vec<u8>)]) -> Vec<Header<'_>> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect()
}

#[tokio::test]
async fn no_request_record_stops_a_processor() {
    let (inbox, topics) = (Topics::unique("inbox"), Topics::unique("orders"));
    let dead_letters = unique("failed-requests");
    create_topic(&inbox.request, 1).await;
    create_limited_topic(&topics.request, LARGE).await;
    create_topic(&dead_letters, 1).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("dead_letter_topic", dead_letters.as_str())
        .start()
        .await;
    let proxy = proxy(&inbox).start().await;
    let requests = Reader::open(&inbox.request);
    let mut produced = 0;

    // Those whose client cannot be known.
    let mut anonymous: Vec<(Vec<u8>, Vec<Header<'_>>)> = vec![
        (b"\xff\xfe\x00garbage".to_vec(), vec![]),
        (vec![b'x'; 4 << 20], vec![]),
        (
            b"{\"correlation_id\": \"a\", \"method\": \"GET\", \"pa".to_vec(),
            vec![],
        ),
        (
            b"{\"correlation_id\": 7, \"method\": [], \"path\": {}}".to_vec(),
            vec![],
        ),
        (b"[[[[[[[[[[[[[[[[".repeat(10_000), vec![]),
        (b"".to_vec(), vec![("khp-version", b"1")]),
    ];
    let flood = many("x");
    anonymous.push((b"".to_vec(), borrowed(&flood)));
    for (value, headers) in &anonymous {
        produce(&topics.request, 0, value, headers).await;
        produced += 1;
    }
    produce_with_header_name(&topics.request, 0, b"no UTF-8", b"caf\xe9\xff").await;
    produced += 1;

    // Those whose client waits: the record of its request, spoilt on the way.
    type Spoil = fn(&mut Record);
    let spoil: [(&str, Spoil); 6] = [
        ("no method", |record| {
            record.headers.retain(|(name, _)| name != ":method")
        }),
        ("a path that is none", |record| {
            record
                .headers
                .push((":path".into(), b"http://elsewhere.example/".to_vec()));
        }),
        ("a deadline that is no number", |record| {
            record.headers.push(("khp-deadline".into(), b"soon".to_vec()))
        }),
        ("ten thousand headers", |record| record.headers.extend(many("x"))),
        ("a newer version", |record| {
            record.headers.push(("khp-version".into(), b"99".to_vec()))
        }),
        ("four MiB, and no method", |record| {
            record.value = Some(vec![0xff; 4 << 20]);
            record.headers.retain(|(name, _)| name != ":method");
        }),
    ];
    for (what, spoil) in spoil {
        let (waiting, mut record) = waiting_request(&proxy, &requests).await;
        spoil(&mut record);
        let sent = Instant::now();
        produce(
            &topics.request,
            0,
            record.value.as_deref().unwrap_or_default(),
            &borrowed(&record.headers),
        )
        .await;
        produced += 1;
        assert_answered_at_once(waiting, sent, 500, "bad-message", what).await;
    }
    assert_eq!(backend.received().len(), 0, "{:?}", backend.received());

    // And the next good one is served.
    let (mut waiting, record) = waiting_request(&proxy, &requests).await;
    produce(&topics.request, 0, b"good", &borrowed(&record.headers)).await;
    let answer = waiting.read_response(false).await.expect("an answer");
    assert_eq!((answer.status, answer.json()["body"].as_str()), (200, Some("good")));
    wait_for_count(&dead_letters, produced).await;
    processor
        .wait_for_metric("processor_dead_letters_total", &[], produced as f64)
        .await;
    wait_for_commit(&topics.group, &topics.request, produced + 1).await;
    assert_eq!(processor.metrics().await.sum("actor_restarts_total", &[]), 0.0);
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn no_reply_record_stops_a_proxy() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_limited_topic(&topics.response, LARGE).await;
    let proxy = proxy(&topics).start().await;
    let requests = Reader::open(&topics.request);

    produce(&topics.response, 0, b"\xff\xfe\x00garbage", &[]).await;
    produce(&topics.response, 0, &vec![b'x'; 4 << 20], &[]).await;
    produce(&topics.response, 0, b"", &borrowed(&many("x"))).await;
    produce(&topics.response, 0, b"{\"correlation_id\": \"3f1c9a52", &[]).await;
    produce_with_header_name(&topics.response, 0, b"no UTF-8", b"caf\xe9\xff").await;

    let large = vec![0xff; 4 << 20];
    let flood = many("x");
    let replies: [(&str, &[u8], Vec<Header<'_>>); 7] = [
        ("status 99", b"", vec![(":status", b"99")]),
        ("status 600", b"", vec![(":status", b"600")]),
        ("an interim status", b"", vec![(":status", b"103")]),
        ("no status", b"", vec![(":status", b"banana")]),
        ("ten thousand headers", b"", borrowed(&flood)),
        (
            "a header with a line end",
            b"",
            vec![("x-split", b"a\r\nX-Injected: 1")],
        ),
        ("four MiB with status 99", &large, vec![(":status", b"99")]),
    ];
    for (what, value, mut headers) in replies {
        let (waiting, record) = waiting_request(&proxy, &requests).await;
        headers.push((
            "kafka_correlationId",
            record.header("kafka_correlationId").expect("ours"),
        ));
        let sent = Instant::now();
        produce(&topics.response, 0, value, &headers).await;
        assert_answered_at_once(waiting, sent, 502, "reply-lost", what).await;
    }
    // An envelope that is cut off, or of wrong types, under an id of ours.
    for value in [
        &b"{\"status_code\": 200, \"bo"[..],
        b"{\"status_code\": \"fine\", \"body\": 7}",
        b"[]",
        b"\xff",
    ] {
        let (waiting, record) = waiting_request(&proxy, &requests).await;
        let id = record.header("kafka_correlationId").expect("ours");
        let digits: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = [
            &digits[..8],
            &digits[8..12],
            &digits[12..16],
            &digits[16..20],
            &digits[20..],
        ]
        .join("-");
        let sent = Instant::now();
        produce(&topics.response, 0, value, &[("correlation_id", text.as_bytes())]).await;
        assert_answered_at_once(waiting, sent, 502, "reply-lost", &String::from_utf8_lossy(value)).await;
    }
    let (mut waiting, record) = waiting_request(&proxy, &requests).await;
    let id = record.header("kafka_correlationId").expect("ours");
    produce(&topics.response, 0, &large, &[("kafka_correlationId", id)]).await;
    let answer = waiting.read_response(false).await.expect("an answer");
    assert_eq!(
        (answer.status, answer.body.len()),
        (200, large.len()),
        "large, but sound"
    );

    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("proxy_malformed_replies_total", &[]), 11.0);
    assert_eq!(metrics.sum("proxy_unmatched_replies_total", &[]), 5.0);
    assert_eq!(metrics.sum("actor_restarts_total", &[]), 0.0);
    proxy.wait_until_idle().await;
}
