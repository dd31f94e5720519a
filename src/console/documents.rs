//! What the API tells of a process and of its topics: written by its handlers, and read by whoever asks another process. What a process of
//! another version does not tell counts as nothing.

use serde::{Deserialize, Serialize};

pub use crate::console::bounds::Bound;
pub use crate::console::history::Point;
pub use crate::console::keeper::Now;
pub use crate::console::state::{Level, State};
use crate::management::status::TopicStatus;

/// `GET /api/process`: what a process is, and what can be done with it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Process {
    pub version: String,
    /// A proxy's.
    pub instance: Option<String>,
    pub proxy: bool,
    pub processor: bool,
    /// In ms since 1970.
    pub began: i64,
    #[serde(default)]
    pub can_change: bool,
    #[serde(default)]
    pub dead_letters: bool,
    #[serde(default)]
    pub peers: bool,
}

/// `GET /api/topics`; `None`: it does not play that role.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Topics {
    pub proxy: Option<Vec<Sent>>,
    pub processor: Option<Vec<Consumed>>,
}

/// A topic that a proxy sends to.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sent {
    pub topic: String,
    pub last: Option<Point>,
}

/// A topic that a processor consumes.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Consumed {
    #[serde(flatten)]
    pub status: TopicStatus,
    pub last: Option<Point>,
    pub oldest_in_flight_seconds: Option<f64>,
    pub partitions_of: Vec<PartitionStatus>,
    pub breaker_is_off: bool,
    pub breaker_opened_seconds_ago: Option<f64>,
    pub breaker_tries_in_seconds: Option<f64>,
    pub retry_budget: f64,
    pub rate_limit: Option<f64>,
    pub waiting_for_rate: i64,
    pub waiting_for_call: i64,
    pub timeout_seconds: f64,
}

/// A partition of such a topic.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionStatus {
    pub partition: i32,
    /// By the worker's index.
    pub worker: usize,
    pub lag: Option<i64>,
    pub in_flight: usize,
    pub oldest_seconds: Option<f64>,
    pub stands_still: bool,
}
