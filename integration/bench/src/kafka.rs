//! A real Kafka, the one that the tests use.

#[path = "../../harness/kafka.rs"]
mod harness;

pub use self::harness::{Node, free_port};
