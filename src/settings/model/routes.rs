//! A route: which requests it takes, and where they go.

use std::time::Duration;

use crate::settings::model::auth::{AuthMethod, Claim};
use crate::settings::model::idempotency::Idempotency;
use crate::settings::model::later::Later;
use crate::settings::model::streams::Streams;
use crate::wire::Format;

/// Some paths and methods, and where requests to them go.
#[derive(Debug, Clone)]
pub struct Route {
    /// A pattern that actix-router takes; compared with the path as it was received.
    pub path: String,
    /// Case counts; empty = any.
    pub methods: Vec<String>,
    /// Where its requests go.
    pub request_topic: String,
    /// Where their replies are awaited.
    pub response_topic: String,
    /// How its answers are streamed.
    pub streams: Streams,
    /// Which of its requests run once.
    pub idempotency: Idempotency,
    /// Whether its answers are fetched later.
    pub later: Later,
    /// The group that consumes `request_topic`, as the proxy's own.
    pub consumer_group: Option<String>,
    /// From a request's arrival to its 504.
    pub timeout: Duration,
    /// How its requests are written.
    pub wire_format: Format,
    /// Where its records' key comes from; `None`: they have none.
    pub key: Option<RecordKey>,
    /// Removed from the path before it goes on the wire: `/api`, without a trailing slash. Every path of the route begins with it.
    pub strip_prefix: Option<String>,
    /// What proves who asks. Never empty.
    pub auth: Vec<AuthMethod>,
    /// What the tokens of this route must claim besides.
    pub required_claims: Vec<Claim>,
    /// Globs of header fields, in lower case, that never go into Kafka.
    pub withhold_headers: Vec<String>,
}

/// What a record's key is taken from; what is absent or empty there gives none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordKey {
    /// The first header of this name, in lower case.
    Header(String),
    /// The first query parameter of this name, percent-decoded.
    Query(String),
    /// The segment of this name in the route's path, percent-decoded.
    Segment(String),
}
