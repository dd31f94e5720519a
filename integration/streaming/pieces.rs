//! Pieces reach the client one by one.

use std::time::Instant;

use serde_json::json;

use super::{A_SECOND, CALL, FIRST, GET, MORE, Played};
use crate::harness::records::{Header, produce};
use crate::harness::wait::within;

#[tokio::test]
async fn each_piece_reaches_the_client_as_it_is_written() {
    let played = Played::start(|spec| spec).await;
    let (mut client, request) = played.ask(GET).await;
    assert_eq!(request.header_text("khp-accept"), "stream");
    assert_eq!(request.header_text("khp-window"), (256 << 10).to_string());
    assert_eq!(request.header("khp-instance").map(<[u8]>::len), Some(16));
    played.piece(&request, 0, b"", &FIRST).await;
    client.until("\r\n\r\n").await;
    let head = client.text().to_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
    assert!(
        head.contains("khp-correlation-id: ") && !head.contains("khp-stream"),
        "{head}"
    );
    for number in 1..=20_u64 {
        let (event, written) = (format!("data: {number}\n\n"), Instant::now());
        played.piece(&request, number, event.as_bytes(), &[MORE]).await;
        client.until(&event).await;
        assert!(written.elapsed() < A_SECOND, "{:?}", written.elapsed());
    }
    played.piece(&request, 21, b"data: last\n\n", &[]).await;
    client.until("data: last\n\n\r\n0\r\n\r\n").await;
    played.wait_for_outcome("complete").await;
    // The connection carries the next request.
    let metrics = played.proxy.metrics().await;
    assert_eq!(metrics.sum("proxy_cancels_total", &[]), 0.0);
    assert_eq!(metrics.sum("proxy_late_replies_total", &[]), 0.0);
}

#[tokio::test]
async fn an_answer_that_tells_its_length_keeps_it() {
    let played = Played::start(|spec| spec).await;
    let (mut client, request) = played.ask(GET).await;
    let with_length = [&FIRST[..], &[("content-length", &b"10"[..])]].concat();
    played.piece(&request, 0, b"01234", &with_length).await;
    client.until("01234").await;
    played.piece(&request, 1, b"56789", &[]).await;
    client.until("0123456789").await;
    let text = client.text().to_lowercase();
    assert!(
        text.contains("content-length: 10\r\n") && !text.contains("chunked"),
        "{text}"
    );
    played.wait_for_outcome("complete").await;
}

/// Beside pieces, a processor of before answers in one record; so does a replier that writes a single piece.
#[tokio::test]
async fn an_answer_in_one_record_is_whole() {
    let mut played = Played::start(|spec| spec).await;
    let (mut client, request) = played.ask(GET).await;
    let id: [Header<'_>; 3] = [
        ("khp-version", b"1"),
        ("kafka_correlationId", request.correlation_id()),
        (":status", b"201"),
    ];
    produce(&played.topics.response, 0, b"whole", &id).await;
    client.until("\r\n\r\nwhole").await;
    assert!(client.text().to_lowercase().contains("content-length: 5\r\n"));
    let (mut client, request) = played.ask(GET).await;
    played.piece(&request, 0, b"one piece", &FIRST[1..]).await;
    client.until("\r\n\r\none piece").await;
    assert!(client.text().to_lowercase().contains("content-length: 9\r\n"));
    // A status without content ends with its head, and the rest is of no use.
    let (mut client, request) = played.ask(GET).await;
    played.piece(&request, 0, b"", &[MORE, (":status", b"204")]).await;
    client.until("HTTP/1.1 204").await;
    played.assert_cancelled(&request, Some(CALL)).await;
    assert!(!client.text().to_lowercase().contains("transfer-encoding"));
}

/// A second execution after a crash: the first answer goes on, and the other call ends.
#[tokio::test]
async fn pieces_of_a_second_execution_are_dropped_and_it_is_cancelled() {
    const OTHER: &[u8] = b"call-002";
    let mut played = Played::start(|spec| spec).await;
    let (mut client, request) = played.ask(GET).await;
    played.piece(&request, 0, b"one ", &FIRST).await;
    for seq in 0..3 {
        let headers = if seq == 0 { &FIRST[..] } else { &[MORE][..] };
        played.piece_of(OTHER, &request, seq, b"other", headers).await;
    }
    played.assert_cancelled(&request, Some(OTHER)).await;
    // What is written twice counts once.
    played.piece(&request, 1, b"two ", &[MORE]).await;
    played.piece(&request, 1, b"two ", &[MORE]).await;
    played.piece(&request, 2, b"three", &[]).await;
    client.until("0\r\n\r\n").await;
    let body = client
        .text()
        .split("\r\n")
        .filter(|line| line.ends_with(' ') || *line == "three")
        .collect::<String>();
    assert_eq!(body, "one two three");
    played.wait_for_outcome("complete").await;
    let dropped = played.proxy.metrics().await.sum("proxy_dropped_pieces_total", &[]);
    assert_eq!(dropped, 3.0);
}

