//! A test in the place of the proxy: it writes requests that take streams, reads the pieces, and steers them.

use std::time::Duration;

use actix_khp::wire::beside::{InstanceId, StreamOffer};
use actix_khp::wire::control::Control;
use actix_khp::wire::sealing::Binding;
use actix_khp::wire::{self, Request, Sealing};

use crate::harness::names::Topics;
use crate::harness::records::{Header, Reader, Record, produce, request_headers};
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor};
use crate::harness::stream_backend::StreamBackend;
use crate::harness::topics::create_topic;

/// Bytes that may be sent before credit comes, unless a test says otherwise.
pub const WINDOW: usize = 256 << 10;

/// A requester, and the topics that it uses. Each has one partition.
pub struct Requester {
    pub topics: Topics,
    pub instance: [u8; 16],
    replies: Reader,
}

impl Requester {
    /// Creates the topics.
    pub async fn create() -> Self {
        let topics = Topics::unique("streams");
        for topic in [&topics.request, &topics.response] {
            create_topic(topic, 1).await;
        }
        Requester {
            replies: Reader::open(&topics.response),
            topics,
            instance: rand::random(),
        }
    }

    /// The same, with a processor and its backend.
    pub async fn with_processor(configure: impl FnOnce(Spec) -> Spec) -> (Self, Service, StreamBackend) {
        let requester = Requester::create().await;
        let backend = StreamBackend::start().await;
        let processor = configure(requester.spec(&backend)).start().await;
        (requester, processor, backend)
    }

    pub fn spec(&self, backend: &StreamBackend) -> Spec {
        processor(&[(&self.topics, &backend.url())])
    }

    pub fn control_topic(&self) -> String {
        format!("{}-control", self.topics.request)
    }

    /// Writes a GET that takes a stream.
    pub async fn ask(&self, id: &str) {
        self.ask_with(id, WINDOW, &[]).await;
    }

    /// The same, on a partition of the request topic.
    pub async fn ask_on(&self, partition: i32, id: &str) {
        self.offer(partition, id, WINDOW, &[]).await;
    }

