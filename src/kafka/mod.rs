//! Everything that speaks to librdkafka: the only place where its keys, clients and threads are known.

pub mod admin;
pub mod backlog;
pub mod client_config;
pub mod client_context;
pub mod describe;
pub mod gate;
pub mod group_pump;
pub mod health;
pub mod intake;
pub mod offsets;
pub mod outgoing;
pub mod producer;
pub mod record;
pub mod record_limit;
pub mod reply_stream;
pub mod topic_name;
