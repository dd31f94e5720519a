//! Records that make no sense pass both roles by: counted, kept as dead letters, answered where that can be, and
//! nothing else suffers.

use crate::harness::app::{App, processor, proxy};
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::records::{Header, Reader, produce, produce_with_header_name, read_all};
use crate::harness::topics::{count, create_topic, wait_for_commit, wait_for_count};
use crate::harness::{Topics, unique};

const ID: &[u8] = b"\x01\x02\x03\x04\x05\x06\x87\x08\x89\x0a\x0b\x0c\x0d\x0e\x0f\x10";

async fn assert_round_trip(proxy: &App) {
    let answer = proxy.request(Request::post("/", "well formed")).await;
    assert_eq!(
        (answer.status, answer.json()["body"].as_str()),
        (200, Some("well formed"))
    );
}

#[tokio::test]
async fn malformed_requests_are_passed_over_and_kept_as_dead_letters() {
    let topics = Topics::unique("orders");
    let dead_letters = unique("failed-requests");
    create_topic(&topics.request, 1).await;
    create_topic(&dead_letters, 1).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("dead_letter_topic", dead_letters.as_str())
        .start()
        .await;
    let proxy = proxy(&topics).start().await;

    produce(&topics.request, 0, b"\xff\xfe neither native nor json", &[]).await;
    produce(
        &topics.request,
        0,
        b"no method",
        &[("khp-version", b"1"), (":path", b"/x"), ("kafka_correlationId", ID)],
    )
    .await;
    produce(&topics.request, 0, b"{\"half\": ", &[("correlation_id", b"abc")]).await;
    produce_with_header_name(&topics.request, 0, b"a header name that is not UTF-8", b"caf\xe9").await;
    assert_round_trip(&proxy).await;

    wait_for_count(&dead_letters, 4).await;
    let letters = Reader::open(&dead_letters);
    let first = letters.next().await;
    assert_eq!(first.value.as_deref(), Some(&b"\xff\xfe neither native nor json"[..]));
    assert_eq!(first.header_text("khp-error"), "bad-message");
    processor
        .wait_for_metric("processor_dead_letters_total", &[], 4.0)
        .await;
    assert_eq!(
        backend.received().len(),
        1,
        "only what was well formed: {:?}",
        backend.received()
    );
    wait_for_commit(&topics.group, &topics.request, 5).await;
    assert_eq!(processor.metrics().await.sum("actor_restarts_total", &[]), 0.0);
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn who_sent_a_malformed_request_is_told_where_that_can_be_read() {
    let topics = Topics::unique("orders");
    let dead_letters = unique("failed-requests");
    create_topic(&dead_letters, 1).await;
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("dead_letter_topic", dead_letters.as_str())
        .start()
        .await;
    let plain = ("x-plain", &b"1"[..]);
    let endless = [b"/?".as_slice(), &[b'x'; 70_000]].concat();
    let malformed: [(&[u8], Header); 9] = [
        (b"http://elsewhere.example/", plain),
        (b"no-slash", plain),
        (b"@elsewhere.example/", plain),
        (b"/split", ("x-split", b"a\r\nX-Injected: 1")),
        (b"/nul", ("x-nul", b"a\0b")),
        // What the HTTP client refuses, and only it.
        (b"/?a=<b", plain),
        (b"/?a=b>", plain),
        (b"/?a=\"b\"", plain),
        (&endless, plain),
    ];
    for (path, extra) in &malformed {
        let headers: [Header; 6] = [
            ("khp-version", b"1"),
            (":method", b"GET"),
            (":path", path),
            *extra,
            ("kafka_correlationId", ID),
            ("kafka_replyTopic", topics.response.as_bytes()),
        ];
        produce(&topics.request, 0, b"", &headers).await;
    }
    let replies = Reader::open(&topics.response);
    for (path, _) in &malformed {
        let reply = replies.next().await;
        assert_eq!(
            reply.header_text(":status"),
            "500",
            "{:?} {reply:?}",
            String::from_utf8_lossy(path)
        );
        assert_eq!(reply.header_text("khp-error"), "bad-message");
        assert_eq!(reply.header("kafka_correlationId"), Some(ID));
    }
    assert_eq!(backend.received().len(), 0, "{:?}", backend.received());
    wait_for_count(&dead_letters, malformed.len() as i64).await;
    for letter in read_all(&dead_letters).await {
        assert_eq!(letter.header_text("khp-error"), "bad-message", "{letter:?}");
        assert!(
            malformed.iter().any(|(path, _)| letter.header(":path") == Some(*path)),
            "{letter:?}"
        );
    }
    let metrics = processor.metrics().await;
    assert_eq!(
        metrics.sum("processor_backend_errors_total", &[]),
        0.0,
        "no backend was asked"
    );
    wait_for_commit(&topics.group, &topics.request, malformed.len() as i64).await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn a_records_path_cannot_leave_its_backend() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let elsewhere = Backend::echo().await;
    let authority = elsewhere.url().replace("http://", "");
    for (number, path) in [
        format!("//{authority}/x"),
        format!("/x@{authority}/y"),
        format!("/../{authority}"),
    ]
    .iter()
    .enumerate()
    {
        let headers: [Header; 6] = [
            ("khp-version", b"1"),
            ("kafka_correlationId", b"batch-8"),
            (":method", b"GET"),
            (":path", path.as_bytes()),
            (":authority", authority.as_bytes()),
            ("host", authority.as_bytes()),
        ];
        produce(&topics.request, 0, b"", &headers).await;
        backend.wait_for_calls(number + 1).await;
        assert_eq!(&backend.last().target, path);
    }
    assert_eq!(elsewhere.received().len(), 0);
    wait_for_commit(&topics.group, &topics.request, 3).await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn a_record_of_somebody_else_is_answered_on_an_allowed_topic_only() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let secret = unique("ledger");
    create_topic(&secret, 1).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let record = |reply_topic| {
        let fixed: [Header; 4] = [
            ("khp-version", b"1"),
            (":method", b"POST"),
            (":path", b"/x"),
            ("kafka_correlationId", ID),
        ];
        [fixed.as_slice(), &[("kafka_replyTopic", reply_topic)]].concat()
    };
    // Not `*-responses`, internal, the request topic itself: each is answered on `response_topic` instead.
    for reply_topic in [secret.as_bytes(), b"__consumer_offsets", topics.request.as_bytes()] {
        produce(&topics.request, 0, b"x", &record(reply_topic)).await;
    }
    let replies = Reader::open(&topics.response);
    for _ in 0..3 {
        assert_eq!(replies.next().await.header_text(":status"), "200");
    }
    assert_eq!((count(&secret), count(&topics.request)), (0, 3));
    wait_for_commit(&topics.group, &topics.request, 3).await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn a_record_without_a_deadline_or_a_reply_topic_is_executed_and_answered() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    produce(
        &topics.request,
        0,
        b"from a batch job",
        &[
            ("khp-version", b"1"),
            ("kafka_correlationId", b"batch-7"),
            (":method", b"POST"),
            (":path", b"/jobs?n=1"),
            ("x-many", b"1"),
            ("x-many", b"2"),
        ],
    )
    .await;
    backend.wait_for_calls(1).await;
    let received = backend.last();
    assert_eq!(
        (received.method.as_str(), received.target.as_str()),
        ("POST", "/jobs?n=1")
    );
    assert_eq!(
        (received.text().as_str(), received.all("x-many")),
        ("from a batch job", vec!["1".to_owned(), "2".to_owned()])
    );
    wait_for_commit(&topics.group, &topics.request, 1).await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn malformed_replies_are_passed_over_and_counted() {
    let topics = Topics::unique("orders");
    create_topic(&topics.response, 1).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
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
    assert_round_trip(&proxy).await;

    let metrics = proxy.metrics().await;
    let counted: f64 = ["unmatched", "foreign", "late", "malformed"]
        .map(|kind| metrics.sum(&format!("proxy_{kind}_replies_total"), &[]))
        .iter()
        .sum();
    assert_eq!(counted, 4.0);
    assert_eq!(metrics.sum("actor_restarts_total", &[]), 0.0);
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}
