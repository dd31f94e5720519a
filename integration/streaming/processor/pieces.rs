//! Which answers a processor streams, and what is in the pieces.

use actix_khp::wire::sealing::Binding;
use actix_khp::wire::sealing::keys::SealingKey;
use actix_khp::wire::stream::{StreamError, Then, decode_piece};
use actix_khp::wire::{RawRecord, Sealing};
use serde_json::json;

use super::requester::{Piece, Requester, WINDOW};
use crate::harness::records::{Reader, produce, request_headers};
use crate::harness::stream_backend::StreamBackend;
use crate::harness::topics::{add_partitions, limit_topic};

#[tokio::test]
async fn events_come_one_by_one_as_the_backend_writes_them() {
    let (requester, processor, mut backend) =
        Requester::with_processor(|spec| spec.set_topics("withhold_headers", json!(["x-inner"]))).await;
    requester.ask("events").await;
    let mut call = backend.next().await;
    assert_eq!(call.line, "GET /events");
    call.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\nX-Inner: secret\r\nX-Outer: seen\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    // The head does not wait for the first event.
    let head = requester.next().await;
    head.assert_goes_on(0);
    assert_eq!(head.text(), "");
    assert_eq!(head.0.header_text(":status"), "200");
    assert_eq!(head.0.header_text("content-type"), "text/event-stream");
    assert_eq!(head.0.header_text("x-outer"), "seen");
    assert_eq!(head.0.header("x-inner"), None);
    assert_eq!(head.0.header("khp-instance").map(<[u8]>::len), Some(16));
    assert_eq!(head.0.correlation_id(), b"events");
    processor.wait_for_metric("processor_streams_open", &[], 1.0).await;
    processor
        .wait_for_metric("processor_messages_in_flight", &[], 0.0)
        .await;
    for event in 1..=5 {
        let text = format!("data: {event}\n\n");
        call.chunk(&text).await;
        let piece = requester.next().await;
        piece.assert_goes_on(event);
        assert_eq!((piece.text(), piece.stream()), (text, head.stream()));
        assert_eq!(piece.0.header(":status"), None);
    }
    call.last_chunk().await;
    requester.next().await.assert_ends(6, "");
    processor
        .wait_for_metric("processor_streams_total", &[("outcome", "complete")], 1.0)
        .await;
    processor.wait_for_metric("processor_streams_open", &[], 0.0).await;
}

#[tokio::test]
async fn small_answers_are_whole_with_and_without_an_offer() {
    let (requester, processor, mut backend) = Requester::with_processor(|spec| spec).await;
    for (id, offers) in [("offers", true), ("does not", false)] {
        match offers {
            true => requester.ask(id).await,
            false => requester.ask_for_whole(id).await,
        }
        let mut call = backend.next().await;
        call.sized_head(5).await;
        call.send("hello").await;
        let answer = requester.next().await;
        assert_eq!((answer.seq(), answer.text().as_str()), (None, "hello"));
        assert_eq!(answer.0.header("khp-stream"), None);
        assert_eq!(answer.0.header_text("content-length"), "5");
    }
    // Without a body, an event stream is over.
    requester.ask("none").await;
    backend
        .next()
        .await
        .send("HTTP/1.1 204 No Content\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\r\n")
        .await;
    assert_eq!(requester.next().await.seq(), None);
    let metrics = processor.metrics().await;
    assert_eq!(metrics.sum("processor_streams_total", &[]), 0.0);
    assert_eq!(metrics.sum("processor_messages_total", &[("status", "200")]), 2.0);
}

/// Whoever does not ask for a stream waits for the whole of a slow answer, as ever.
#[tokio::test]
async fn a_slow_answer_streams_only_to_who_takes_it() {
    let (requester, _processor, mut backend) = Requester::with_processor(|spec| spec).await;
    requester.ask("takes").await;
    let mut call = backend.next().await;
    call.sized_head(10).await;
    call.send("hello").await;
    let first = requester.next().await;
    first.assert_goes_on(0);
    assert_eq!(
        (first.text().as_str(), first.0.header_text("content-length").as_str()),
        ("hello", "10")
    );
    call.send("world").await;
    let last = requester.next().await;
    last.assert_ends(1, "");
    assert_eq!(last.text(), "world");

    requester.ask_for_whole("does not").await;
    let mut call = backend.next().await;
    call.sized_head(10).await;
    call.send("hello").await;
    requester.expect_nothing().await;
    call.send("world").await;
    let whole = requester.next().await;
    assert_eq!((whole.seq(), whole.text().as_str()), (None, "helloworld"));
}

