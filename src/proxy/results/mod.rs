//! Answers that are fetched later: a request is accepted with 202 once Kafka has it, and its result is found by any proxy.
//!
//! - [`prefer`]: what a client would rather have.
//! - [`location`]: the id in a result's Location.
//! - [`index`]: where each result is.

pub mod index;
pub mod location;
pub mod prefer;
