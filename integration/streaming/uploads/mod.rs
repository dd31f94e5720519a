mod bounds;
mod client;
mod dead_letters;
mod interrupted;
mod lost;
mod refused;
mod rights;
mod sink;
mod whole;

use crate::harness::names::Topics;

pub const MIB: u64 = 1 << 20;

/// The topic where large bodies of requests go.
pub fn bodies_topic(topics: &Topics) -> String {
    format!("{}-bodies", topics.request)
}
