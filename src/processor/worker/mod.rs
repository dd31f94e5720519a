//! The actor of one request topic, and how its generations are made.
//!
//! - [`actor`]: takes records and works on each in a task of its own.
//! - [`factory`]: makes a generation: the actor, its pump, and what both share.
//! - [`exchange`]: puts other workers in the place of some, while the process runs.
//! - [`view`]: a worker as the management API sees it, through all its generations.
//! - [`lanes`]: records that wait for each other.
//! - [`ahead_limits`]: how far commits may run ahead of at-most-once records.

pub mod actor;
pub mod ahead_limits;
pub mod exchange;
pub mod factory;
pub mod lanes;
pub mod view;
