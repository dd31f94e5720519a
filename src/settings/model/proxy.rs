//! The proxy's settings: where it listens, which topics its requests travel on, and how many may be in flight.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::kafka::config::ReplyPartition;
use crate::process::tls::ServerTls;
use crate::settings::model::auth::{Auth, AuthMethod, Claim};
use crate::settings::model::idempotency::Idempotency;
use crate::settings::model::later::{Async, Later, Results};
use crate::settings::model::routes::Route;
use crate::settings::model::streams::{Streaming, Streams};
use crate::wire::Format;

/// The proxy's settings.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Where the HTTP listener binds.
    pub bind: IpAddr,
    /// 0 = any free port.
    pub port: u16,
    /// TLS on `port`; `None`: plain HTTP.
    pub tls: Option<ServerTls>,
    /// Who may ask.
    pub auth: Auth,
    /// From a request's arrival to its 504.
    pub default_timeout: Duration,
    /// Reply topics consumed from the start.
    pub warmup_topics: Vec<String>,
    /// Used where no route and no header names a topic.
    pub request_topic: String,
    /// Where the replies to such requests are awaited.
    pub response_topic: String,
    /// How requests to `request_topic` are streamed, and to topics that clients name; these have control and body topics by default.
    pub streams: Streams,
    /// Which requests to `request_topic` run once.
    pub idempotency: Idempotency,
    /// Whether answers of `request_topic` are fetched later.
    pub later: Later,
    /// The group that consumes `request_topic`: while it has no members, requests are refused. `None`: the group is not checked.
    pub consumer_group: Option<String>,
    /// How requests are written unless their route says otherwise; replies are read in both formats.
    pub wire_format: Format,
    /// Which requests are taken, and where each goes; empty = every one, to `request_topic`. The first that matches wins.
    pub routes: Vec<Route>,
    /// Globs of header fields that never go into Kafka, unless a route names its own.
    pub withhold_headers: Vec<String>,
    /// What stands in front: what these addresses say about a client counts. Empty = nobody.
    pub trusted_proxies: Vec<IpNet>,
    /// Clients that are told where their requests' time went. Empty = nobody.
    pub server_timing: Vec<IpNet>,
    /// Honour `X-Kafka-Topic` and `X-Kafka-Reply-Topic`. Default: only without routes.
    pub topic_headers: bool,
    /// Globs of topics that may be named besides those of the configuration.
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
    /// Bytes of a request body; 0 = any number.
    pub max_body_size: usize,
    /// Bytes of request bodies and answers that are held, in all.
    pub max_pending_bytes: usize,
    /// Bytes per second of a request body, after a while; 0 = any.
    pub min_body_rate: u64,
    /// Open connections of clients.
    pub max_connections: usize,
    /// Of one address; `None`: as many as there may be at all.
    pub max_connections_per_client: Option<usize>,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// Bytes of one streamed answer that are held for its client.
    pub stream_window: usize,
    /// How results are found that are fetched later.
    pub results: Results,
}

impl Proxy {
    /// Bytes of a request body, at most.
    pub fn largest_body(&self) -> usize {
        match self.max_body_size {
            0 => usize::MAX,
            bytes => bytes,
        }
    }

    /// The topic where large bodies of requests to this topic go.
    pub fn bodies_topic_of(&self, request_topic: &str) -> String {
        let routes = self.routes.iter().map(|route| (&route.request_topic, &route.streams));
        let own = std::iter::once((&self.request_topic, &self.streams));
        let of = routes.chain(own).find(|(topic, _)| *topic == request_topic);
        of.map_or_else(
            || Streams::default_bodies_topic(request_topic),
            |(_, streams)| streams.bodies_topic.clone(),
        )
    }

    /// The topics that requests go to unless a client names another.
    pub fn request_topics(&self) -> BTreeSet<&str> {
        match self.routes.as_slice() {
            [] => [self.request_topic.as_str()].into(),
            routes => routes.iter().map(|route| route.request_topic.as_str()).collect(),
        }
    }

