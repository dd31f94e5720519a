//! What the operator decides: one typed tree, read at start, and again by a reload.
//!
//! Layers, later wins: `config/reference.yaml` (embedded: it documents every key and *is* the defaults) < configuration files <
//! environment < flags. All faults are reported at once.
//!
//! - [`mod@load`]: the way from the layers to the types; read this first.
//! - [`model`]: the types.
//! - [`keys`]: every setting's name.
//! - [`sources`]: files and environment, as layers.
//! - [`read`]: the merged tree into the types.
//! - [`parse`]: one value from its text.
//! - [`check`]: unknown keys, and rules across keys.
//! - [`fault`]: what is wrong.
//! - [`masked`]: how values are printed.
//! - [`difference`]: what differs between two configurations.
//! - [`effective`]: the settings as YAML, as they are printed, and where each came from.

mod check;
mod difference;
mod effective;
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

pub use check::rules::{HEAD_ROOM, message_max_bytes};
pub use difference::Values;
pub use effective::Entry;
pub use fault::{Fault, SettingsError};
pub use load::{Change, Loaded, Sources, load};
pub use model::{
    ApiKey, Async, Auth, AuthMethod, BackendTls, BackendUrl, Breaker, BreakerMode, Claim, ClientKey, ClientRate,
    Delivery, HostHeader, Idempotency, IdempotencyMode, JwksSource, Later, Management, Memory, Mode, Ordering,
    Processor, Proxy, RecordKey, Results, Retry, RetryOn, Route, Secret, Settings, Streaming, Streams, Topic,
};
pub use parse::value::rate;
pub use read::tree::plain_topic;
pub use sources::env::Env;
pub use sources::files::REFERENCE;
pub use sources::substitution::resolve;

pub use crate::kafka::config::{CreateTopics, Kafka, ReplyPartition, Start};
pub use crate::process::telemetry::{AccessLog, Log, LogFormat};
