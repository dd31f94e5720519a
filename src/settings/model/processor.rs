//! The processor's settings: its request topics, and the backend behind each.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::kafka::config::Start;
use crate::process::https::Tls as BackendTls;
use crate::settings::model::delivery::{Breaker, Delivery, Ordering, Retry};
use crate::settings::model::idempotency::Memory;
use crate::settings::model::management::Secret;
use crate::settings::model::streams::{Streaming, Streams};

/// The processor's settings.
#[derive(Debug, Clone)]
pub struct Processor {
    /// Never empty for a processor; a demo or proxy may have none.
    pub topics: Vec<Topic>,
    /// Backend calls under way in the whole process.
    pub max_concurrent_requests: usize,
    /// Zero = off.
    pub health_check_interval: Duration,
    /// The topic of records that could not be processed; `None`: they are counted and logged.
    pub dead_letter_topic: Option<String>,
    /// How far the clocks of proxy and processor may disagree before a deadline counts as passed.
    pub clock_tolerance: Duration,
    /// A deadline that lies further back is past, whatever the clocks say. No less than `clock_tolerance`.
    pub max_clock_skew: Duration,
    /// How long a partition that moves to another processor waits for calls under way.
    pub revoke_timeout: Duration,
    /// Consumers that read large bodies, in the whole process.
    pub body_readers: usize,
}

/// How long Kafka may take for a piece of an answer, at most. A broker that hangs is counted out after nine seconds; clients learn that some
/// time later.
const PIECE_WITHIN: Duration = Duration::from_secs(60);

/// One request topic and the backend behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    /// What operators call it: the name in `KAFKA_TOPICS`, else the request topic.
    pub name: String,
    /// Consumed by this topic's workers.
    pub request_topic: String,
    /// Where replies go when a request names no topic, or none that is allowed.
    pub response_topic: String,
    /// How its answers are streamed.
    pub streams: Streams,
    /// What is remembered of requests that run once.
    pub memory: Memory,
    /// Where requests go; never named by a record.
    pub backend_url: BackendUrl,
    /// The group all workers of this topic, in all processes, share.
    pub consumer_group: String,
    /// Per backend attempt.
    pub timeout: Duration,
    /// Further attempts after the first.
    pub max_retries: u32,
    /// Records per second, shared by the topic's workers.
    pub rate_limit: Option<f64>,
    /// Actors that consume this topic, each with a consumer and an Arbiter of its own.
    pub workers: usize,
    /// Backend calls under way per worker.
    pub concurrency: usize,
    /// Where a new group begins.
    pub start: Start,
    /// Static membership; a worker's index is appended.
    pub group_instance_id: Option<String>,
    /// Globs of reply topics that a request may name besides `response_topic`.
    pub allowed_reply_topics: Vec<String>,
    /// Path of the backend's health check.
    pub health_path: String,
    /// The `Host` header the backend sees.
    pub host: HostHeader,
    /// Header fields that the backend gets, names in lower case; may hold credentials.
    pub set_headers: BTreeMap<String, Secret>,
    /// Globs of header fields of answers, in lower case, that never go into Kafka.
    pub withhold_headers: Vec<String>,
    /// Which records wait for each other.
    pub ordering: Ordering,
    /// When a record's offset is committed.
    pub delivery: Delivery,
    /// Which failed attempts are repeated, and when.
    pub retry: Retry,
    /// When a failing backend is left alone.
    pub breaker: Breaker,
    /// How the backend's connections are encrypted, if its URL is `https://`.
    pub tls: BackendTls,
}

impl Topic {
    /// Answers that are larger than a record are remembered, too.
    pub fn keeps_answers(&self) -> bool {
        self.memory.idempotency && self.streams.streaming != Streaming::Off
    }

    /// How long the body of a remembered answer counts: it is older than its key, by as long as it streamed.
    pub fn answers_kept(&self) -> Duration {
        self.memory.retention.saturating_add(self.streams.max_duration)
    }

    /// How long Kafka may take for an answer. A piece that is dropped cuts off its answer, so one is kept as long as a stream may be silent.
    pub fn kept_for(&self) -> Duration {
        let silence = match self.streams.idle_timeout {
            _ if self.streams.streaming == Streaming::Off => Duration::ZERO,
            Duration::ZERO => PIECE_WITHIN,
            limit => limit.min(PIECE_WITHIN),
        };
        self.timeout.max(silence)
    }
}

/// A backend's address, parsed once: no record can change scheme or authority.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct BackendUrl {
    /// `http` or `https`.
    pub scheme: String,
    /// `host[:port]`, without user info.
    pub authority: String,
    /// Prefixed to each record's path; empty or `/a/b` without a trailing slash.
    pub base_path: String,
}

impl fmt::Display for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.base_path)
    }
}

/// Which `Host` a backend sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostHeader {
    /// The backend's own authority.
    #[default]
    Backend,
    /// The client's.
    Preserve,
}
