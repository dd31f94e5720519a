//! What the program reads of the settings.
//!
//! - [`sealing`]: the keys that seal records.
//! - [`mode`]: which roles a process plays.
//! - [`proxy`]: the proxy's own.
//! - [`auth`]: who may ask.
//! - [`idempotency`]: which requests run once.
//! - [`later`]: answers that are fetched later.
//! - [`routes`]: which requests go to which topic.
//! - [`processor`]: the processor's own, and its topics.
//! - [`delivery`]: how the records of a topic are worked on.
//! - [`management`]: the management listener.

pub mod auth;
pub mod delivery;
pub mod idempotency;
pub mod later;
pub mod management;
pub mod mode;
pub mod processor;
pub mod proxy;
pub mod routes;
pub mod sealing;
pub mod streams;

use std::time::Duration;

pub use auth::{ApiKey, Auth, AuthMethod, Claim, JwksSource};
pub use delivery::{Breaker, BreakerMode, Delivery, Ordering, Retry, RetryOn};
pub use idempotency::{Idempotency, IdempotencyMode, Memory};
pub use later::{Async, Later, Results};
pub use management::{Management, Secret};
pub use mode::Mode;
pub use processor::{BackendUrl, HostHeader, Processor, Topic};
pub use proxy::{ClientKey, ClientRate, Proxy};
pub use routes::{RecordKey, Route};
pub use sealing::{Sealing, SealingKey};
pub use streams::{Streaming, Streams};

use crate::kafka::config::{CreateTopics, Kafka};
pub use crate::process::https::Tls as BackendTls;
use crate::process::telemetry::Log;

/// Every setting of both roles, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The roles these settings are for.
    pub mode: Mode,
    /// How Kafka is reached, by both roles.
    pub kafka: Kafka,
    /// Which keys seal records; without any, nothing is sealed.
    pub sealing: Sealing,
    /// Bytes of a record that is read; a larger one is not taken.
    pub max_record_size: usize,
    /// Streamed answers in one process; beyond it answers are whole.
    pub max_streams: usize,
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
    /// Files that change are read again without being asked to.
    pub watch_files: bool,
    /// What is logged, and how.
    pub log: Log,
}
