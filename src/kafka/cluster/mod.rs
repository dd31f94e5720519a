//! Questions to the cluster, apart from records.
//!
//! - [`admin`]: makes sure that a topic exists, and creates it where that is allowed.
//! - [`create`]: the request that creates a topic.
//! - [`topic_config`]: the settings of topics that matter to whoever writes to them.
//! - [`admin_call`]: how such requests are sent, and their answers awaited.
//! - [`describe`]: descriptions of topics, groups and brokers.
//! - [`survey`]: topics and groups with their replicas, members and rights, for `check --connect`.
//! - [`rights`]: which rights the user has.
//! - [`health`]: whether Kafka answers.
//! - [`questions`]: what may be asked about topics, whichever client asks.
//! - [`record_limits`]: how large a record each topic takes.

pub mod admin;
mod admin_call;
pub mod create;
pub mod describe;
pub mod health;
pub mod questions;
pub mod record_limits;
pub mod rights;
pub mod survey;
pub mod topic_config;
