//! What the operator decides: one typed tree, read once at start and never changed.
//!
//! Layers, later wins: `config/reference.yaml` (embedded: it documents every key and *is* the defaults) < configuration files <
//! environment < flags. `load` merges them, `read` turns the tree into these types, `validate` checks across keys; all faults are
//! reported at once.

mod check;
mod fault;
mod keys;
mod load;
mod masked;
mod model;
mod parse;
mod read;
mod sources;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

pub use fault::{Fault, SettingsError};
pub use load::{Loaded, REFERENCE, load};
pub use model::delivery::{Breaker, BreakerMode, Delivery, Ordering, Retry, RetryOn};
pub use parse::routing::{RecordKey, Route};
pub use parse::value::rate;
pub use read::tree::plain_topic;

pub use crate::kafka::config::{CreateTopics, Kafka, ReplyPartition, Start};
pub use crate::process::telemetry::{Log, LogFormat};
use crate::wire::Format;

/// Which roles a process plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// HTTP in, Kafka out, and the answer back.
    Proxy,
    /// Kafka in, a backend call, and the answer back on Kafka.
    Processor,
    /// Both roles in one process.
    All,
    /// Both roles, an echo backend and librdkafka's mock cluster: nothing else is needed.
    Demo,
}

impl Mode {
    /// Does this process take HTTP requests?
    pub fn is_proxy(self) -> bool {
        self != Mode::Processor
    }
    /// Does this process consume request topics?
    pub fn is_processor(self) -> bool {
        self != Mode::Proxy
    }
}

/// Every setting of both roles, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The roles these settings are for.
    pub mode: Mode,
    /// How Kafka is reached, by both roles.
    pub kafka: Kafka,
    /// The proxy's own.
    pub proxy: Proxy,
    /// The processor's own.
    pub processor: Processor,
    /// The management listener.
    pub management: Management,
    /// What may be created in Kafka.
    pub create_topics: CreateTopics,
    /// How long a shutdown may take in all before what is left is cut off (exit 75). Default: `default_timeout` + 10 s.
    pub drain_timeout: Duration,
    /// How long a draining proxy still serves requests, with `Connection: close`, before its listener closes.
    pub pre_stop: Duration,
    /// What is logged, and how.
    pub log: Log,
}

/// The proxy's settings.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Where the HTTP listener binds.
    pub bind: IpAddr,
    /// 0 = any free port.
    pub port: u16,
    /// From a request's arrival to its 504.
    pub default_timeout: Duration,
    /// Reply topics consumed from the start.
    pub warmup_topics: Vec<String>,
    /// Used where no route and no header names a topic.
    pub request_topic: String,
    /// Where the replies to such requests are awaited.
    pub response_topic: String,
    /// The group that consumes `request_topic`: while it has no members, requests are refused. `None`: nobody looks.
    pub consumer_group: Option<String>,
    /// How requests are written unless their route says otherwise; replies are read in both formats.
    pub wire_format: Format,
    /// Which requests are taken, and where each goes; empty = every one, to `request_topic`. The first that matches wins.
    pub routes: Vec<Route>,
    /// Honour `X-Kafka-Topic` and `X-Kafka-Reply-Topic`. Default: only without routes.
    pub topic_headers: bool,
    /// Globs of topics that a client may name; empty = any legal, non-internal name.
    pub allowed_topics: Vec<String>,
    /// How many topics that the configuration does not name clients may name in one process.
    pub max_client_topics: usize,
    /// This instance's name; random per start when `None`. A trailing `-<n>` chooses reply partition n mod P.
    pub instance_id: Option<String>,
    /// Which of a reply topic's partitions are read.
    pub reply_partition: ReplyPartition,
    /// Requests in flight, in all.
    pub max_pending: usize,
    /// Requests in flight per request topic, so that a slow one leaves room for others; never above `max_pending`.
    pub max_pending_per_topic: usize,
    /// How often one client may ask; `None`: as often as it likes.
    pub rate_limit: Option<ClientRate>,
    /// Bytes of a request body.
    pub max_body_size: usize,
}

impl Proxy {
    /// The topics that requests go to unless a client names another.
    pub fn request_topics(&self) -> BTreeSet<&str> {
        match self.routes.as_slice() {
            [] => [self.request_topic.as_str()].into(),
            routes => routes.iter().map(|route| route.request_topic.as_str()).collect(),
        }
    }

