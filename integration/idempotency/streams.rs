//! Answers that stream while they are remembered.

use std::time::Duration;

use super::{bytes, honours, is_replay, memory_of, payment, remembers_of};
use crate::harness::client::{Response, request};
use crate::harness::names::Topics;
use crate::harness::records::read_all;
use crate::harness::service::Service;
use crate::harness::spec::Spec;
use crate::harness::stream_backend::{Call, StreamBackend};
use crate::harness::topics::{create_topic, delete_topic};
use crate::harness::wait::within;
use crate::streaming::Client;

/// The same request as `payment("k", "ten")`.
const POST: &str = "POST /payments HTTP/1.1\nHost: a\nIdempotency-Key: k\nContent-Length: 3\n\nten";

/// A proxy, a processor, and a backend that the test plays.
struct Played {
    topics: Topics,
    backend: StreamBackend,
    processor: Service,
    proxy: Service,
}

impl Played {
    async fn start(of_processor: impl FnOnce(Spec) -> Spec) -> Self {
        let (topics, backend) = (Topics::unique("payments"), StreamBackend::start().await);
        Played {
            processor: of_processor(remembers_of(&topics, &backend.url())).start().await,
            proxy: honours(&topics).start().await,
            backend,
            topics,
        }
    }

    /// Sends the request; returns its client, and the call.
    async fn begin(&mut self) -> (Client, Call) {
        let client = send(&self.proxy).await;
        (client, self.backend.next().await)
    }

    /// Its answer has begun with these bytes when the client leaves; returns the call.
    async fn left_after(&mut self, beginning: &[u8]) -> Call {
        let (mut client, mut call) = self.begin().await;
        call.chunked_head("application/octet-stream").await;
        write(&mut call, beginning).await;
        client.until("application/octet-stream").await;
        drop(client);
        let left = [("topic", &*self.topics.request), ("outcome", "client-left")];
        self.processor
            .wait_for_metric("processor_streams_total", &left, 1.0)
            .await;
        call
    }

    async fn again(&self) -> Response {
        self.proxy.request(payment("k", "ten")).await
    }

    async fn wait_until_remembered(&self) {
        self.processor
            .wait_for_metric("processor_idempotency_remembered_total", &[], 1.0)
            .await;
    }
}

/// Sends the request. What the client writes behind its head and body is an empty line, which counts for nothing.
async fn send(proxy: &Service) -> Client {
    Client::send(proxy, POST).await
}

