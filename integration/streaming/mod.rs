//! Answers that come in pieces, and bodies that are larger than a record.

/// Slow clients and replaced processors, through both roles.
mod both_roles;
/// Cancels: a client that leaves, or waits no longer, ends the call.
mod cancels;
/// What cuts a client off, so that a part of an answer is never taken for whole.
mod cuts;
/// Answers of any size.
mod downloads;
/// Proxy and processor together.
mod end_to_end;
/// Windows and credit: a client that reads slowly slows its backend down.
mod flow;
/// Brokers that stand still in mid-stream.
mod frozen_brokers;
/// git pushes and clones.
mod git;
/// HTTP/2 clients.
mod h2;
/// Signs of life, and processors that are gone.
mod liveness;
/// Many streams at once.
mod many_at_once;
/// Which requests say that they may be answered in pieces.
mod offers;
/// Versions without streams beside this one.
mod old_beside_new;
/// Clients of HTTP/1.0.
mod old_clients;
/// Pieces reach the client one by one.
mod pieces;
/// What a processor does with requests that take streams; a test plays the proxy.
mod processor;
/// The control topic and its rights.
mod rights;
/// S3 by boto3.
mod s3;
/// Bodies of requests that are larger than a record.
mod uploads;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::names::Topics;
use crate::harness::records::{Follower, Header, Reader, Record, produce};
use crate::harness::service::Service;
use crate::harness::spec::{Spec, proxy};
use crate::harness::topics::create_topic;
use crate::harness::wait::{PATIENCE, eventually};

/// The id of the call that a test's replier makes.
const CALL: &[u8] = b"call-001";
/// The process that it says it is.
const REPLIER: &[u8] = b"replier-process1";

/// A proxy, and a replier that the test plays.
struct Played {
    proxy: Service,
    topics: Topics,
    requests: Reader,
    control: Follower,
}

impl Played {
    async fn start(configure: impl FnOnce(Spec) -> Spec) -> Self {
        let topics = Topics::unique("streams");
        for topic in [&topics.request, &topics.response, &control_topic(&topics)] {
            create_topic(topic, 1).await;
        }
        Played {
            proxy: configure(proxy(&topics)).start().await,
            requests: Reader::open(&topics.request),
            control: Follower::open(&control_topic(&topics)),
            topics,
        }
    }

    /// Sends a request, and reads its record.
    async fn ask(&self, head: &str) -> (Client, Record) {
        let client = Client::send(&self.proxy, head).await;
        (client, self.requests.next().await)
    }

    /// Writes a piece of the answer to this request; the first one carries `fields`.
    async fn piece(&self, request: &Record, seq: u64, body: &[u8], more: &[Header<'_>]) {
        self.piece_of(CALL, request, seq, body, more).await;
    }

    async fn piece_of(&self, call: &[u8], request: &Record, seq: u64, body: &[u8], more: &[Header<'_>]) {
        let seq = seq.to_string();
        let mut headers: Vec<Header<'_>> = vec![
            ("khp-version", b"1"),
            ("kafka_correlationId", request.correlation_id()),
            ("khp-stream", call),
            ("khp-seq", seq.as_bytes()),
        ];
        headers.extend(more);
        let partition = request.reply_partition().unwrap_or_default();
        produce(&self.topics.response, partition, body, &headers).await;
    }

    /// Waits for the next control record that is no sign of life.
    async fn next_control(&mut self) -> Record {
        let control = &mut self.control;
        let mut found = Vec::new();
        eventually("a control record", async || {
            let is_alive = |record: &Record| record.header_text("khp-control") == "alive";
            found.extend(control.up_to_now().await.into_iter().filter(|record| !is_alive(record)));
            (!found.is_empty()).then_some(()).ok_or_else(|| "none".to_owned())
        })
        .await;
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// Waits for the cancel of this request, within a second or so.
    async fn assert_cancelled(&mut self, request: &Record, call: Option<&[u8]>) {
        let cancel = self.next_control().await;
        assert_eq!(cancel.header_text("khp-control"), "cancel");
        assert_eq!(cancel.correlation_id(), request.correlation_id());
        assert_eq!(cancel.header("khp-stream"), call);
        assert_eq!(cancel.value.as_deref().unwrap_or_default(), b"");
    }

    async fn wait_for_outcome(&self, outcome: &str) {
        let labels = [("topic", &*self.topics.request), ("outcome", outcome)];
        self.proxy.wait_for_metric("proxy_streams_total", &labels, 1.0).await;
        for gauge in [
            "proxy_streams_open",
            "proxy_stream_places",
            "proxy_stream_buffered_bytes",
        ] {
            self.proxy.wait_for_metric(gauge, &[], 0.0).await;
        }
    }
}

fn control_topic(topics: &Topics) -> String {
    format!("{}-control", topics.request)
}

/// More follows.
const MORE: Header<'static> = ("khp-more", b"1");
/// The headers of a first piece that others follow.
const FIRST: [Header<'static>; 4] = [
    MORE,
    (":status", b"200"),
    ("content-type", b"text/event-stream"),
    ("khp-instance", REPLIER),
];

/// A client that reads an answer as it comes.
pub struct Client {
    stream: TcpStream,
    /// All that has come.
    got: Vec<u8>,
}

impl Client {
    /// Sends a head, whose lines end here.
    pub async fn send(proxy: &Service, head: &str) -> Self {
        let mut stream = TcpStream::connect(proxy.address()).await.expect("the proxy listens");
        let head = format!("{}\r\n\r\n", head.trim().replace('\n', "\r\n"));
        stream.write_all(head.as_bytes()).await.expect("sent");
        Client {
            stream,
            got: Vec::new(),
        }
    }

    /// Waits until this text has come.
    pub async fn until(&mut self, text: &str) {
        while !self.text().contains(text) {
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.got)).await;
            let read = read.unwrap_or_else(|_| panic!("{text:?} does not come: {}", self.text()));
            assert!(read.expect("it is open") > 0, "{text:?} did not come: {}", self.text());
        }
    }

    /// Waits for the end of the connection, and returns all that came.
    pub async fn until_end(self) -> String {
        String::from_utf8_lossy(&self.bytes_until_end().await).into_owned()
    }

    async fn bytes_until_end(mut self) -> Vec<u8> {
        // Err: it was reset.
        let end = timeout(PATIENCE, self.stream.read_to_end(&mut self.got)).await;
        let _ = end.expect("the connection ends");
        self.got
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.got).into_owned()
    }

    /// Asserts that the connection ends, and that the answer in it does not.
    async fn assert_cut(self, last: &str) {
        let text = self.until_end().await;
        assert!(text.contains("transfer-encoding: chunked"), "{text}");
        assert!(text.ends_with(&format!("{last}\r\n")), "{text}");
    }
}

/// A GET.
const GET: &str = "GET /events HTTP/1.1\nHost: shop.example";
/// Long enough for what must happen within a second, on a busy machine.
const A_SECOND: Duration = Duration::from_secs(5);
