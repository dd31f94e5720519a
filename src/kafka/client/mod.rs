//! What all Kafka clients of this program share.
//!
//! - [`complaints`]: what a command tells of a Kafka that it cannot reach.
//! - [`context`]: how the log lines and errors of librdkafka reach our log.
//! - [`oauth`]: the token that all clients show to brokers with OAUTHBEARER.
//! - [`oidc`]: the endpoint that gives it.
//! - [`properties`]: the configuration of each client; the only place that names librdkafka's keys.
//! - [`statistics`]: what librdkafka says of itself, as metrics.
//! - [`trouble`]: why a broker cannot be used, logged once for each broker and cause.

pub mod complaints;
pub mod context;
pub mod oauth;
mod oidc;
pub mod properties;
pub mod statistics;
pub mod trouble;
