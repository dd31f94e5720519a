//! How a streamed answer ends before its body does.

use std::time::{Duration, Instant};

use serde_json::json;

use super::requester::Requester;
use crate::harness::names::unique;
use crate::harness::stream_backend::Call;
use crate::harness::topics::{count, create_topic, wait_for_commit};

/// The backend sees within a second that its caller has left.
async fn closes_soon(call: &mut Call) {
    let began = Instant::now();
    call.closed().await;
    // The cancel is written by a client that has to connect first.
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_cancel_ends_the_call_before_its_head_and_in_the_middle() {
    let dead_letters = unique("failed-requests");
    create_topic(&dead_letters, 1).await;
    let (requester, processor, mut backend) =
        Requester::with_processor(|spec| spec.set("dead_letter_topic", dead_letters.as_str())).await;
    requester.ask("before").await;
    let mut before = backend.next().await;
    requester.ask("middle").await;
    let mut middle = backend.next().await;
    middle.chunked_head("text/event-stream").await;
    let head = requester.next().await;
    requester.ask("other").await;
    let mut other = backend.next().await;
    other.chunked_head("text/event-stream").await;
    requester.next().await.assert_goes_on(0);

    requester.cancel("before", None).await;
    closes_soon(&mut before).await;
    // Another stream of the same request goes on.
    requester.cancel("middle", Some(b"another!")).await;
    middle.chunk("data").await;
    requester.next().await.assert_goes_on(1);
    requester.cancel("middle", Some(&head.stream())).await;
    closes_soon(&mut middle).await;
    // Whoever wrote that cancel: a reader that is still there is told.
    let end = requester.next().await;
    assert_eq!(end.0.correlation_id(), b"middle");
    assert_eq!((end.seq(), &*end.error()), (Some(2), "client-left"));
    other.chunk("data").await;
    assert_eq!(requester.next().await.0.correlation_id(), b"other");
    other.last_chunk().await;
    requester.next().await.assert_ends(2, "");
    wait_for_commit(&requester.topics.group, &requester.topics.request, 3).await;
    assert_eq!(count(&dead_letters), 0);
    let metrics = processor.metrics().await;
    assert_eq!(metrics.sum("processor_cancels_total", &[]), 2.0);
    assert_eq!(metrics.sum("processor_messages_total", &[("status", "cancelled")]), 1.0);
    assert_eq!(
        metrics.sum("processor_streams_total", &[("outcome", "client-left")]),
        1.0
    );
    assert_eq!(backend.count(), 3, "nothing is repeated");
}

#[tokio::test]
async fn a_cancel_that_comes_before_its_request_keeps_it_from_the_backend() {
    let (requester, processor, mut backend) = Requester::with_processor(|spec| spec).await;
    requester.cancel("early", None).await;
    processor.wait_for_metric("processor_early_cancels", &[], 1.0).await;
    requester.ask("early").await;
    requester.ask("next").await;
    let mut call = backend.next().await;
    assert_eq!(call.line, "GET /next");
    call.sized_head(0).await;
    assert_eq!(requester.next().await.0.correlation_id(), b"next");
    wait_for_commit(&requester.topics.group, &requester.topics.request, 2).await;
    processor.wait_for_metric("processor_early_cancels", &[], 0.0).await;
    assert_eq!(backend.count(), 1);
}

#[tokio::test]
async fn a_request_that_waits_for_its_place_is_cancelled_too() {
    let (requester, processor, mut backend) = Requester::with_processor(|spec| spec.set_topics("concurrency", 1)).await;
    requester.ask("holds").await;
    let mut holds = backend.next().await;
    holds.chunked_head("text/event-stream").await;
    requester.next().await.assert_goes_on(0);
    // A stream holds its place in `concurrency`, and no window.
    requester.ask("waits").await;
    processor
        .wait_for_metric("processor_waiting_records", &[("for", "call")], 1.0)
        .await;
    requester.cancel("waits", None).await;
    processor
        .wait_for_metric("processor_waiting_records", &[("for", "call")], 0.0)
        .await;
    wait_for_commit(&requester.topics.group, &requester.topics.request, 2).await;
    holds.last_chunk().await;
    requester.next().await.assert_ends(1, "");
    assert_eq!(backend.count(), 1);
}

#[tokio::test]
async fn a_backend_that_breaks_off_ends_the_answer_as_cut_off() {
    let (requester, processor, mut backend) = Requester::with_processor(|spec| spec).await;
    // Short of its Content-Length.
    requester.ask("short").await;
    let mut call = backend.next().await;
    call.sized_head(1000).await;
    call.send("only this").await;
    let first = requester.next().await;
    first.assert_goes_on(0);
    assert_eq!(first.text(), "only this");
    drop(call);
    requester.next().await.assert_ends(1, "backend-reset");
    // In the middle of a chunk, and with what is no chunk.
    for (id, garbage) in [("half a chunk", "40\r\nhalf"), ("no chunk", "what is this\r\n")] {
        requester.ask(id).await;
        let mut call = backend.next().await;
        call.chunked_head("text/event-stream").await;
        requester.next().await.assert_goes_on(0);
        call.send(garbage).await;
        drop(call);
        loop {
            let piece = requester.next().await;
            if !piece.has_more() {
                assert_eq!(piece.error(), "backend-reset", "{id}");
                break;
            }
        }
    }
    let metrics = processor.metrics().await;
    assert_eq!(
        metrics.sum("processor_streams_total", &[("outcome", "backend-reset")]),
        3.0
    );
    assert_eq!(metrics.sum("processor_retries_total", &[]), 0.0);
}

#[tokio::test]
async fn silence_of_the_backend_and_of_the_requester_end_a_stream() {
    let (requester, processor, mut backend) =
        Requester::with_processor(|spec| spec.set_topics("stream_idle_timeout", "1s")).await;
    requester.ask("silent backend").await;
    let mut call = backend.next().await;
    call.chunked_head("text/event-stream").await;
    requester.next().await.assert_goes_on(0);
    requester.next().await.assert_ends(1, "stream-idle");
    call.closed().await;

    requester.ask_with("silent requester", 4, &[]).await;
    let mut call = backend.next().await;
    call.chunked_head("text/event-stream").await;
    requester.next().await.assert_goes_on(0);
    call.chunk("beyond the window").await;
    let piece = requester.next().await;
    piece.assert_goes_on(1);
    assert_eq!(piece.text(), "beyo");
    // What it writes meanwhile is no sign of the requester.
    while call.try_send(b"1\r\nx\r\n").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let last = requester.next().await;
    last.assert_ends(2, "no-credit");
    assert_eq!(last.text(), "");
    call.closed().await;
    processor.wait_for_metric("processor_streams_open", &[], 0.0).await;
}

#[tokio::test]
async fn a_stream_that_is_never_silent_ends_with_its_time() {
    let (requester, _processor, mut backend) =
        Requester::with_processor(|spec| spec.set_topics("stream_max_duration", "1s")).await;
    requester.ask("long").await;
    let mut call = backend.next().await;
    call.chunked_head("text/event-stream").await;
    while call.try_send(b"1\r\nx\r\n").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    loop {
        let piece = requester.next().await;
        if !piece.has_more() {
            assert_eq!(piece.error(), "stream-idle");
            break;
        }
    }
}

/// A proxy that writes no sign of life for 20 s is gone. One that does is not.
#[tokio::test]
async fn calls_of_a_requester_that_is_gone_end() {
    let (requester, processor, mut backend) =
        Requester::with_processor(|spec| spec.set("health_check_interval", json!(0))).await;
    requester.ask("stream").await;
    let mut stream = backend.next().await;
    stream.chunked_head("text/event-stream").await;
    requester.next().await.assert_goes_on(0);
    requester.ask("head").await;
    let mut head = backend.next().await;
    let began = Instant::now();
    // Signs of life keep them for longer than silence would.
    while began.elapsed() < Duration::from_secs(22) {
        requester.alive().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    processor.wait_for_metric("processor_streams_open", &[], 1.0).await;
    stream.chunk("data").await;
    requester.next().await.assert_goes_on(1);
    stream.closed().await;
    head.closed().await;
    processor
        .wait_for_metric("processor_streams_total", &[("outcome", "requester-gone")], 1.0)
        .await;
    assert_eq!(processor.logged("a requester was not heard"), 1);
    wait_for_commit(&requester.topics.group, &requester.topics.request, 2).await;
}
