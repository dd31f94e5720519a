//! One value each, from its text.
//!
//! - [`value`]: durations, sizes, words.
//! - [`name`]: topics, URLs, headers.
//! - [`routing`]: routes' patterns, keys and prefixes.

pub mod name;
pub mod routing;
pub mod value;
