//! The processor: consumes request topics, calls each one's backend, and publishes the answer.

pub mod backend;
pub mod backend_health;
pub mod delivery;
pub mod metrics;
pub mod retry;
pub mod role;
pub mod topic_worker;
pub mod trouble;
pub mod work;
