//! Checks of the settings as a whole.
//!
//! - [`bodies`]: large bodies of requests.
//! - [`doors`]: who is let in, and with what files.
//! - [`later`]: answers that are fetched later.
//! - [`rules`]: rules across keys.
//! - [`sealing`]: keys that seal records.
//! - [`unknown`]: keys that are no settings.

mod bodies;
mod doors;
mod later;
pub mod rules;
mod sealing;
pub mod unknown;
