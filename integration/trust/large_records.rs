//! Records that are larger than anybody's honest ones. Packed they are small, so the broker takes them.

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::malformed::Waiting;
use crate::harness::names::{Topics, unique};
use crate::harness::packed::produce_packed;
use crate::harness::records::{Header, Reader, produce, request_headers};
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{create_topic, wait_for_commit};

const ID: &[u8] = b"\x01\x02\x03\x04\x05\x06\x87\x08\x89\x0a\x0b\x0c\x0d\x0e\x0f\x10";
/// As many bytes as take 200 KB when they are packed.
const LARGE: usize = 200 << 20;
/// What a record may take beside its own bytes in librdkafka.
const BESIDE: usize = 100 << 20;

/// librdkafka unpacked the record once, and nothing was copied.
fn assert_not_copied(service: &Service, before: usize) {
    let more = service.peak_memory() - before;
    println!("{} MiB more", more >> 20);
    assert!(more >= LARGE / 4 * 3, "it was not read: {more}");
    assert!(more < LARGE + BESIDE, "{more}");
}

#[tokio::test]
async fn a_large_request_is_dead_lettered_cut() {
    let topics = Topics::unique("orders");
    let dead_letters = unique("dead-letters");
    for topic in [&topics.request, &topics.response, &dead_letters] {
        create_topic(topic, 1).await;
    }
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("dead_letter_topic", dead_letters.as_str())
        .start()
        .await;
    let before = processor.resident_memory();
    let reply_topic = ("kafka_replyTopic", topics.response.as_bytes());
    let headers = request_headers(ID, "POST", "/x", &[reply_topic]);
    produce_packed(&topics.request, 0, "gzip", &[LARGE], &headers).await;
    let letter = Reader::open(&dead_letters).next().await;
    assert_eq!(letter.header_text("khp-error"), "bad-message");
    assert_eq!(letter.header_text("khp-truncated"), LARGE.to_string());
    assert_eq!(letter.correlation_id(), ID);
    let text = letter.header_text("kafka_dlt-exception-message");
    assert!(text.contains("more than max_record_size"), "{text}");
    assert!(letter.value.is_some_and(|value| value.len() <= 64 << 10));
    let reply = Reader::open(&topics.response).next().await;
    assert_eq!(
        (reply.header_text(":status"), reply.header_text("khp-error")),
        ("500".into(), "bad-message".into())
    );
    wait_for_commit(&topics.group, &topics.request, 1).await;
    assert_eq!(backend.received().len(), 0);
    assert_not_copied(&processor, before);
}

#[tokio::test]
async fn a_large_reply_is_dropped_and_counted() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let proxy = proxy(&topics).start().await;
    let requests = Reader::open(&topics.request);
    proxy.wait_until_sent(&Request::post("/", "first")).await;
    requests.next().await;
    let before = proxy.resident_memory();
    let waiting = Waiting::start(&proxy, &requests).await;
    let id: [Header<'_>; 1] = [("kafka_correlationId", waiting.record.correlation_id())];
    produce_packed(&topics.response, 0, "gzip", &[LARGE], &id).await;
    proxy.wait_for_metric("proxy_oversized_replies_total", &[], 1.0).await;
    assert_not_copied(&proxy, before);
    // Its request still waits.
    produce(&topics.response, 0, b"an honest one", &id).await;
    assert_eq!(waiting.answer().await.text(), "an honest one");
}