/// Whoever reads Kafka and has no key learns nothing, and cannot answer.
#[tokio::test]
async fn sealed_pieces_are_opened_and_others_are_not_believed() {
    use actix_khp::wire::sealing::Binding;
    use actix_khp::wire::sealing::keys::SealingKey;
    use actix_khp::wire::stream::{Piece, StreamHead, StreamId, Then, encode_piece};
    const SECRET: &str = "an old secret of at least 32 letters";
    let keys = json!({"keys": [{"id": "old", "secret": SECRET}], "require": true});
    let mut played = Played::start(|spec| spec.set("sealing", keys)).await;
    let (mut client, request) = played.ask(GET).await;
    assert_eq!(request.header_text("khp-accept"), "stream", "in clear");
    assert!(request.header(":path").is_none());
    let sealing = actix_khp::wire::Sealing {
        keys: vec![SealingKey::new("old", SECRET).expect("OpenSSL")],
        require: true,
    };
    let stream = StreamId::new();
    let sealed = async |seq: u64, body: &'static str, then: Then| {
        let head = StreamHead {
            status: 200,
            headers: Vec::new(),
            instance: None,
        };
        let piece = encode_piece(Piece {
            correlation_id: request.correlation_id().to_vec().into(),
            stream,
            seq,
            head: (seq == 0).then_some(head),
            body: body.into(),
            then,
        });
        let binding = Binding::Reply {
            request_topic: &played.topics.request,
            reply_topic: &played.topics.response,
        };
        let record = sealing.seal(piece, binding).expect("OpenSSL");
        let headers: Vec<Header<'_>> = record
            .headers
            .iter()
            .map(|(name, value)| (&**name, &value[..]))
            .collect();
        produce(&played.topics.response, 0, &record.value, &headers).await;
    };
    played.piece(&request, 0, b"forged", &FIRST).await;
    played
        .proxy
        .wait_for_metric("proxy_unbelieved_replies_total", &[], 1.0)
        .await;
    sealed(0, "secret one ", Then::More).await;
    client.until("secret one ").await;
    played
        .piece_of(&stream.to_bytes(), &request, 1, b"forged", &[MORE])
        .await;
    played
        .proxy
        .wait_for_metric("proxy_unbelieved_replies_total", &[], 2.0)
        .await;
    sealed(1, "secret two", Then::End).await;
    client.until("secret two\r\n0\r\n\r\n").await;
    assert!(!client.text().contains("forged"));
    // Who reads it has to believe that nobody waits.
    let (client, _) = played.ask(GET).await;
    drop(client);
    let cancel = played.next_control().await;
    assert_eq!(cancel.header_text("khp-control"), "cancel", "in clear");
    assert_eq!(cancel.header_text("khp-seal-key"), "old");
}

/// TERM of the proxy: what has begun goes on until the drain limit, and new requests go elsewhere.
#[tokio::test]
async fn a_stream_outlives_the_beginning_of_a_drain() {
    let mut played = Played::start(|spec| spec).await;
    let (mut client, request) = played.ask(GET).await;
    played.piece(&request, 0, b"before ", &FIRST).await;
    client.until("before ").await;
    played.proxy.signal("TERM");
    within(
        A_SECOND,
        "the port is closed",
        async || match tokio::net::TcpStream::connect(played.proxy.address()).await {
            Err(_) => Ok(()),
            Ok(_) => Err("open".to_owned()),
        },
    )
    .await;
    played.piece(&request, 1, b"after", &[]).await;
    client.until("after\r\n0\r\n\r\n").await;
    assert_eq!(played.proxy.wait_exit().await, Some(0));
}

/// What is left at the drain limit is cut off, and seen to be.
#[tokio::test]
async fn a_stream_that_does_not_end_is_cut_off_at_the_drain_limit() {
    let mut played = Played::start(|spec| spec.set("drain_timeout", 4)).await;
    let (mut client, request) = played.ask(GET).await;
    played.piece(&request, 0, b"before", &FIRST).await;
    client.until("before").await;
    played.proxy.signal("TERM");
    client.assert_cut("before").await;
    assert_eq!(played.proxy.wait_exit().await, Some(75));
    played.assert_cancelled(&request, Some(CALL)).await;
}

/// Its client had another router, or the first answer is over: nobody reads it, and it would go on for as long as it likes.
#[tokio::test]
async fn pieces_that_nobody_reads_cancel_their_call_once() {
    const OTHER: &[u8] = b"call-002";
    let mut played = Played::start(|spec| spec).await;
    let (mut client, request) = played.ask(GET).await;
    played.piece(&request, 0, b"one", &FIRST).await;
    played.piece(&request, 1, b"two", &[]).await;
    client.until("two\r\n0\r\n\r\n").await;
    for seq in 0..3 {
        let headers = if seq == 0 { &FIRST[..] } else { &[MORE][..] };
        played.piece_of(OTHER, &request, seq, b"other", headers).await;
    }
    played.assert_cancelled(&request, Some(OTHER)).await;
    played.proxy.wait_for_metric("proxy_late_replies_total", &[], 3.0).await;
    assert_eq!(played.proxy.metrics().await.sum("proxy_cancels_total", &[]), 1.0);
}
