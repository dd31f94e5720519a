//! How the records of a topic are worked on: in which order, how often, and what a failing backend changes.

use std::time::Duration;

/// Which records of a topic are worked on one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ordering {
    /// None.
    #[default]
    Unordered,
    /// Those of one partition that have the same key; a null key is unordered.
    Key,
    /// All of one partition.
    Partition,
}

/// When a record's offset is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// Once its reply is acknowledged: a kill in between runs it again.
    #[default]
    AtLeastOnce,
    /// Before the backend is called: a kill in between loses it.
    AtMostOnce,
}

/// Which failed attempts are repeated, and when. A connection that could not be opened is always tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// For methods of `methods` and requests with `Idempotency-Key`.
    pub on: Vec<RetryOn>,
    /// What counts as idempotent.
    pub methods: Vec<String>,
    /// Ceiling of the first wait; it doubles with each.
    pub wait: Duration,
    /// Ceiling of every wait.
    pub max_wait: Duration,
    /// Retries per first attempt, over all records of the topic in this process.
    pub budget: f64,
}

/// A failure that may be repeated where that does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOn {
    /// No whole answer within `timeout`.
    Timeout,
    /// The connection broke, or what came is not HTTP.
    Reset,
    /// An answer with this status.
    Status(u16),
}

/// When no requests are sent to a failing backend. Shared by all topics of the process that have the same `backend_url`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Breaker {
    /// What happens to records while it is open.
    pub mode: BreakerMode,
    /// This many failed attempts in a row open it.
    pub failures: u32,
    /// Or this share of the attempts of ten seconds, where there were at least twice `failures`.
    pub failure_rate: f64,
    /// How long nothing is sent before a probe.
    pub open_for: Duration,
}

/// What happens to records while the breaker is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BreakerMode {
    /// A client that waits gets 503 at once. A record without a waiting client stays until the breaker closes.
    #[default]
    Reject,
    /// Intake stops, and what was taken in waits.
    Pause,
    /// There is no breaker.
    Off,
}
