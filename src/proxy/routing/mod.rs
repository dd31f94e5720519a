//! Where a request goes.
//!
//! - [`routes`]: the route of a path and a method.
//! - [`topics`]: the topics that are known, and those that clients may name.

pub mod routes;
pub mod topics;
