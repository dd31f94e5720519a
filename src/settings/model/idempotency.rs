//! Requests that run once for each `Idempotency-Key`: what a proxy or a route asks for, and what a topic remembers.

use std::time::Duration;

use crate::wire::idempotency::Store;

/// Whether `Idempotency-Key` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdempotencyMode {
    /// It is a header field as any other.
    #[default]
    Off,
    /// A request that has it runs once.
    Honour,
    /// As `Honour`, and requests whose method is not safe must have it.
    Required,
}

impl IdempotencyMode {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            IdempotencyMode::Off => "off",
            IdempotencyMode::Honour => "honour",
            IdempotencyMode::Required => "required",
        }
    }
}

/// What a proxy, or a route, asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Idempotency {
    pub mode: IdempotencyMode,
    /// How long a key is remembered.
    pub ttl: Duration,
    /// Which answers are kept.
    pub store: Store,
}

/// What the processors of a topic remember.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Keys are remembered.
    pub idempotency: bool,
    /// So is every request, for a while, by its correlation id.
    pub deduplicate: bool,
    /// Where they are remembered.
    pub topic: String,
    /// Where the bodies of answers go that are larger than a record.
    pub answers_topic: String,
    /// The most bytes of such a body; 0: any number.
    pub max_answer: usize,
    /// How long they are remembered at most.
    pub retention: Duration,
    /// Keys that one worker remembers at most.
    pub max_keys: usize,
}

impl Memory {
    /// Something is remembered.
    pub fn is_on(&self) -> bool {
        self.idempotency || self.deduplicate
    }

    /// The most bytes of an answer's body that are remembered.
    pub fn most_of_answer(&self) -> u64 {
        match self.max_answer {
            0 => u64::MAX,
            most => most as u64,
        }
    }

    /// The topic of answers of a request topic that names none.
    pub fn default_answers_topic(request_topic: &str) -> String {
        format!("{request_topic}-answers")
    }

    /// The memory of a request topic that names none.
    pub fn default_topic(request_topic: &str) -> String {
        format!("{request_topic}-idempotency")
    }
}
