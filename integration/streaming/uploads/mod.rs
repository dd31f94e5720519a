mod bounds;
pub(super) mod client;
mod dead_letters;
mod interrupted;
mod lost;
mod refused;
mod rights;
mod sink;
mod whole;

use crate::harness::names::Topics;

pub const MIB: u64 = 1 << 20;
/// How much the memory of each role may grow with a body, whatever its size.
pub const GROWTH: usize = 24 << 20;

/// The topic where large bodies of requests go.
pub fn bodies_topic(topics: &Topics) -> String {
    format!("{}-bodies", topics.request)
}
