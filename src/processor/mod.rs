//! The processor: consumes request topics, calls each one's backend, and publishes the answer.

pub mod attempts;
pub mod backend;
pub mod backend_health;
pub mod breaker;
pub mod deadline;
pub mod delivery;
pub mod ensured;
pub mod lag;
pub mod lanes;
pub mod metrics;
pub mod retry;
pub mod retry_budget;
pub mod role;
pub mod topic_worker;
pub mod trouble;
pub mod work;
pub mod worker;
