//! Where settings come from, laid over each other.
//!
//! - [`layer`]: one layer, as a tree.
//! - [`files`]: the embedded reference and the operator's files.
//! - [`yaml`], [`json`], [`toml`]: one file as a tree of texts.
//! - [`mod@env`]: the environment's names.
//! - [`substitution`]: `${file:…}` and `${env:…}` in a value.

pub mod env;
pub mod files;
pub mod json;
pub mod layer;
pub mod substitution;
pub mod toml;
pub mod yaml;
