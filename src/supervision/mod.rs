//! Keeps actors alive, whatever they do. Knows nothing of the roles above it.
//!
//! - [`supervised`]: what can be supervised: a factory of generations, and the pump that feeds one.
//! - [`health_supervisor`]: the actor that replaces the others.
//! - [`spawn_watched`]: starts an actor so that its end is always reported.
//! - [`backoff`]: how long a restart waits.

pub mod backoff;
pub mod health_supervisor;
pub mod spawn_watched;
pub mod supervised;

#[cfg(test)]
mod tests;