    /// The same, with another window and further headers.
    pub async fn ask_with(&self, id: &str, window: usize, more: &[Header<'_>]) {
        self.offer(0, id, window, more).await;
    }

    async fn offer(&self, partition: i32, id: &str, window: usize, more: &[Header<'_>]) {
        let window = window.to_string();
        let offer: [Header<'_>; 5] = [
            ("khp-accept", b"stream"),
            ("khp-window", window.as_bytes()),
            ("khp-instance", &self.instance),
            ("kafka_replyTopic", self.topics.response.as_bytes()),
            ("kafka_replyPartition", &[0; 4]),
        ];
        self.write(partition, id, &[&offer, more].concat()).await;
    }

    /// Writes a sealed GET that takes a stream.
    pub async fn ask_sealed(&self, sealing: &Sealing, id: &str) {
        let request = wire::native::encode_request(Request {
            correlation_id: id.to_owned().into(),
            method: "GET".into(),
            path: "/sealed".into(),
            authority: "orders".into(),
            scheme: "http".into(),
            reply_topic: Some(self.topics.response.clone()),
            reply_partition: Some(0),
            accepts_stream: Some(StreamOffer {
                window: 1000,
                instance: InstanceId::new(),
            }),
            ..Request::default()
        });
        let request_topic = &*self.topics.request;
        self.write_sealed(sealing, request_topic, request, Binding::Request { request_topic })
            .await;
    }

    /// Writes a sealed control record.
    pub async fn steer_sealed(&self, sealing: &Sealing, control: Control) {
        let topic = &*self.control_topic();
        self.write_sealed(sealing, topic, control.encode(), Binding::Control { topic })
            .await;
    }

    async fn write_sealed(&self, sealing: &Sealing, topic: &str, record: wire::Record, binding: Binding<'_>) {
        let sealed = sealing.seal(record, binding).expect("OpenSSL works");
        let headers = sealed.headers.iter().map(|(name, value)| (&**name, &value[..]));
        let headers: Vec<Header<'_>> = headers.collect();
        produce(topic, 0, &sealed.value, &headers).await;
    }

    /// Writes a GET that takes no stream.
    pub async fn ask_for_whole(&self, id: &str) {
        self.write(0, id, &[("kafka_replyTopic", self.topics.response.as_bytes())])
            .await;
    }

    async fn write(&self, partition: i32, id: &str, headers: &[Header<'_>]) {
        let path = format!("/{}", id.replace(' ', "-"));
        let mut all = request_headers(id, "GET", &path, headers);
        all.push(("khp-body", b"none"));
        produce(&self.topics.request, partition, b"", &all).await;
    }

    /// The next record of an answer.
    pub async fn next(&self) -> Piece {
        loop {
            let record = self.replies.next().await;
            if record.header("khp-control").is_none() {
                return Piece(record);
            }
        }
    }

    /// The next sign of life of a processor.
    pub async fn next_alive(&self) -> Record {
        loop {
            let record = self.replies.next().await;
            if record.header_text("khp-control") == "alive" {
                return record;
            }
        }
    }

    /// Asserts that no piece comes for a while.
    pub async fn expect_nothing(&self) {
        let next = tokio::time::timeout(Duration::from_millis(700), self.next()).await;
        assert!(next.is_err(), "{next:?}");
    }

    pub async fn cancel(&self, id: &str, stream: Option<&[u8]>) {
        let stream = stream.map(|stream| ("khp-stream", stream));
        self.steer("cancel", Some(id), stream.as_slice()).await;
    }

    /// Allows so many bytes in all.
    pub async fn credit(&self, id: &str, stream: &[u8], total: usize) {
        let total = total.to_string();
        let headers = [("khp-stream", stream), ("khp-credit", total.as_bytes())];
        self.steer("credit", Some(id), &headers).await;
    }

    pub async fn alive(&self) {
        self.steer("alive", None, &[("khp-instance", &self.instance)]).await;
    }

    async fn steer(&self, what: &str, id: Option<&str>, more: &[Header<'_>]) {
        let mut headers: Vec<Header<'_>> = vec![("khp-version", b"1"), ("khp-control", what.as_bytes())];
        headers.extend(id.map(|id| ("kafka_correlationId", id.as_bytes())));
        headers.extend_from_slice(more);
        produce(&self.control_topic(), 0, b"", &headers).await;
    }
}

/// A record of an answer.
#[derive(Debug)]
pub struct Piece(pub Record);

impl Piece {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    pub fn bytes(&self) -> &[u8] {
        self.0.value.as_deref().unwrap_or_default()
    }

    /// Its number; `None`: it is an answer in one record.
    pub fn seq(&self) -> Option<u64> {
        self.0.header("khp-seq")?;
        Some(self.0.header_text("khp-seq").parse().expect("a number"))
    }

    pub fn stream(&self) -> Vec<u8> {
        self.0.header("khp-stream").expect("a piece").to_vec()
    }

    pub fn has_more(&self) -> bool {
        self.0.header_text("khp-more") == "1"
    }

    /// Why the body ends early.
    pub fn error(&self) -> String {
        self.0.header_text("khp-error")
    }

    /// Asserts that this is piece `seq` and that others follow.
    pub fn assert_goes_on(&self, seq: u64) {
        assert_eq!(
            (self.seq(), self.has_more(), self.error().as_str()),
            (Some(seq), true, "")
        );
    }

    /// Asserts that this is the last piece, and that the body ended early for this reason (empty: it is whole).
    pub fn assert_ends(&self, seq: u64, error: &str) {
        assert_eq!(
            (self.seq(), self.has_more(), self.error().as_str()),
            (Some(seq), false, error)
        );
    }
}
