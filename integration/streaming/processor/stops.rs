//! A processor that dies, stops, or loses a partition while answers stream.

use super::requester::Requester;
use crate::harness::service::Service;
use crate::harness::spec::Spec;
use crate::harness::stream_backend::{Call, StreamBackend};
use crate::harness::topics::{add_partitions, wait_for_commit};
use crate::harness::wait::eventually;

/// Its client has the head of its answer: running it again could help nobody.
#[tokio::test]
async fn an_answer_that_streams_is_not_run_again_after_kill_9() {
    let (requester, processor, mut backend) = Requester::with_processor(|spec| spec).await;
    requester.ask("once").await;
    let mut call = backend.next().await;
    call.chunked_head("text/event-stream").await;
    let head = requester.next().await;
    wait_for_commit(&requester.topics.group, &requester.topics.request, 1).await;
    processor.signal("KILL");
    call.closed().await;
    let _second = requester.spec(&backend).start().await;
    requester.ask("after").await;
    let mut call = backend.next().await;
    assert_eq!(call.line, "GET /after");
    call.sized_head(0).await;
    let next = requester.next().await;
    assert_ne!(next.0.correlation_id(), head.0.correlation_id());
    assert_eq!(backend.count(), 2);
}

#[tokio::test]
async fn a_processor_that_stops_lets_streams_end_and_then_ends_them() {
    let (requester, mut processor, mut backend) = Requester::with_processor(|spec| spec.set("drain_timeout", 6)).await;
    for id in ["short", "endless"] {
        requester.ask(id).await;
        let mut call = backend.next().await;
        call.chunked_head("text/event-stream").await;
        requester.next().await.assert_goes_on(0);
        if id == "endless" {
            processor.signal("TERM");
            eventually("it drains", async || match processor.logged("draining") {
                0 => Err(processor.log()),
                _ => Ok(()),
            })
            .await;
            call.chunk("still there").await;
            requester.next().await.assert_goes_on(1);
            let last = requester.next().await;
            last.assert_ends(2, "draining");
            call.closed().await;
        } else {
            call.last_chunk().await;
            requester.next().await.assert_ends(1, "");
        }
    }
    assert_eq!(processor.wait_exit().await, Some(75), "it cut an answer off");
}

#[tokio::test]
async fn a_processor_waits_for_its_last_stream_and_ends_in_order() {
    let (requester, mut processor, mut backend) = Requester::with_processor(|spec| spec).await;
    requester.ask("last").await;
    let mut call = backend.next().await;
    call.chunked_head("text/event-stream").await;
    requester.next().await.assert_goes_on(0);
    processor.signal("TERM");
    // Its partitions go to others at once.
    eventually("it left its group", async || match processor.logged("draining") {
        0 => Err(processor.log()),
        _ => Ok(()),
    })
    .await;
    let second = requester.spec(&backend).start().await;
    requester.ask("next").await;
    let mut next = backend.next().await;
    next.sized_head(0).await;
    assert_eq!(requester.next().await.0.correlation_id(), b"next");
    call.chunk("still there").await;
    requester.next().await.assert_goes_on(1);
    call.last_chunk().await;
    requester.next().await.assert_ends(2, "");
    assert_eq!(processor.wait_exit().await, Some(0));
    drop(second);
}

/// Two partitions with a stream each, at one processor; then another joins, and gets one of them.
async fn one_of_two_partitions_moves(configure: impl FnOnce(Spec) -> Spec) -> Moved {
    let requester = Requester::create().await;
    add_partitions(&requester.topics.request, 2).await;
    let mut backend = StreamBackend::start().await;
    let spec = configure(requester.spec(&backend));
    let first = spec.clone().start().await;
    let mut calls = Vec::new();
    for (partition, id) in ["zero", "one"].into_iter().enumerate() {
        requester.ask_on(partition as i32, id).await;
        let mut call = backend.next().await;
        call.chunked_head("text/event-stream").await;
        requester.next().await.assert_goes_on(0);
        calls.push((id, call));
    }
    let second = spec.start().await;
    eventually("one partition each", async || {
        let topic = &requester.topics.request;
        match (
            first.partitions(topic).await.len(),
            second.partitions(topic).await.len(),
        ) {
            (1, 1) => Ok(()),
            more => Err(format!("{more:?}")),
        }
    })
    .await;
    Moved {
        requester,
        calls,
        backend,
        processors: [first, second],
    }
}

struct Moved {
    requester: Requester,
    calls: Vec<(&'static str, Call)>,
    /// In the order in which they end.
    processors: [Service; 2],
    backend: StreamBackend,
}

#[tokio::test]
async fn a_stream_goes_on_when_its_partition_moves() {
    let moved = one_of_two_partitions_moves(|spec| spec).await;
    for (id, mut call) in moved.calls {
        call.chunk("still there").await;
        let piece = moved.requester.next().await;
        piece.assert_goes_on(1);
        assert_eq!(piece.0.correlation_id(), id.as_bytes());
        call.last_chunk().await;
        moved.requester.next().await.assert_ends(2, "");
    }
    assert_eq!(moved.backend.count(), 2);
    drop(moved.processors);
}

/// The next owner must not overtake it.
#[tokio::test]
async fn under_ordering_a_stream_has_the_time_of_a_revocation() {
    let order = |spec: Spec| spec.set_topics("ordering", "partition").set("revoke_timeout", 2);
    let moved = one_of_two_partitions_moves(order).await;
    let last = moved.requester.next().await;
    last.assert_ends(1, "draining");
    let cut = last.0.correlation_id().to_vec();
    for (id, mut call) in moved.calls {
        if id.as_bytes() == cut {
            call.closed().await;
            continue;
        }
        call.chunk("still there").await;
        moved.requester.next().await.assert_goes_on(1);
        call.last_chunk().await;
        moved.requester.next().await.assert_ends(2, "");
    }
    assert_eq!(moved.backend.count(), 2, "neither runs again");
    drop(moved.processors);
}

#[tokio::test]
async fn under_ordering_the_next_record_waits_for_the_end_of_a_stream() {
    let (requester, _processor, mut backend) =
        Requester::with_processor(|spec| spec.set_topics("ordering", "partition")).await;
    requester.ask("first").await;
    let mut call = backend.next().await;
    call.chunked_head("text/event-stream").await;
    requester.next().await.assert_goes_on(0);
    requester.ask("second").await;
    requester.expect_nothing().await;
    assert_eq!(backend.count(), 1);
    call.last_chunk().await;
    requester.next().await.assert_ends(1, "");
    let mut next = backend.next().await;
    next.sized_head(0).await;
    assert_eq!(requester.next().await.0.correlation_id(), b"second");
}
