//! The service as its users meet it: the real binary as child processes, a real Kafka, real HTTP. A folder for each kind of promise, a
//! file for each promise.

/// The console, in a real browser.
mod console;
/// What becomes of a request between its record and its answer.
mod delivery;
/// What the documents show works.
mod docs;
/// What the tests stand on: Kafka, a backend, the binary and its clients.
mod harness;
/// What a client and a backend see of HTTP.
mod http;
/// Requests that run once for each key.
mod idempotency;
/// What happens to the service when Kafka changes.
mod kafka;
/// Answers that are fetched later.
mod later;
/// What operators configure, see and do.
mod operating;
/// What worked with kafka-http-proxy 1.0.1.
mod predecessor;
/// Which topic carries a request, and on which partition its reply comes back.
mod routing;
/// Answers that come in pieces, and bodies of any size.
mod streaming;
/// Who is trusted with what.
mod trust;