    /// Those of them that take requests of the native format.
    pub fn native_topics(&self) -> BTreeSet<&str> {
        let own = (self.routes.is_empty()).then_some((&self.request_topic, self.wire_format));
        let routes = self
            .routes
            .iter()
            .map(|route| (&route.request_topic, route.wire_format));
        let native = own
            .into_iter()
            .chain(routes)
            .filter(|(_, format)| *format == Format::Native);
        native.map(|(topic, _)| topic.as_str()).collect()
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

    /// Which partitions of a reply topic are read. All of them where replies to json requests are awaited: that format cannot name a
    /// partition.
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

    /// The control topic of a request topic.
    pub fn control_topic_of(&self, request_topic: &str) -> String {
        let routes = self.routes.iter().map(|route| (&route.request_topic, &route.streams));
        let mut all = routes.chain([(&self.request_topic, &self.streams)]);
        let found = all.find(|(topic, _)| *topic == request_topic);
        found.map_or_else(
            || Streams::default_control_topic(request_topic),
            |(_, streams)| streams.control_topic.clone(),
        )
    }

    /// The request topics whose answers may come in pieces. True: they must.
    pub fn streamed_topics(&self) -> BTreeMap<&str, bool> {
        let own = (self.routes.is_empty()).then_some((&self.request_topic, &self.streams, self.wire_format));
        let routes = self.routes.iter();
        let routes = routes.map(|route| (&route.request_topic, &route.streams, route.wire_format));
        let mut topics = BTreeMap::new();
        for (topic, streams, format) in own.into_iter().chain(routes) {
            if streams.streaming != Streaming::Off && format == Format::Native {
                *topics.entry(topic.as_str()).or_default() |= streams.streaming == Streaming::Required;
            }
        }
        topics
    }

    /// The routes whose answers may be fetched later.
    pub fn later_routes(&self) -> impl Iterator<Item = LaterRoute<'_>> {
        let own = self.routes.is_empty().then_some(LaterRoute {
            request_topic: &self.request_topic,
            response_topic: &self.response_topic,
            later: &self.later,
            proof: (&self.auth.methods, &[]),
            streaming: self.streams.streaming,
        });
        let routes = self.routes.iter().map(|route| LaterRoute {
            request_topic: &route.request_topic,
            response_topic: &route.response_topic,
            later: &route.later,
            proof: (&route.auth, &route.required_claims),
            streaming: route.streams.streaming,
        });
        let all = own.into_iter().chain(routes);
        all.filter(|route| route.later.mode != Async::Off)
    }

    /// The topics that results are fetched from, and how long those of each are kept.
    pub fn results_topics(&self) -> BTreeMap<&str, Duration> {
        let mut topics = BTreeMap::new();
        for LaterRoute { later, .. } in self.later_routes() {
            let kept: &mut Duration = topics.entry(later.results_topic.as_str()).or_default();
            *kept = later.retention.max(*kept);
        }
        topics
    }

    /// The longest that a client may wait.
    pub fn longest_timeout(&self) -> Duration {
        let routes = self.routes.iter().map(|route| route.timeout);
        routes.fold(self.default_timeout, Duration::max)
    }
}

/// A route whose answers may be fetched later: where its requests go, and who may fetch what comes of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaterRoute<'a> {
    pub request_topic: &'a str,
    pub response_topic: &'a str,
    pub later: &'a Later,
    /// What proves who asks, and the claims that its tokens need.
    pub proof: (&'a [AuthMethod], &'a [Claim]),
    pub streaming: Streaming,
}

/// How often one client may ask.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientRate {
    /// Requests per second.
    pub per_second: f64,
    /// Requests at once, after a pause.
    pub burst: u32,
    /// What one client is recognised by.
    pub key: ClientKey,
}

/// What one client is recognised by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClientKey {
    /// Its address.
    #[default]
    Address,
    /// The value of this header, in lower case; without it, the address.
    Header(String),
    /// All clients share one limit.
    Everybody,
}
