//! Results that lie in several records, and requests whose bodies do.

use super::{accepted, accepting, ask, job, result};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Connection, Request};
use crate::harness::names::Topics;
use crate::harness::spec::processor;
use crate::harness::stream_backend::StreamBackend;
use crate::harness::wait::eventually;

/// More than a record takes; no two of its pieces are the same.
fn large() -> Vec<u8> {
    (0..3_000_000_u32).map(|number| (number / 7 % 251) as u8).collect()
}

#[tokio::test]
async fn a_result_larger_than_a_record_comes_whole_from_any_proxy() {
    let topics = Topics::unique("jobs");
    let backend = Backend::start(|received| Answer::body(large()).header("X-Job", &received.body)).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = accepting(&topics).start().await;
    // Their pieces may lie among each other.
    let mut all = Vec::new();
    for number in 0..3 {
        all.push(accepted(&proxy, job(number.to_string())).await);
    }
    let other = accepting(&topics).start().await;
    for (number, at) in all.iter().enumerate() {
        let found = result(&other, at).await;
        assert_eq!(found.status, 200);
        assert_eq!(found.header("x-job").as_deref(), Some(number.to_string().as_str()));
        assert_eq!(found.header("content-length").as_deref(), Some("3000000"));
        assert!(found.body == large(), "{} bytes", found.body.len());
        let head = ask(&other, Request::new("HEAD", at)).await;
        assert_eq!(
            (head.status, head.header("content-length").as_deref()),
            (200, Some("3000000"))
        );
    }
    assert_eq!(backend.count(), 3);
}

#[tokio::test]
async fn an_answer_that_streams_is_there_when_it_has_ended() {
    let topics = Topics::unique("jobs");
    let mut backend = StreamBackend::start().await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set_topics("max_retries", 0)
        .start()
        .await;
    let proxy = accepting(&topics).start().await;
    let at = accepted(&proxy, Request::get("/tokens").header("Prefer", "respond-async")).await;
    let mut call = backend.next().await;
    call.chunked_head("text/event-stream").await;
    call.chunk("data: one\n\n").await;
    eventually("its first piece is read", async || {
        let read = proxy.metrics().await.sum("proxy_results_read_total", &[]);
        if read > 0.0 { Ok(()) } else { Err(read.to_string()) }
    })
    .await;
    assert_eq!(ask(&proxy, Request::get(&at)).await.status, 202, "its end is due");
    call.chunk("data: two\n\n").await;
    call.last_chunk().await;
    let found = result(&proxy, &at).await;
    assert_eq!((found.status, found.text()), (200, "data: one\n\ndata: two\n\n".into()));
    assert_eq!(found.header("content-type").as_deref(), Some("text/event-stream"));
}

#[tokio::test]
async fn what_was_cut_off_is_never_taken_for_whole() {
    let topics = Topics::unique("jobs");
    let mut backend = StreamBackend::start().await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set_topics("max_retries", 0)
        .start()
        .await;
    let proxy = accepting(&topics).start().await;
    let at = accepted(&proxy, Request::get("/tokens").header("Prefer", "respond-async")).await;
    let mut call = backend.next().await;
    call.chunked_head("text/event-stream").await;
    call.chunk("data: one\n\n").await;
    drop(call);
    proxy.wait_for_metric("proxy_results_indexed", &[], 1.0).await;
    let mut connection = Connection::open(&proxy.address()).await.unwrap();
    let cut = connection.request(&Request::get(&at)).await;
    assert!(cut.is_err(), "{cut:?}");
}

#[tokio::test]
async fn a_request_larger_than_a_record_is_accepted() {
    let topics = Topics::unique("jobs");
    let backend = Backend::start(|received| Answer::body(received.body.len().to_string())).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = accepting(&topics).start().await;
    let at = accepted(&proxy, job(large())).await;
    assert_eq!(result(&proxy, &at).await.text(), "3000000");
    assert!(backend.last().body == large());
}
