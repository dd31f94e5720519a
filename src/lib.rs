//! Carries HTTP requests through Apache Kafka and brings the answer back to the client that waits.
//!
//! Folders, from the top down; each imports only those below it:
//! - [`cli`]: the command line.
//! - [`app`]: one process from its settings to its exit code.
//! - [`dlq`]: the commands that show dead letters and send them again.
//! - [`management`]: what operators and orchestrators ask the process.
//! - [`proxy`]: HTTP in, a record on a request topic, and the reply back to the client that waits.
//! - [`processor`]: a record on a request topic, a backend call, and a record on a reply topic.
//! - [`supervision`]: `HealthSupervisor` replaces actors that end.
//! - [`settings`]: what the operator decides.
//! - [`kafka`]: everything that speaks to librdkafka.
//! - [`error`], [`metrics`], [`process`]: what every part of the process needs.
//! - [`wire`]: what a record holds; pure functions over bytes.

pub mod app;
pub mod cli;
pub mod dlq;
pub mod error;
pub mod kafka;
pub mod management;
pub mod metrics;
pub mod process;
pub mod processor;
pub mod proxy;
pub mod settings;
pub mod supervision;
pub mod wire;

#[cfg(test)]
mod doc_tests;

/// A real Kafka for unit tests, the one the integration tests use.
#[cfg(test)]
#[path = "../integration/harness/kafka.rs"]
mod test_kafka;
