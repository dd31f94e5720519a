//! Records that another program than the proxy wrote.

use crate::harness::backend::Backend;
use crate::harness::names::{Topics, unique};
use crate::harness::records::{Header, Reader, produce, request_headers};
use crate::harness::spec::processor;
use crate::harness::topics::{count, create_topic, wait_for_commit};

const ID: &[u8] = b"\x01\x02\x03\x04\x05\x06\x87\x08\x89\x0a\x0b\x0c\x0d\x0e\x0f\x10";

#[tokio::test]
async fn a_records_path_cannot_leave_its_backend() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let elsewhere = Backend::echo().await;
    let authority = elsewhere.address();
    for (number, path) in [
        format!("//{authority}/x"),
        format!("/x@{authority}/y"),
        format!("/../{authority}"),
    ]
    .iter()
    .enumerate()
    {
        let more: [Header<'_>; 2] = [(":authority", authority.as_bytes()), ("host", authority.as_bytes())];
        let headers = request_headers("batch-8", "GET", path, &more);
        produce(&topics.request, 0, b"", &headers).await;
        backend.wait_for_calls(number + 1).await;
        assert_eq!(&backend.last().target, path);
    }
    assert_eq!(elsewhere.received().len(), 0);
    wait_for_commit(&topics.group, &topics.request, 3).await;
}

#[tokio::test]
async fn a_reply_goes_only_to_an_allowed_topic() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let secret = unique("ledger");
    create_topic(&secret, 1).await;
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    // Not allowed: a name other than `*-responses`, an internal topic, and the request topic itself. The reply goes to `response_topic`.
    for reply_topic in [secret.as_bytes(), b"__consumer_offsets", topics.request.as_bytes()] {
        let reply_topic = ("kafka_replyTopic", reply_topic);
        produce(
            &topics.request,
            0,
            b"x",
            &request_headers(ID, "POST", "/x", &[reply_topic]),
        )
        .await;
    }
    let replies = Reader::open(&topics.response);
    for _ in 0..3 {
        assert_eq!(replies.next().await.header_text(":status"), "200");
    }
    assert_eq!((count(&secret), count(&topics.request)), (0, 3));
    wait_for_commit(&topics.group, &topics.request, 3).await;
}

#[tokio::test]
async fn a_record_without_a_deadline_or_a_reply_topic_is_executed_and_answered() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let many: [Header<'_>; 2] = [("x-many", b"1"), ("x-many", b"2")];
    let headers = request_headers("batch-7", "POST", "/jobs?n=1", &many);
    produce(&topics.request, 0, b"from a batch job", &headers).await;
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
}
