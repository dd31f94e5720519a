//! Traces of requests, exported over OTLP. Off unless the environment says where to.
//!
//! No span lives while its request does: all of a request's spans are made from its record once it has ended, on a thread of their own.
//! A receiver that hangs costs spans, and no request.
//!
//! - [`environment`]: what the `OTEL_*` variables say.
//! - [`spans`]: the spans of one request; [`draft`]: one of them.
//! - [`exporter`]: the queue between requests and the thread that exports.
//! - [`transport`]: carries what is exported.

mod draft;
pub mod environment;
pub mod exporter;
mod metrics;
mod spans;
mod transport;

pub use environment::Environment;
pub use exporter::{Exporter, Traces};
pub use spans::{Backend, SharedTopics, Topics};
