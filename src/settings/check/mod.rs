//! What can be wrong with settings.
//!
//! - [`rules`]: rules across keys.
//! - [`unknown`]: keys that nobody knows.

pub mod rules;
pub mod unknown;
