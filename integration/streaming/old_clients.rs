//! Clients of HTTP/1.0, which knows no chunks: whatever streams for others comes to them whole.

use std::time::Duration;

use super::{Client, GET};
use crate::harness::names::Topics;
use crate::harness::spec::{processor, proxy};
use crate::harness::stream_backend::{Call, StreamBackend};

/// Longer than an answer of one record may take.
const PAUSE: Duration = Duration::from_millis(100);

async fn three_parts(mut call: Call) {
    call.chunked_head("text/event-stream").await;
    for part in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        call.chunk(part).await;
        tokio::time::sleep(PAUSE).await;
    }
    call.last_chunk().await;
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_an_answer_whole_that_others_get_as_it_comes() {
    let (topics, mut backend) = (Topics::unique("streams"), StreamBackend::start().await);
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    for head in ["GET /events HTTP/1.0", "GET /events HTTP/1.0\nConnection: keep-alive"] {
        let old = Client::send(&proxy, head).await;
        let call = backend.next().await;
        let written = tokio::spawn(three_parts(call));
        let text = match head.contains("keep-alive") {
            false => old.until_end().await,
            true => {
                let mut old = old;
                old.until("data: 3\n\n").await;
                old.text()
            }
        };
        let (answer_head, body) = text.split_once("\r\n\r\n").expect("a head");
        let answer_head = answer_head.to_ascii_lowercase();
        assert_eq!(body, "data: 1\n\ndata: 2\n\ndata: 3\n\n");
        assert!(answer_head.contains("content-length: 27"), "{answer_head}");
        assert!(!answer_head.contains("transfer-encoding"), "{answer_head}");
        written.await.expect("the backend wrote it");
    }
    let streams = async || proxy.metrics().await.sum("proxy_streams_total", &[]);
    assert_eq!(streams().await, 0.0, "neither was a stream");
    // The same for a client of HTTP/1.1.
    let new = Client::send(&proxy, &format!("{GET}\nConnection: close")).await;
    three_parts(backend.next().await).await;
    let text = new.until_end().await;
    assert!(
        text.to_ascii_lowercase().contains("transfer-encoding: chunked"),
        "{text}"
    );
    assert_eq!(streams().await, 1.0);
}
