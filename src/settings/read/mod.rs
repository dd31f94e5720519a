//! From the merged tree to the types of `model`.
//!
//! - [`auth`]: who may ask.
//! - [`defaults`]: defaults that come from the machine, or from another setting.
//! - [`idempotency`]: which requests run once.
//! - [`later`]: answers that are fetched later.
//! - [`reader`]: reads one key of a table.
//! - [`streams`]: how answers are streamed.
//! - [`tree`]: reads the whole tree.

pub mod auth;
mod defaults;
pub mod idempotency;
pub mod later;
pub mod reader;
pub mod streams;
pub mod tree;