#[tokio::test]
async fn an_answer_larger_than_a_record_comes_whole_as_credit_allows() {
    let (requester, processor, mut backend) = Requester::with_processor(|spec| spec).await;
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7) as u8).collect();
    requester.ask("large").await;
    let mut call = backend.next().await;
    call.sized_head(body.len()).await;
    let sent = body.clone();
    let writing = tokio::spawn(async move {
        call.send(&sent).await;
        call
    });
    let (mut received, mut seq) = (Vec::new(), 0);
    let last = loop {
        let piece = requester.next().await;
        assert_eq!(piece.seq(), Some(seq));
        assert!(piece.bytes().len() <= 256 << 10);
        seq += 1;
        received.extend_from_slice(piece.bytes());
        if !piece.has_more() {
            break piece;
        }
        requester
            .credit("large", &piece.stream(), received.len() + WINDOW)
            .await;
    };
    last.assert_ends(seq - 1, "");
    assert!(received == body, "every byte in order");
    writing.await.expect("the backend wrote all of it");
    processor.wait_for_metric("processor_streams_open", &[], 0.0).await;
}

#[tokio::test]
async fn without_credit_no_more_than_the_window_is_sent_and_the_backend_is_slowed() {
    let (requester, processor, mut backend) = Requester::with_processor(|spec| spec).await;
    let window = 100_000;
    requester.ask_with("slow", window, &[]).await;
    let mut call = backend.next().await;
    call.sized_head(64 << 20).await;
    let before = processor.resident_memory();
    let taken = call.send_until_stuck(&vec![b'x'; 64 << 20]).await;
    // The kernel's buffers take some megabytes.
    assert!(taken < 32 << 20, "the backend wrote {taken} bytes");
    assert!(processor.resident_memory() < before + (8 << 20));
    let mut pieces: Vec<Piece> = Vec::new();
    while pieces.iter().map(|piece| piece.bytes().len()).sum::<usize>() < window {
        pieces.push(requester.next().await);
    }
    let (stream, count) = (pieces[0].stream(), pieces.len() as u64);
    let bytes = |pieces: &[Piece]| pieces.iter().map(|piece| piece.bytes().len()).sum::<usize>();
    assert_eq!(bytes(&pieces), window);
    requester.expect_nothing().await;
    // Of another stream, and a repeat: neither counts.
    requester.credit("slow", b"another!", 10 * window).await;
    requester.credit("slow", &stream, window).await;
    requester.expect_nothing().await;
    requester.credit("slow", &stream, window + 1000).await;
    let more = requester.next().await;
    more.assert_goes_on(count);
    assert_eq!(more.bytes().len(), 1000);
    requester.cancel("slow", Some(&stream)).await;
    call.closed().await;
}

#[tokio::test]
async fn pieces_fit_a_topic_that_takes_little() {
    let (requester, _processor, mut backend) = Requester::with_processor(|spec| spec).await;
    let limit = 20_000;
    limit_topic(&requester.topics.response, limit).await;
    let spec = requester.spec(&backend);
    drop(_processor);
    let _processor = spec.start().await;
    // The processor asks for limits as it starts, beside its first records.
    let body = vec![b'x'; 100_000];
    requester.ask("small pieces").await;
    let mut call = backend.next().await;
    call.sized_head(body.len()).await;
    call.send(&body).await;
    let (mut received, mut pieces) = (0, 0);
    loop {
        let piece = requester.next().await;
        assert!(piece.bytes().len() < limit, "{}", piece.bytes().len());
        received += piece.bytes().len();
        pieces += 1;
        if !piece.has_more() {
            assert_eq!(piece.error(), "");
            break;
        }
    }
    assert_eq!(received, body.len());
    assert!(pieces > 5, "{pieces}");
}

