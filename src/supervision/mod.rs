//! Keeps the actors alive: who watches them, how an end is told from a panic, and how long a restart waits.

pub mod backoff;
pub mod health_supervisor;
pub mod spawn_watched;

#[cfg(test)]
mod tests;
