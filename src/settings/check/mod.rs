//! Checks of the settings as a whole.
//!
//! - [`rules`]: rules across keys.
//! - [`unknown`]: keys that are no settings.

pub mod rules;
pub mod unknown;
