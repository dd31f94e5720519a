//! One topic's backend.
//!
//! - [`client`]: calls it over HTTP.
//! - [`retry`]: whether and when a call is repeated.
//! - [`retry_budget`]: how many retries all records of a topic may make together.
//! - [`breaker`]: the circuit breaker.
//! - [`health`]: its health check.

pub mod breaker;
pub mod client;
pub mod health;
pub mod retry;
pub mod retry_budget;