/// Writes these bytes in chunks.
async fn write(call: &mut Call, bytes: &[u8]) {
    for part in bytes.chunks(100_000) {
        let chunk = [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
        call.send(chunk).await;
    }
}

#[tokio::test]
async fn events_come_one_by_one_and_then_all_at_once() {
    let mut played = Played::start(|processor| processor).await;
    let (mut client, mut call) = played.begin().await;
    call.chunked_head("text/event-stream").await;
    client.until("text/event-stream").await;
    let mut all = String::new();
    for number in 0..20 {
        let event = format!("data: {number}\n\n");
        call.chunk(&event).await;
        client.until(&event).await;
        all.push_str(&event);
    }
    call.last_chunk().await;
    client.until("\r\n0\r\n\r\n").await;
    // Whoever has seen the end knows that it is remembered.
    let again = played.again().await;
    assert_eq!((again.text(), is_replay(&again)), (all, true));
    assert_eq!(played.backend.count(), 1);
    let mark = &read_all(&memory_of(&played.topics)).await[0];
    assert_eq!(mark.header_text("khp-idempotency-state"), "answered");
}

/// Nobody sees a complete answer that might run again.
#[tokio::test]
async fn the_last_bytes_wait_for_the_memory() {
    let (topics, mut backend) = (Topics::unique("payments"), StreamBackend::start().await);
    let (control, memory) = (format!("{}-control", topics.request), memory_of(&topics));
    for topic in [&topics.request, &topics.response, &control, &memory] {
        create_topic(topic, 1).await;
    }
    let processor = remembers_of(&topics, &backend.url()).set("create_topics.enabled", false);
    let _processor = processor.start().await;
    let proxy = honours(&topics).start().await;
    let mut client = send(&proxy).await;
    let mut call = backend.next().await;
    call.sized_head(10).await;
    call.send("01234").await;
    client.until("01234").await;
    delete_topic(&memory).await;
    call.send("56789").await;
    let early = tokio::time::timeout(Duration::from_secs(2), client.until("0123456789")).await;
    assert!(early.is_err(), "it is not remembered yet: {}", client.text());
    create_topic(&memory, 1).await;
    client.until("0123456789").await;
    let again = proxy.request(payment("k", "ten")).await;
    assert_eq!((again.text(), is_replay(&again)), ("0123456789".to_owned(), true));
    assert_eq!(backend.count(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_what_is_remembered() {
    let mut played = Played::start(|processor| processor).await;
    let body = bytes(0, 3_000_000);
    let mut call = played.left_after(&body[..1000]).await;
    write(&mut call, &body[1000..]).await;
    call.last_chunk().await;
    played.wait_until_remembered().await;
    let again = played.again().await;
    assert!(again.body == body && is_replay(&again));
    assert_eq!(played.backend.count(), 1);
}

/// It is at work as long as any stream is, though nobody reads it.
#[tokio::test]
async fn a_processor_that_stops_remembers_what_still_comes() {
    let mut played = Played::start(|processor| processor).await;
    let body = bytes(0, 3_000_000);
    let mut call = played.left_after(&body[..1000]).await;
    played.processor.signal("TERM");
    within(Duration::from_secs(10), "it drains", async || {
        played.processor.expect_health("/health/ready", 503).await
    })
    .await;
    write(&mut call, &body[1000..]).await;
    call.last_chunk().await;
    assert_eq!(played.processor.wait_exit().await, Some(0));
    let _next = remembers_of(&played.topics, &played.backend.url()).start().await;
    let again = played.again().await;
    assert!(again.body == body && is_replay(&again));
    assert_eq!(played.backend.count(), 1);
}

#[tokio::test]
async fn a_repeat_meanwhile_waits_and_gets_all_of_it() {
    let mut played = Played::start(|processor| processor).await;
    let address = played.proxy.address();
    let ask = || {
        let address = address.clone();
        tokio::spawn(async move { request(&address, payment("k", "ten")).await })
    };
    let first = ask();
    let mut call = played.backend.next().await;
    let body = bytes(0, 3_000_000);
    call.sized_head(body.len()).await;
    let (part, rest) = body.split_at(2_000_000);
    call.send(part).await;
    let second = ask();
    played
        .processor
        .wait_for_metric("processor_idempotency_waiting", &[], 1.0)
        .await;
    call.send(rest).await;
    let (first, second) = (first.await.expect("it ends"), second.await.expect("it ends"));
    assert!(first.body == body && !is_replay(&first));
    assert!(second.body == body && is_replay(&second));
    assert_eq!(played.backend.count(), 1);
}

#[tokio::test]
async fn a_processor_that_is_killed_in_mid_stream_leaves_the_key_free() {
    let mut played = Played::start(|processor| processor).await;
    let (mut client, mut call) = played.begin().await;
    call.chunked_head("application/octet-stream").await;
    write(&mut call, &bytes(0, 1_000_000)).await;
    client.until("application/octet-stream").await;
    played.processor.signal("KILL");
    drop(client);
    let _next = remembers_of(&played.topics, &played.backend.url()).start().await;
    let body = bytes(1, 3_000_000);
    let answering = async {
        let mut call = played.backend.next().await;
        call.sized_head(body.len()).await;
        call.send(&body).await;
        call
    };
    let request = payment("k", "ten");
    let (_call, second) = tokio::join!(answering, played.proxy.request(request.clone()));
    assert!(second.body == body && !is_replay(&second), "it ran again, whole");
    let third = played.proxy.request(request).await;
    assert!(third.body == body && is_replay(&third));
    assert_eq!(played.backend.count(), 2);
}

/// A part is not remembered.
#[tokio::test]
async fn an_answer_that_breaks_off_runs_again_or_is_not_known() {
    for (delivery, runs_again) in [("at-least-once", true), ("at-most-once", false)] {
        let mut played = Played::start(|processor| processor.set_topics("delivery", delivery)).await;
        let (mut client, mut call) = played.begin().await;
        call.chunked_head("application/octet-stream").await;
        write(&mut call, &bytes(0, 600_000)).await;
        client.until("application/octet-stream").await;
        drop(call);
        let text = client.until_end().await;
        assert!(!text.ends_with("\r\n0\r\n\r\n"), "it is cut off");
        match runs_again {
            true => {
                let answering = async {
                    let mut call = played.backend.next().await;
                    call.sized_head(3).await;
                    call.send("two").await;
                    call
                };
                let (_call, again) = tokio::join!(answering, played.proxy.request(payment("k", "ten")));
                assert_eq!((again.text(), is_replay(&again)), ("two".to_owned(), false));
            }
            false => played.again().await.assert_problem(502, "outcome-unknown"),
        }
    }
}

/// An error is no end: it streams, and its request may be tried again at once.
#[tokio::test]
async fn a_large_error_is_not_remembered() {
    let mut played = Played::start(|processor| processor.set_topics("max_retries", 0)).await;
    for number in 1..=2 {
        let body = bytes(number, 2_000_000);
        let answering = async {
            let mut call = played.backend.next().await;
            let head = format!(
                "HTTP/1.1 500 Oh\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            call.send(head).await;
            call.send(&body).await;
            call
        };
        let (_call, answer) = tokio::join!(answering, played.proxy.request(payment("k", "ten")));
        assert!(answer.status == 500 && answer.body == body && !is_replay(&answer));
    }
    assert_eq!(played.backend.count(), 2);
}
