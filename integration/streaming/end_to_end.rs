//! Proxy and processor together: what a client and a backend see of each other.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;

use super::{A_SECOND, Client, GET};
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::stream_backend::StreamBackend;
use crate::harness::topics::create_topic;

/// In the order in which they end.
struct Tunnel {
    proxy: Service,
    processor: Service,
    backend: StreamBackend,
}

impl Tunnel {
    async fn start(configure: impl Fn(Spec) -> Spec) -> Self {
        let topics = Topics::unique("streams");
        create_topic(&topics.request, 1).await;
        let backend = StreamBackend::start().await;
        let processor = configure(processor(&[(&topics, &backend.url())])).start().await;
        Tunnel {
            proxy: configure(proxy(&topics)).start().await,
            processor,
            backend,
        }
    }
}

#[tokio::test]
async fn events_reach_the_client_one_by_one_and_its_leaving_ends_the_call() {
    let mut tunnel = Tunnel::start(|spec| spec).await;
    let mut client = Client::send(&tunnel.proxy, GET).await;
    let mut call = tunnel.backend.next().await;
    call.chunked_head("text/event-stream").await;
    client.until("text/event-stream").await;
    for event in 0..20 {
        let text = format!("data: {event}\n\n");
        call.chunk(&text).await;
        client.until(&text).await;
    }
    drop(client);
    let left = Instant::now();
    call.closed().await;
    assert!(left.elapsed() < A_SECOND, "{:?}", left.elapsed());
    // Before the first byte, too.
    let client = Client::send(&tunnel.proxy, GET).await;
    let mut call = tunnel.backend.next().await;
    drop(client);
    let left = Instant::now();
    call.closed().await;
    assert!(left.elapsed() < A_SECOND, "{:?}", left.elapsed());
    tunnel
        .processor
        .wait_for_metric("processor_cancels_total", &[], 2.0)
        .await;
    assert_eq!(tunnel.backend.count(), 2);
}

#[tokio::test]
async fn a_download_comes_whole_however_large_it_is() {
    let mut tunnel = Tunnel::start(|spec| spec).await;
    let body: Vec<u8> = (0..20_000_000_u32).map(|at| (at / 3) as u8).collect();
    let mut client = Client::send(&tunnel.proxy, GET).await;
    let mut call = tunnel.backend.next().await;
    call.sized_head(body.len()).await;
    let (sent, before) = (body.clone(), tunnel.processor.resident_memory());
    let began = Instant::now();
    let writing = tokio::spawn(async move { call.send(&sent).await });
    client.until("\r\n\r\n").await;
    let head = client.text().find("\r\n\r\n").expect("a head") + 4;
    assert!(
        client.text()[..head]
            .to_lowercase()
            .contains(&format!("content-length: {}", body.len()))
    );
    while client.got.len() < head + body.len() {
        let read = tokio::time::timeout(Duration::from_secs(60), client.stream.read_buf(&mut client.got)).await;
        assert!(
            read.expect("it goes on").expect("it is open") > 0,
            "{} bytes",
            client.got.len()
        );
    }
    println!("20 MB in {:?}", began.elapsed());
    assert!(client.got[head..] == body, "every byte in order");
    writing.await.expect("the backend wrote all of it");
    let grown = tunnel.processor.resident_memory().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes");
}

#[tokio::test]
async fn what_the_backend_breaks_off_is_cut_off_at_the_client() {
    let mut tunnel = Tunnel::start(|spec| spec).await;
    let mut client = Client::send(&tunnel.proxy, GET).await;
    let mut call = tunnel.backend.next().await;
    call.chunked_head("text/plain").await;
    call.chunk("only this").await;
    client.until("only this").await;
    drop(call);
    client.assert_cut("only this").await;
    // The connection of another client is not touched.
    let next = tokio::spawn({
        let address = tunnel.proxy.address();
        async move { crate::harness::client::request(&address, Request::get("/next")).await }
    });
    let mut call = tunnel.backend.next().await;
    call.sized_head(2).await;
    call.send("ok").await;
    assert_eq!(next.await.expect("an answer").text(), "ok");
}

#[tokio::test]
async fn sealed_answers_stream_too() {
    let keys = serde_json::json!({
        "keys": [{"id": "k", "secret": "a secret of at least 32 letters, yes"}],
        "require": true
    });
    let mut tunnel = Tunnel::start(|spec| spec.set("sealing", keys.clone())).await;
    let mut client = Client::send(&tunnel.proxy, GET).await;
    let mut call = tunnel.backend.next().await;
    call.chunked_head("text/event-stream").await;
    for event in ["one", "two", "three"] {
        call.chunk(event).await;
        client.until(event).await;
    }
    call.last_chunk().await;
    client.until("\r\n0\r\n\r\n").await;
}

/// A stream, and one that waits for its answer: neither is cut while both sides live, however long they are silent.
#[tokio::test]
async fn silence_of_half_a_minute_ends_nothing() {
    let mut tunnel = Tunnel::start(|spec| spec).await;
    let mut client = Client::send(&tunnel.proxy, GET).await;
    let mut call = tunnel.backend.next().await;
    call.chunked_head("text/event-stream").await;
    client.until("text/event-stream").await;
    let mut waits = Client::send(&tunnel.proxy, GET).await;
    let mut second = tunnel.backend.next().await;
    tokio::time::sleep(Duration::from_secs(27)).await;
    call.chunk("still there").await;
    client.until("still there").await;
    second.sized_head(4).await;
    second.send("late").await;
    waits.until("late").await;
}
