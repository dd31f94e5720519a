//! One record's way through the processor.
//!
//! - [`way`]: the way from top to bottom.
//! - [`deadline`]: how long somebody waits for the answer.
//! - [`attempts`]: the calls of the backend, from the first to the last.
//! - [`outbox`]: from the answer to Kafka's acknowledgement of it.
//! - [`topic_lookup`]: one lookup of a missing topic at a time.
//! - [`trouble`]: what operators are told once, and not with every record.

pub mod attempts;
pub mod deadline;
pub mod outbox;
pub mod topic_lookup;
pub mod trouble;
pub mod way;