    /// The reply topics to be read before the proxy is ready.
    pub fn reply_topics(&self) -> BTreeSet<&str> {
        let routes = self.routes.iter().map(|route| &route.response_topic);
        self.warmup_topics.iter().chain(routes).map(String::as_str).collect()
    }

    /// The consumer groups to look after, each with the request topic it consumes.
    pub fn consumer_groups(&self) -> BTreeMap<&str, &str> {
        let own = (self.routes.is_empty()).then_some((&self.request_topic, &self.consumer_group));
        let routes = self
            .routes
            .iter()
            .map(|route| (&route.request_topic, &route.consumer_group));
        own.into_iter()
            .chain(routes)
            .filter_map(|(topic, group)| Some((topic.as_str(), group.as_deref()?)))
            .collect()
    }

    /// Which partitions of a reply topic are read: all where answers to json requests are awaited, since that format has no word for
    /// one of them.
    pub fn reply_partition_of(&self, topic: &str) -> ReplyPartition {
        let is_json = |format: Format| format == Format::Json;
        let mut answered_there = self
            .routes
            .iter()
            .filter(|route| route.response_topic == topic)
            .peekable();
        // Clients that name topics may name any one.
        let json = if self.topic_headers || answered_there.peek().is_none() {
            let routes = self.routes.iter().any(|route| is_json(route.wire_format));
            routes || (self.routes.is_empty() && is_json(self.wire_format))
        } else {
            answered_there.any(|route| is_json(route.wire_format))
        };
        if json {
            ReplyPartition::All
        } else {
            self.reply_partition
        }
    }

    /// The longest that a client may wait.
    pub fn longest_timeout(&self) -> Duration {
        let routes = self.routes.iter().map(|route| route.timeout);
        routes.fold(self.default_timeout, Duration::max)
    }
}

/// How often one client may ask.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientRate {
    /// Requests per second.
    pub per_second: f64,
    /// Requests at once, after a pause.
    pub burst: u32,
    /// What tells one client from another.
    pub key: ClientKey,
}

/// What tells one client from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClientKey {
    /// The address that its connection comes from.
    #[default]
    Address,
    /// The value of this header, in lower case; without it, the address.
    Header(String),
    /// Nothing: all share one limit.
    Everybody,
}

/// The processor's settings.
#[derive(Debug, Clone)]
pub struct Processor {
    /// Never empty for a processor; a demo or proxy may have none.
    pub topics: Vec<Topic>,
    /// Backend calls under way in the whole process.
    pub max_concurrent_requests: usize,
    /// Zero = off.
    pub health_check_interval: Duration,
    /// Where records go that could not be processed; `None`: they are counted and logged.
    pub dead_letter_topic: Option<String>,
    /// How far the clocks of proxy and processor may disagree before a deadline counts as passed.
    pub clock_tolerance: Duration,
    /// How long a partition that moves to another processor waits for calls under way.
    pub revoke_timeout: Duration,
}

/// One request topic and the backend behind it.
#[derive(Debug, Clone)]
pub struct Topic {
    /// What operators call it: the name in `KAFKA_TOPICS`, else the request topic.
    pub name: String,
    /// Consumed by this topic's workers.
    pub request_topic: String,
    /// Where replies go when a request names no topic, or none that is allowed.
    pub response_topic: String,
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
    /// Which records wait for each other.
    pub ordering: Ordering,
    /// When a record's offset is committed.
    pub delivery: Delivery,
    /// Which failed attempts are repeated, and when.
    pub retry: Retry,
    /// When a failing backend is left alone.
    pub breaker: Breaker,
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

/// The management listener.
#[derive(Debug, Clone)]
pub struct Management {
    /// Where the management listener binds.
    pub bind: IpAddr,
    /// 0 = none: on a proxy `/health` and `/metrics` stay on `proxy.port`.
    pub port: u16,
    /// What a caller must present; without one, nothing can be changed.
    pub token: Option<Secret>,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that must not be printed.
    pub fn new(value: String) -> Self {
        Secret(value)
    }
    /// The value itself; only for comparing it or handing it to a library.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
