//! The processor: consumes request topics, calls each one's backend, and publishes the answer.
//!
//! - [`assemble`]: puts the role together.
//! - [`topics`]: the topics that a process works on, and how they change.
//! - [`worker`]: the actor of one topic, and how its generations are made.
//! - [`memory`]: requests that run once.
//! - [`record`]: one record's way, from its intake to the acknowledged reply.
//! - [`stream`]: answers in several records, and the calls that requesters can end.
//! - [`backend`]: the HTTP client, retries, the breaker and health checks.
//! - [`bodies`]: bodies that are larger than a record.
//! - [`lag`]: the consumer's lag, gathered when it is asked for.
//! - [`metrics`]: what the processor counts.

pub mod assemble;
pub mod backend;
pub mod bodies;
pub mod lag;
pub mod memory;
pub mod metrics;
pub mod record;
pub mod stream;
pub mod topics;
pub mod worker;
