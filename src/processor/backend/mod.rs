//! One topic's backend.
//!
//! - [`client`]: calls it over HTTP; [`outgoing`]: the request that is sent; [`outcome`]: what comes of a call.
//! - [`standstill`]: timers of a process that stood still.
//! - [`open_body`]: the body of an answer that is passed on as it comes.
//! - [`tls`]: opens its connections.
//! - [`call_pool`]: how many calls may be under way.
//! - [`retry`]: whether and when a call is repeated.
//! - [`retry_budget`]: how many retries all records of a topic may make together.
//! - [`breaker`]: the circuit breaker.
//! - [`health`]: its health check.

pub mod breaker;
pub mod call_pool;
pub mod client;
pub mod health;
pub mod open_body;
pub mod outcome;
pub mod outgoing;
pub mod retry;
pub mod retry_budget;
pub mod standstill;
pub mod tls;