#[tokio::test]
async fn pieces_of_a_sealed_request_are_sealed() {
    const SECRET: &str = "a secret of at least 32 letters, yes";
    let keys = json!({"keys": [{"id": "k", "secret": SECRET}], "require": true});
    let (requester, _processor, mut backend) = Requester::with_processor(|spec| spec.set("sealing", keys)).await;
    let sealing = Sealing {
        keys: vec![SealingKey::new("k", SECRET).expect("OpenSSL works")],
        require: true,
    };
    let (request_topic, reply_topic) = (&*requester.topics.request, &*requester.topics.response);
    requester.ask_sealed(&sealing, "sealed").await;
    let mut call = backend.next().await;
    call.chunked_head("text/event-stream").await;
    let opened = async || {
        let Piece(record) = requester.next().await;
        assert!(record.header("khp-seal-key").is_some());
        let headers = record.headers.iter();
        let raw = RawRecord {
            topic: reply_topic.into(),
            partition: 0,
            offset: record.offset,
            timestamp: None,
            key: record.key.map(Into::into),
            value: record.value.map(Into::into),
            headers: headers
                .map(|(name, value)| (name.clone().into(), Some(value.clone().into())))
                .collect(),
        };
        let binding = Binding::Reply {
            request_topic,
            reply_topic,
        };
        let raw = sealing.open(&raw, binding).expect("it opens");
        decode_piece(&raw).expect("a piece")
    };
    let head = opened().await;
    assert_eq!(head.head.map(|head| head.status), Some(200));
    call.chunk("private").await;
    let piece = opened().await;
    assert_eq!(
        (piece.seq, &piece.body[..], piece.then),
        (1, &b"private"[..], Then::More)
    );
    // In the middle of a chunk.
    call.send("40\r\nhalf").await;
    assert_eq!(opened().await.body, "half");
    drop(call);
    assert_eq!(opened().await.then, Then::Cut(StreamError::BackendReset));
}

#[tokio::test]
async fn beyond_max_streams_answers_are_whole() {
    let (requester, processor, mut backend) = Requester::with_processor(|spec| spec.set("max_streams", 1)).await;
    requester.ask("first").await;
    let mut first = backend.next().await;
    first.chunked_head("text/event-stream").await;
    requester.next().await.assert_goes_on(0);
    requester.ask("second").await;
    let mut second = backend.next().await;
    second.chunked_head("text/event-stream").await;
    second.chunk("data: 1\n\n").await;
    requester.expect_nothing().await;
    second.last_chunk().await;
    let whole = requester.next().await;
    assert_eq!((whole.seq(), whole.text().as_str()), (None, "data: 1\n\n"));
    first.last_chunk().await;
    requester.next().await.assert_ends(1, "");
    processor.wait_for_metric("processor_streams_open", &[], 0.0).await;
}

#[tokio::test]
async fn pieces_without_a_named_partition_stay_together() {
    let requester = Requester::create().await;
    let mut backend = StreamBackend::start().await;
    add_partitions(&requester.topics.response, 8).await;
    let _processor = requester.spec(&backend).start().await;
    let topics = &requester.topics;
    let headers = request_headers(
        "anywhere",
        "GET",
        "/anywhere",
        &[
            ("khp-accept", b"stream"),
            ("khp-window", b"1000"),
            ("khp-instance", &requester.instance),
            ("kafka_replyTopic", topics.response.as_bytes()),
        ],
    );
    produce(&topics.request, 0, b"", &headers).await;
    let reader = Reader::open(&topics.response);
    let mut call = backend.next().await;
    call.chunked_head("text/event-stream").await;
    let mut partitions = vec![reader.next().await.partition];
    for event in ["a", "b", "c", "d", "e"] {
        call.chunk(event).await;
        partitions.push(reader.next_with(event).await.partition);
    }
    call.last_chunk().await;
    assert!(
        partitions.iter().all(|partition| *partition == partitions[0]),
        "{partitions:?}"
    );
}
