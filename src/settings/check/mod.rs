//! Checks of the settings as a whole.
//!
//! - [`doors`]: who is let in, and with what files.
//! - [`rules`]: rules across keys.
//! - [`unknown`]: keys that are no settings.

mod doors;
pub mod rules;
pub mod unknown;
