//! From the merged tree to the types of `model`.
//!
//! - [`defaults`]: defaults that come from the machine.
//! - [`reader`]: reads one key of a table.
//! - [`tree`]: reads the whole tree.

mod defaults;
pub mod reader;
pub mod tree;
