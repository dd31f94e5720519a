//! The wire formats, taken from the root package by their path.

#[path = "../../src/wire/mod.rs"]
pub mod wire;
