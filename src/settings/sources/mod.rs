//! Where settings come from, laid over each other.
//!
//! - [`layer`]: one layer, as a tree.
//! - [`files`]: the embedded reference and the operator's files.
//! - [`env`]: the environment's names.
//! - [`substitution`]: `${file:…}` and `${env:…}` in a value.

pub mod env;
pub mod files;
pub mod layer;
pub mod substitution;
