//! What the tests stand on: a real Kafka, a scripted backend, the real binary, and clients that see every byte.

/// The rights that a broker grants or denies.
pub mod acls;
/// A command at a terminal.
pub mod at_terminal;
/// A backend that answers as the test's closure decides.
pub mod backend;
/// The binary that is tested: where it is, its environment, signals and limits.
pub mod binary;
/// Chromium, driven over WebDriver.
pub mod browser;
/// Certificates that a test issues.
pub mod certificates;
/// An HTTP client that sends exactly what it is told and keeps an answer as it arrived.
pub mod client;
/// Commands of the binary that end by themselves.
pub mod command;
/// curl, as a user calls it.
pub mod curl;
/// Digests as texts, as settings and tools write them.
pub mod digest;
/// A service that gives requests up, and the `dlq` commands on its dead letters.
pub mod dlq;
/// Bytes that a test sends to a proxy as they are.
pub mod exchange;
/// A server of git repositories.
pub mod git_server;
/// The json format: a proxy that writes it, and its envelope.
pub mod json;
/// An issuer of tokens.
pub mod jwt;
/// A real Kafka.
pub mod kafka;
/// A service that is killed again and again.
pub mod killable;
/// Clients that send one request after the other.
pub mod load;
/// What tests of malformed records share.
pub mod malformed;
/// The management API of a service.
pub mod management;
/// How much the memory of a process grows.
pub mod memory;
/// An HTTP message as it arrived.
pub mod message;
/// The page of /metrics, parsed.
pub mod metrics;
/// Names that no other test uses.
pub mod names;
/// nginx in front of the service.
pub mod nginx;
/// Batches that are small on the wire and large in memory.
pub mod packed;
/// A proxy, a processor and their backend.
pub mod pair;
/// Python with the packages of `integration/python-packages.txt`.
pub mod python;
/// Records that a test writes and reads itself.
pub mod records;
/// A Kafka that wants a login and denies what no rule allows.
pub mod secured_kafka;
/// A running process of the service, which must be idle when its test ends.
pub mod service;
/// What systemd is to a service.
pub mod service_manager;
/// How a process of the service is configured and started.
pub mod spec;
/// A backend whose answers the test writes byte by byte.
pub mod stream_backend;
/// Directories that end with their test.
pub mod temp_dir;
/// Tests of the harness itself.
mod tests;
/// Certificates that a test issues, and clients that speak TLS.
pub mod tls;
/// A backend that speaks TLS.
pub mod tls_backend;
/// An OpenID Connect provider.
pub mod token_provider;
/// Topics and offsets as the broker has them.
pub mod topics;
/// Waiting for a state instead of for a time.
pub mod wait;
