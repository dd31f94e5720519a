//! What is read of the management API's answers. What is not there counts as nothing: the process may be of another version.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// All that was asked at one time.
#[derive(Debug)]
pub struct Seen {
    pub process: Process,
    pub now: Now,
    pub topics: Topics,
}

/// `GET /api/process`.
#[derive(Debug, Deserialize)]
pub struct Process {
    pub version: String,
    pub instance: Option<String>,
    pub proxy: bool,
    pub processor: bool,
    /// In ms since 1970.
    pub began: i64,
}

/// `GET /api/now`.
#[derive(Debug, Deserialize)]
pub struct Now {
    pub state: State,
    /// The last second.
    pub point: Point,
    pub minute: Point,
    #[serde(default)]
    pub bounds: Vec<Bound>,
}

#[derive(Debug, Deserialize)]
pub struct State {
    pub level: Level,
    pub sentence: String,
    #[serde(default)]
    pub reasons: Vec<Reason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Bad,
    Warn,
    Ok,
}

#[derive(Debug, Deserialize)]
pub struct Reason {
    pub level: Level,
    pub text: String,
}

/// What happened in some seconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Point {
    pub rate: f64,
    pub error_rate: f64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub in_flight: u64,
    pub codes: BTreeMap<String, u64>,
    pub phases_ms: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
pub struct Bound {
    pub name: String,
    pub what: String,
    pub used: f64,
    pub of: f64,
}

/// `GET /api/topics`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Topics {
    pub proxy: Option<Vec<Sent>>,
    pub processor: Option<Vec<Consumed>>,
}

/// A topic that a proxy sends to.
#[derive(Debug, Deserialize)]
pub struct Sent {
    pub topic: String,
    pub last: Option<Point>,
}

/// A topic that a processor consumes.
#[derive(Debug, Deserialize)]
pub struct Consumed {
    pub name: String,
    pub state: String,
    #[serde(default)]
    pub partitions: u64,
    #[serde(default)]
    pub lag: i64,
    #[serde(default)]
    pub in_flight: u64,
    pub oldest_in_flight_seconds: Option<f64>,
    #[serde(default)]
    pub workers: Vec<IgnoredAny>,
    #[serde(default)]
    pub backend: String,
    #[serde(default)]
    pub breaker: String,
    pub last: Option<Point>,
}
