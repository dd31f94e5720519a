//! The actor of one request topic.
//!
//! - [`actor`]: takes records and works on each in a task of its own.
//! - [`ahead_limits`]: how far commits may run ahead of at-most-once records.
//! - [`lanes`]: records that wait for each other.
//! - [`shared`]: what all records of one worker share.

pub mod actor;
pub mod ahead_limits;
pub mod lanes;
pub mod shared;
