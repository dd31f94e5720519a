//! Answers that stream while their partitions go to another processor.

use futures_util::FutureExt;
use futures_util::future::select_all;

use super::{bytes, honours, is_replay, remembers_of};
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::stream_backend::{Call, StreamBackend};
use crate::harness::topics::create_topic;
use crate::harness::wait::eventually;
use crate::streaming::Client;

/// They are in both partitions.
const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Requests whose answers stream.
struct Streaming {
    backend: StreamBackend,
    proxy: Service,
    streams: Vec<(&'static str, Client, Call)>,
    /// The second has taken one of the two partitions.
    _processors: [Service; 2],
}

impl Streaming {
    /// `begins` each answer; then a second processor comes, and takes one partition.
    async fn start(ordering: &str, begins: impl AsyncFn(&mut Client, &mut Call)) -> Self {
        let (topics, mut backend) = (Topics::unique("payments"), StreamBackend::start().await);
        create_topic(&topics.request, 2).await;
        let spec = remembers_of(&topics, &backend.url())
            .set_topics("ordering", ordering)
            .set_topics("stream_idle_timeout", 0)
            .set("revoke_timeout", 1);
        let first = spec.clone().start().await;
        let proxy = honours(&topics).set("stream_idle_timeout", 0).start().await;
        let mut streams = Vec::new();
        for key in KEYS {
            let head =
                format!("POST /{key} HTTP/1.1\nHost: a\nConnection: close\nIdempotency-Key: {key}\nContent-Length: 0");
            let mut client = Client::send(&proxy, &head).await;
            let mut call = backend.next().await;
            begins(&mut client, &mut call).await;
            streams.push((key, client, call));
        }
        let second = spec.launch().await;
        eventually("one partition each", async || {
            let status =
                async |processor: &Service| processor.topic_status(&topics.request).await["partitions"].clone();
            match (status(&first).await, status(&second).await) {
                (one, other) if one == 1 && other == 1 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        Streaming {
            backend,
            proxy,
            streams,
            _processors: [first, second],
        }
    }
}

/// Whoever has seen the end of an answer knows that it does not run again, whoever has its partition.
async fn never_seen_whole_and_run_twice(ordering: &str) {
    let begins = async |client: &mut Client, call: &mut Call| {
        call.chunked_head("text/event-stream").await;
        call.chunk("begun,").await;
        client.until("begun,").await;
    };
    let mut streaming = Streaming::start(ordering, begins).await;
    let mut cut_off = 0;
    for (key, client, mut call) in streaming.streams {
        // Err: it was cut off.
        let _ = call.try_send(b"5\r\nended\r\n0\r\n\r\n").await;
        let is_whole = client.until_end().await.ends_with("\r\n0\r\n\r\n");
        let calls = streaming.backend.count();
        let again = Request::post(&format!("/{key}"), "").header("Idempotency-Key", key);
        let again = streaming.proxy.request(again);
        if is_whole {
            let again = again.await;
            assert_eq!((again.text(), is_replay(&again)), ("begun,ended".to_owned(), true));
            assert_eq!(streaming.backend.count(), calls);
        } else {
            cut_off += 1;
            let answering = async {
                let mut call = streaming.backend.next().await;
                call.sized_head(3).await;
                call.send("two").await;
                call
            };
            let (again, _call) = tokio::join!(again, answering);
            assert_eq!((again.text(), is_replay(&again)), ("two".to_owned(), false));
        }
    }
    assert!((1..KEYS.len()).contains(&cut_off), "{cut_off}");
}

#[tokio::test]
async fn no_answer_is_seen_whole_and_run_twice_where_its_partition_moves() {
    never_seen_whole_and_run_twice("unordered").await;
}

#[tokio::test]
async fn nor_under_ordering() {
    never_seen_whole_and_run_twice("key").await;
}

/// The key is free then: two calls with it must not be open.
#[tokio::test]
async fn a_call_that_is_cut_off_ends_also_where_nobody_reads_its_answer() {
    let begins = async |_: &mut Client, call: &mut Call| {
        call.chunked_head("application/octet-stream").await;
        let chunk = [b"4000000\r\n", &*bytes(0, 0x400_0000)].concat();
        assert!(call.send_until_stuck(&chunk).await < chunk.len());
    };
    let mut streaming = Streaming::start("unordered", begins).await;
    let calls = streaming.streams.iter_mut();
    select_all(calls.map(|(_, _, call)| call.closed().boxed_local())).await;
}
