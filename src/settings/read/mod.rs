//! From the merged tree to the types of `model`.
//!
//! - [`auth`]: who may ask.
//! - [`reader`]: reads one key of a table.
//! - [`tree`]: reads the whole tree.

pub mod auth;
pub mod reader;
pub mod tree;
