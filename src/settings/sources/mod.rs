//! Where settings come from, laid over each other.
//!
//! - [`layer`]: one layer, as a tree.
//! - [`yaml`]: YAML values as they were written.
//! - [`env`]: the environment's names.
//! - [`substitution`]: `${file:…}` and `${env:…}` in a value.

pub mod env;
pub mod layer;
pub mod substitution;
pub mod yaml;
