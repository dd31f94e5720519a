//! From the merged tree to the types of `model`.
//!
//! - [`reader`]: reads one key of a table.
//! - [`tree`]: reads the whole tree.

pub mod reader;
pub mod tree;
