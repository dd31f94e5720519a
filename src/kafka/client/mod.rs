//! What every Kafka client of ours shares.
//!
//! - [`context`]: how librdkafka's own words reach our log.
//! - [`properties`]: the one place of librdkafka's keys.

pub mod context;
pub mod properties;
