//! Carries HTTP requests through Apache Kafka and brings the answer back to the client that waits.
//!
//! Folders, from the top down; each imports only those below it:
//! - [`cli`]: the command line, `check` and `topics create`.
//! - [`app`]: one process from its settings to its exit code.
//! - [`console`]: a page that shows what the process does, and the API behind it.
//! - [`dlq`]: the commands that list, show and redrive dead letters.
//! - [`management`]: health, metrics and status over HTTP.
//! - [`proxy`]: HTTP in, a record on a request topic, and the reply back to the client that waits.
//! - [`processor`]: a record on a request topic, a backend call, and a record on a reply topic.
//! - [`supervision`]: `HealthSupervisor` replaces actors that end or stall.
//! - [`settings`]: files, environment and flags as one typed tree.
//! - [`kafka`]: everything that speaks to librdkafka.
//! - [`error`]: every answer that is not a backend's, with its status.
//! - [`traces`]: spans of requests, exported over OTLP.
//! - [`exchange`]: what an instance saw of each request, told to whoever watches.
//! - [`metrics`]: what the metrics of both roles share.
//! - [`process`]: exit codes, signals, listening sockets, the log.
//! - [`wire`]: what a record holds. Pure functions over bytes.

pub mod app;
pub mod cli;
pub mod console;
pub mod dlq;
pub mod error;
pub mod exchange;
pub mod kafka;
pub mod management;
pub mod metrics;
pub mod process;
pub mod processor;
pub mod proxy;
pub mod settings;
pub mod supervision;
pub mod traces;
pub mod wire;

#[cfg(test)]
mod doc_tests;

/// A real Kafka for unit tests, the one the integration tests use.
#[cfg(test)]
#[path = "../integration/harness/kafka.rs"]
mod test_kafka;
