//! Checks of the settings as a whole.
//!
//! - [`bodies`]: large bodies of requests.
//! - [`doors`]: who is let in, and with what files.
//! - [`idempotency`]: requests that run once.
//! - [`later`]: answers that are fetched later.
//! - [`rules`]: rules across keys.
//! - [`sealing`]: keys that seal records.
//! - [`unknown`]: keys that are no settings.

mod bodies;
mod doors;
mod idempotency;
mod later;
pub mod rules;
mod sealing;
pub mod unknown;
