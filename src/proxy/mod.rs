//! The proxy: HTTP in, one record on a request topic, and the reply back to the client that waits.
//!
//! - [`assemble`]: puts the role together.
//! - [`connection`]: what stands before the HTTP parser.
//! - [`auth`]: who asks, and what proves it.
//! - [`rules`]: what requests are treated by.
//! - [`handler`]: one request, from its head to its answer.
//! - [`admission`]: whether a request is taken at all.
//! - [`routing`]: where it goes.
//! - [`trust`]: whom it believes, and who a request comes from.
//! - [`reply_router`]: the actor that pairs replies with the requests that wait.
//! - [`idempotency`]: requests that run once.
//! - [`wanted`]: the topics that it has open.
//! - [`reload`]: other settings while it serves.
//! - [`open_topics`]: topics that a client of their own writes to.
//! - [`uploads`]: bodies that are larger than a record.
//! - [`stream`]: answers that come in pieces.
//! - [`results`]: answers that are fetched later.
//! - [`instance`]: who this proxy is among its siblings.
//! - [`metrics`]: what the proxy counts.

pub mod admission;
pub mod assemble;
pub mod auth;
pub mod connection;
pub mod handler;
pub mod idempotency;
pub mod instance;
pub mod metrics;
pub mod open_topics;
pub mod reload;
pub mod reply_router;
pub mod results;
pub mod routing;
pub mod rules;
pub mod stream;
pub mod trust;
pub mod uploads;
pub mod wanted;
