//! What all Kafka clients of this program share.
//!
//! - [`context`]: how the log lines and errors of librdkafka reach our log.
//! - [`properties`]: the configuration of each client; the only place that names librdkafka's keys.

pub mod context;
pub mod properties;
