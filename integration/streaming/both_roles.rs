//! Slow clients and replaced processors, through both roles.

use std::time::{Duration, Instant};

use super::{A_SECOND, Client, GET};
use crate::harness::client::Request;
use crate::harness::kafka::{Cluster, Node};
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::stream_backend::StreamBackend;
use crate::harness::wait::{off_thread, within};

/// In the order in which they end.
struct Both {
    proxy: Service,
    _processor: Service,
    backend: StreamBackend,
    topics: Topics,
}

impl Both {
    async fn start(configure: impl Fn(Spec) -> Spec) -> Self {
        let (topics, backend) = (Topics::unique("streams"), StreamBackend::start().await);
        let processor = configure(processor(&[(&topics, &backend.url())])).start().await;
        Both {
            proxy: configure(proxy(&topics)).start().await,
            _processor: processor,
            backend,
            topics,
        }
    }

    async fn wait_for_outcome(&self, outcome: &str) {
        let labels = [("topic", &*self.topics.request), ("outcome", outcome)];
        self.proxy.wait_for_metric("proxy_streams_total", &labels, 1.0).await;
    }
}

#[tokio::test]
async fn events_reach_the_client_as_the_backend_writes_them() {
    let mut both = Both::start(|spec| spec).await;
    let mut client = Client::send(&both.proxy, GET).await;
    let mut call = both.backend.next().await;
    call.chunked_head("text/event-stream").await;
    client.until("\r\n\r\n").await;
    for number in 0..30 {
        let (event, written) = (format!("data: {number}\n\n"), Instant::now());
        call.chunk(&event).await;
        client.until(&event).await;
        assert!(written.elapsed() < A_SECOND, "{:?}", written.elapsed());
    }
    call.last_chunk().await;
    client.until("\r\n0\r\n\r\n").await;
    both.wait_for_outcome("complete").await;
}

#[tokio::test]
async fn a_client_that_leaves_closes_the_connection_of_the_backend() {
    let mut both = Both::start(|spec| spec).await;
    let client = Client::send(&both.proxy, GET).await;
    let mut call = both.backend.next().await;
    let left = Instant::now();
    drop(client);
    call.closed().await;
    println!("before the first byte: {:?}", left.elapsed());
    assert!(left.elapsed() < A_SECOND, "{:?}", left.elapsed());

    let mut client = Client::send(&both.proxy, GET).await;
    let mut call = both.backend.next().await;
    call.chunked_head("text/event-stream").await;
    call.chunk("data: 1\n\n").await;
    client.until("data: 1").await;
    let left = Instant::now();
    drop(client);
    call.closed().await;
    println!("in mid-stream: {:?}", left.elapsed());
    assert!(left.elapsed() < A_SECOND, "{:?}", left.elapsed());
    both.wait_for_outcome("client-left").await;
}

#[tokio::test]
async fn a_backend_that_breaks_off_cuts_the_client_off() {
    let mut both = Both::start(|spec| spec).await;
    let mut client = Client::send(&both.proxy, GET).await;
    let mut call = both.backend.next().await;
    call.chunked_head("text/event-stream").await;
    call.chunk("begun").await;
    client.until("begun").await;
    drop(call);
    client.assert_cut("begun").await;
    both.wait_for_outcome("backend-reset").await;
}

/// What is held of its answer is bounded, and others do not notice.
#[tokio::test]
async fn a_client_that_reads_nothing_slows_its_backend_and_nobody_else() {
    const SIZE: usize = 64 << 20;
    let mut both = Both::start(|spec| spec).await;
    let slow = Client::send(&both.proxy, GET).await;
    let mut call = both.backend.next().await;
    call.sized_head(SIZE).await;
    let written = call.send_until_stuck(&vec![b'x'; SIZE]).await;
    println!("{written} bytes written for a client that reads nothing");
    assert!(written < SIZE / 2, "{written}");
    let held = both.proxy.metrics().await.sum("proxy_stream_buffered_bytes", &[]);
    assert!(held <= 256.0 * 1024.0, "{held}");
    let began = Instant::now();
    let quick = both.proxy.leave_waiting(&Request::get("/quick")).await;
    let mut other = both.backend.next().await;
    other.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nquick").await;
    let mut quick = quick;
    assert_eq!(quick.read_response(false).await.expect("an answer").text(), "quick");
    assert!(began.elapsed() < A_SECOND, "{:?}", began.elapsed());
    drop(slow);
    call.closed().await;
    both.wait_for_outcome("client-left").await;
}

