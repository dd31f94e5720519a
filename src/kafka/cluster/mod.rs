//! What the cluster is asked, beside records.
//!
//! - [`admin`]: makes sure that a topic exists.
//! - [`describe`]: what topics and groups are; the admin calls that rdkafka does not wrap.
//! - [`health`]: whether Kafka answers.
//! - [`record_limits`]: how large a record each topic takes.

pub mod admin;
pub mod describe;
pub mod health;
pub mod record_limits;
