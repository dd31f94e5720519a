//! Brokers that stand still in mid-stream (SIGSTOP): their ports are open, and nothing answers.

use std::time::Duration;

use super::{Client, GET};
use crate::harness::kafka::{Cluster, Node};
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::stream_backend::{Call, StreamBackend};
use crate::harness::wait::{long, within};

/// Longer than either side waits for a sign of life of the other (20 s), and than it takes to make sure.
const STANDSTILL: Duration = Duration::from_secs(24);
/// A broker notices this late that another one is gone (`broker.session.timeout.ms`, 9 s), and clients some time after it.
const FAILS_OVER_WITHIN: Duration = Duration::from_secs(60);

/// An answer that has begun, in the order in which its processes end.
struct Begun {
    client: Client,
    call: Call,
    proxy: Service,
    _processor: Service,
    backend: StreamBackend,
}

impl Begun {
    async fn on(brokers: &str) -> Self {
        let (topics, mut backend) = (Topics::unique("streams"), StreamBackend::start().await);
        let on = |spec: Spec| spec.on(brokers);
        let processor = on(processor(&[(&topics, &backend.url())])).start().await;
        let proxy = on(proxy(&topics)).start().await;
        let mut client = Client::send(&proxy, GET).await;
        let mut call = backend.next().await;
        call.chunked_head("text/event-stream").await;
        call.chunk("data: begun\n\n").await;
        client.until("data: begun").await;
        Begun {
            client,
            call,
            proxy,
            _processor: processor,
            backend,
        }
    }

    async fn wait_for_readiness(&self, status: u16) {
        within(FAILS_OVER_WITHIN, "its readiness changes", async || {
            self.proxy.expect_health("/health/ready", status).await
        })
        .await;
    }

    /// The stream ends as if nothing had been.
    async fn ends_whole(mut self, last: &str) {
        self.call.last_chunk().await;
        self.client.until("\r\n0\r\n\r\n").await;
        let text = self.client.text();
        let (head, _) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200"), "{text}");
        assert!(text.contains(last), "{text}");
        let labels = [("outcome", "complete")];
        self.proxy.wait_for_metric("proxy_streams_total", &labels, 1.0).await;
        assert_eq!(self.backend.count(), 1, "not run again");
        self.wait_for_readiness(200).await;
    }
}

/// All that the backend writes meanwhile comes afterwards, and neither side takes the other for dead.
#[tokio::test]
async fn a_stream_outlives_a_standstill_of_the_only_broker() {
    let node = Node::start();
    let mut begun = Begun::on(&node.brokers()).await;
    node.freeze();
    let mut expected = String::new();
    for number in 0..10 {
        let event = format!("data: {number} in the dark\n\n");
        begun.call.chunk(&event).await;
        expected.push_str(&event);
        tokio::time::sleep(STANDSTILL / 10).await;
    }
    begun.wait_for_readiness(503).await;
    let dark = begun.client.text();
    assert!(!dark.contains("9 in the dark"), "{dark}");
    node.thaw();
    begun.client.until("data: 9 in the dark").await;
    let events: String = begun
        .client
        .text()
        .lines()
        .filter(|line| line.starts_with("data: "))
        .fold(String::new(), |events, line| format!("{events}{line}\n\n"));
    assert_eq!(events, format!("data: begun\n\n{expected}"));
    begun.ends_whole("9 in the dark").await;
}

/// Each of the three in turn at full length, so that the leader of the reply partition and that of the control topic are among them. Each
/// holds up the others until they count it out: all replicas have to take what is written.
#[tokio::test]
async fn a_stream_goes_on_while_one_broker_of_three_stands_still() {
    let cluster = Cluster::start();
    let mut begun = Begun::on(&cluster.brokers()).await;
    let frozen = if long() { cluster.nodes.len() } else { 1 };
    for node in &cluster.nodes[..frozen] {
        node.freeze();
        for number in 0..3 {
            let event = format!("data: {number} without {}\n\n", node.brokers());
            begun.call.chunk(&event).await;
            begun.client.until(&event).await;
        }
        node.thaw();
        begun.wait_for_readiness(200).await;
    }
    begun.ends_whole("data: 2 without").await;
}
