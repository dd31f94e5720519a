//! Keeps actors alive, whatever they do. Knows nothing of the roles above it.
//!
//! - [`supervised`]: what can be supervised: a factory of generations, and the pump that feeds one.
//! - [`health_supervisor`]: the actor that replaces the others.
//! - [`release`]: actors that come and go while the process runs.
//! - [`exit_reason`]: how an actor's life ended.
//! - [`spawn_watched`]: starts an actor so that its end is always reported.
//! - [`arbiter_pool`]: the threads that actors live on.
//! - [`stall`]: tells an actor that stands still from a process that stood still.
//! - [`backoff`]: how long a restart waits.

pub mod arbiter_pool;
pub mod backoff;
pub mod exit_reason;
pub mod health_supervisor;
pub mod release;
pub mod spawn_watched;
pub mod stall;
pub mod supervised;

#[cfg(test)]
mod tests;
