//! Carries HTTP requests through Apache Kafka and brings the answer back to the client that waits.
//!
//! Layout, in the direction in which a request travels:
//! - [`proxy`]: HTTP in → `ReplyRouter` actor → a record on a request topic; a record on a reply topic → the waiting client.
//! - [`processor`]: a record on a request topic → `TopicWorker` actor → backend call → a record on a reply topic.
//! - [`wire`]: what a record holds; pure functions over bytes.
//! - [`kafka`]: all that speaks to librdkafka.
//! - [`supervision`]: `HealthSupervisor` replaces actors that end.
//! - [`dlq`]: dead letters, looked at and sent round again.
//! - [`settings`], [`error`], [`management`], [`metrics`], [`listener`], [`shutdown`], [`telemetry`], [`app`], [`cli`], [`demo`]: the process around them.

pub mod app;
pub mod cli;
pub mod demo;
pub mod dlq;
pub mod error;
pub mod kafka;
pub mod listener;
pub mod management;
pub mod metrics;
pub mod processor;
pub mod proxy;
pub mod settings;
pub mod shutdown;
pub mod supervision;
pub mod telemetry;
pub mod wire;

/// A real Kafka for unit tests, the one the integration tests use.
#[cfg(test)]
#[path = "../integration/harness/kafka.rs"]
mod test_kafka;
