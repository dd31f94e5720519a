//! Requests that cannot be read are counted, kept as dead letters, and answered where their client is known.

use std::time::Instant;

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::malformed::{LARGE, LARGE_LIMIT, Waiting, borrowed, many_headers};
use crate::harness::names::{Topics, unique};
use crate::harness::records::{Header, Reader, Record, produce, produce_with_header_name, read_all, request_headers};
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{create_limited_topic, create_topic, wait_for_commit, wait_for_count};

const ID: &[u8] = b"\x01\x02\x03\x04\x05\x06\x87\x08\x89\x0a\x0b\x0c\x0d\x0e\x0f\x10";

#[tokio::test]
async fn malformed_requests_are_skipped_and_kept_as_dead_letters() {
    let topics = Topics::unique("orders");
    let dead_letters = unique("dead-letters");
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
    proxy
        .request(Request::post("/", "well formed"))
        .await
        .assert_echo("well formed");

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
        "only the well-formed request: {:?}",
        backend.received()
    );
    wait_for_commit(&topics.group, &topics.request, 5).await;
    processor.assert_no_restarts().await;
}

#[tokio::test]
async fn a_malformed_request_whose_client_is_known_is_answered() {
    let topics = Topics::unique("orders");
    let dead_letters = unique("dead-letters");
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
        // Only the HTTP client refuses these.
        (b"/?a=<b", plain),
        (b"/?a=b>", plain),
        (b"/?a=\"b\"", plain),
        (&endless, plain),
    ];
    for (path, extra) in &malformed {
        let reply_topic = ("kafka_replyTopic", topics.response.as_bytes());
        let headers = request_headers(ID, "GET", *path, &[*extra, reply_topic]);
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
        "no backend was called"
    );
    wait_for_commit(&topics.group, &topics.request, malformed.len() as i64).await;
}

#[tokio::test]
async fn no_request_record_stops_a_processor() {
    let (inbox, topics) = (Topics::unique("inbox"), Topics::unique("orders"));
    let dead_letters = unique("dead-letters");
    create_topic(&inbox.request, 1).await;
    create_limited_topic(&topics.request, LARGE_LIMIT).await;
    create_topic(&dead_letters, 1).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("dead_letter_topic", dead_letters.as_str())
        .start()
        .await;
    let proxy = proxy(&inbox).start().await;
    let requests = Reader::open(&inbox.request);
    let mut produced = 0;

    // Requests whose client is not known.
    let mut anonymous: Vec<(Vec<u8>, Vec<Header<'_>>)> = vec![
        (b"\xff\xfe\x00garbage".to_vec(), vec![]),
        (vec![b'x'; LARGE], vec![]),
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
    let flood = many_headers();
    anonymous.push((b"".to_vec(), borrowed(&flood)));
    for (value, headers) in &anonymous {
        produce(&topics.request, 0, value, headers).await;
        produced += 1;
    }
    produce_with_header_name(&topics.request, 0, b"no UTF-8", b"caf\xe9\xff").await;
    produced += 1;

    // Requests whose client waits: the record of each is changed on its way.
    type Spoil = fn(&mut Record);
    let spoil: [(&str, Spoil); 6] = [
        ("no method", |record| {
            record.headers.retain(|(name, _)| name != ":method")
        }),
        ("an illegal path", |record| {
            record
                .headers
                .push((":path".into(), b"http://elsewhere.example/".to_vec()));
        }),
        ("a deadline that is not a number", |record| {
            record.headers.push(("khp-deadline".into(), b"soon".to_vec()))
        }),
        ("ten thousand headers", |record| record.headers.extend(many_headers())),
        ("a newer version", |record| {
            record.headers.push(("khp-version".into(), b"99".to_vec()))
        }),
        ("four MiB, and no method", |record| {
            record.value = Some(vec![0xff; LARGE]);
            record.headers.retain(|(name, _)| name != ":method");
        }),
    ];
    for (what, spoil) in spoil {
        let mut waiting = Waiting::start(&proxy, &requests).await;
        spoil(&mut waiting.record);
        let (value, headers) = (waiting.record.value.as_deref(), borrowed(&waiting.record.headers));
        let sent = Instant::now();
        produce(&topics.request, 0, value.unwrap_or_default(), &headers).await;
        produced += 1;
        waiting.assert_problem(sent, 500, "bad-message", what).await;
    }
    assert_eq!(backend.received().len(), 0, "{:?}", backend.received());

    // The next well-formed request is executed.
    let waiting = Waiting::start(&proxy, &requests).await;
    produce(&topics.request, 0, b"good", &borrowed(&waiting.record.headers)).await;
    waiting.answer().await.assert_echo("good");
    wait_for_count(&dead_letters, produced).await;
    processor
        .wait_for_metric("processor_dead_letters_total", &[], produced as f64)
        .await;
    wait_for_commit(&topics.group, &topics.request, produced + 1).await;
    processor.assert_no_restarts().await;
}
