//! One value each, from its text.
//!
//! - [`number`]: numbers in every spelling.
//! - [`value`]: durations, sizes, words.
//! - [`name`]: topics, URLs, headers.
//! - [`auth`]: who may ask: keys, claims and methods.
//! - [`network`]: networks of addresses.
//! - [`routing`]: routes' patterns, keys and prefixes.

pub mod auth;
pub mod name;
pub mod network;
pub mod number;
pub mod routing;
pub mod value;