/// Both roles of another process, of which only the processor streams: the proxy of before does not ask for it.
#[tokio::test]
async fn a_proxy_that_does_not_ask_gets_whole_answers() {
    let (topics, mut backend) = (Topics::unique("streams"), StreamBackend::start().await);
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).set("streaming", "off").start().await;
    let mut client = Client::send(&proxy, GET).await;
    let mut call = backend.next().await;
    call.chunked_head("text/plain").await;
    for _ in 0..5 {
        call.chunk("slow ").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    call.last_chunk().await;
    client.until("slow slow slow slow slow ").await;
    assert!(
        client.text().to_lowercase().contains("content-length: 25\r\n"),
        "{}",
        client.text()
    );
    let streams = proxy.metrics().await.sum("proxy_streams_total", &[]);
    assert_eq!(streams, 0.0);
}

/// Deploys: streams of the proxy that goes end there, and requests go to the next one.
#[tokio::test]
async fn a_stream_goes_on_while_its_processor_is_replaced() {
    let mut both = Both::start(|spec| spec).await;
    let mut client = Client::send(&both.proxy, GET).await;
    let mut call = both.backend.next().await;
    call.chunked_head("text/event-stream").await;
    call.chunk("data: before\n\n").await;
    client.until("data: before").await;
    let next = processor(&[(&both.topics, &both.backend.url())]).start().await;
    both._processor.signal("TERM");
    within(Duration::from_secs(30), "the next one takes over", async || match next
        .partitions(&both.topics.request)
        .await
        .len()
    {
        4 => Ok(()),
        count => Err(format!("{count} partitions")),
    })
    .await;
    call.chunk("data: after\n\n").await;
    client.until("data: after").await;
    call.last_chunk().await;
    client.until("\r\n0\r\n\r\n").await;
    assert_eq!(both._processor.wait_exit().await, Some(0));
    both.wait_for_outcome("complete").await;
    assert_eq!(both.backend.count(), 1, "not run again");
}

/// Each of the three in turn, so that the leader of the reply partition and that of the control topic are among them.
#[tokio::test]
async fn a_stream_goes_on_when_brokers_are_killed_one_after_the_other() {
    let mut cluster = Cluster::start();
    let mut both = Both::start(|spec| spec.on(cluster.brokers())).await;
    let mut client = Client::send(&both.proxy, GET).await;
    let mut call = both.backend.next().await;
    call.chunked_head("text/event-stream").await;
    for node in &mut cluster.nodes {
        node.kill();
        for number in 0..3 {
            let event = format!("data: {number} without {}\n\n", node.brokers());
            call.chunk(&event).await;
            client.until(&event).await;
        }
        node.restart();
    }
    call.last_chunk().await;
    client.until("\r\n0\r\n\r\n").await;
    both.wait_for_outcome("complete").await;
    let cancels = both.proxy.metrics().await.sum("proxy_cancels_total", &[]);
    assert_eq!(cancels, 0.0);
}

/// How long a producer keeps a piece that Kafka does not take: the shortest time that it may be told.
const KEPT: Duration = Duration::from_secs(15);

/// The proxy does not limit silence here, so nothing else would end it.
#[tokio::test]
async fn a_client_hears_of_an_end_that_came_while_kafka_was_away_for_long() {
    let mut kafka = off_thread(Node::start).await;
    let (topics, mut backend) = (Topics::unique("streams"), StreamBackend::start().await);
    let processor = processor(&[(&topics, &backend.url())])
        .on(kafka.brokers())
        .set_topics("timeout", 2)
        .set_topics("stream_idle_timeout", KEPT.as_secs())
        .start()
        .await;
    let proxy = proxy(&topics)
        .on(kafka.brokers())
        .set("stream_idle_timeout", 0)
        .start()
        .await;
    let mut client = Client::send(&proxy, GET).await;
    let mut call = backend.next().await;
    call.chunked_head("text/event-stream").await;
    call.chunk("begun").await;
    client.until("begun").await;
    kafka.kill();
    drop(call);
    let undelivered = [("outcome", "undelivered")];
    processor
        .wait_for_metric("processor_streams_total", &undelivered, 1.0)
        .await;
    // What was said then is given up as well, if it is said once.
    tokio::time::sleep(KEPT + Duration::from_secs(2)).await;
    let _kafka = off_thread(move || {
        kafka.restart();
        kafka
    })
    .await;
    client.assert_cut("begun").await;
}
