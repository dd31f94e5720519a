//! Checks of the settings as a whole.
//!
//! - [`bodies`]: large bodies of requests.
//! - [`doors`]: who is let in, and with what files.
//! - [`rules`]: rules across keys.
//! - [`sealing`]: keys that seal records.
//! - [`unknown`]: keys that are no settings.

mod bodies;
mod doors;
pub mod rules;
mod sealing;
pub mod unknown;
