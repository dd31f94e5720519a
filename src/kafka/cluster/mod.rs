//! Questions to the cluster, apart from records.
//!
//! - [`admin`]: makes sure that a topic exists, and creates it where that is allowed.
//! - [`describe`]: descriptions of topics, groups and brokers.
//! - [`health`]: whether Kafka answers.
//! - [`record_limits`]: how large a record each topic takes.

pub mod admin;
pub mod describe;
pub mod health;
pub mod record_limits;
