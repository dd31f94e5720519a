//! What all Kafka clients of this program share.
//!
//! - [`context`]: how the log lines and errors of librdkafka reach our log.
//! - [`properties`]: the configuration of each client; the only place that names librdkafka's keys.
//! - [`trouble`]: why a broker cannot be used, logged once for each broker and cause.

pub mod context;
pub mod properties;
pub mod trouble;
