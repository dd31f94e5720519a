//! The types that Kafka clients are configured with. Settings fill them in.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::process::masked::{MASK, without_user_info};

/// How Kafka is reached.
#[derive(Clone)]
pub struct Kafka {
    /// Comma-separated `host:port` list.
    pub bootstrap_servers: String,
    /// librdkafka properties, applied last; those the service owns are refused. May hold secrets: never log values.
    pub properties: BTreeMap<String, String>,
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: BTreeMap<&String, String> = self
            .properties
            .iter()
            .map(|(name, value)| (name, shown(name, value)))
            .collect();
        f.debug_struct("Kafka")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("properties", &properties)
            .finish()
    }
}

/// Parts of the names of librdkafka properties that hold secrets, or are likely to. Too many are masked rather than too few.
const SECRET_PROPERTIES: [&str; 8] = [
    "password",
    "secret",
    "key",
    "token",
    "jaas",
    "sasl.username",
    "credential",
    "oauthbearer.config",
];

/// The value of a librdkafka property, as it may be printed.
pub fn shown(name: &str, value: &str) -> String {
    let name = name.to_ascii_lowercase();
    if SECRET_PROPERTIES.iter().any(|part| name.contains(part)) {
        MASK.to_owned()
    } else {
        without_user_info(value)
    }
}

/// Which partitions of a reply topic a proxy reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyPartition {
    /// One, chosen by the instance id's ordinal, else at random.
    #[default]
    Auto,
    /// Every one; requests name none.
    All,
    /// This one (modulo the topic's partition count).
    Number(i32),
}

/// Where a new consumer group starts in a request topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At its first record.
    #[default]
    Earliest,
    /// Behind its last record.
    Latest,
}

/// What the service may create in Kafka.
#[derive(Debug, Clone)]
pub struct CreateTopics {
    /// Create what is missing?
    pub enabled: bool,
    /// -1 = the broker's default.
    pub partitions: i32,
    /// -1 = the broker's default.
    pub replication_factor: i32,
    /// How long their records are kept. `None`: a day on topics of replies and bodies, and as the broker has it on others. Control topics
    /// are kept an hour in any case.
    pub retention: Option<Duration>,
    /// Globs that limit creation by a client's name; configured topics are always created.
    pub allow: Vec<String>,
}

/// What a topic is created for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Requests,
    Replies,
    /// What steers streamed answers. Nobody reads it later.
    Control,
    /// Bodies beside their requests.
    Bodies,
    /// Keys of requests that run once, and their answers. Of each key only the last counts.
    Memory {
        /// How long a key counts.
        kept: Duration,
    },
    /// The bodies of answers that are remembered, where they are larger than a record.
    Answers {
        /// How long a key counts, and how long its answer may stream.
        kept: Duration,
    },
    /// Answers that are fetched later.
    Results {
        kept: Duration,
    },
    /// Kept as the broker has it: somebody has to look at them first.
    DeadLetters,
}

/// Nobody reads a reply after its client's deadline. A day is for those who look into what went wrong.
const REPLIES_KEPT: Duration = Duration::from_secs(24 * 3600);
/// A body is older than what is remembered of it: at least so much where nothing bounds how long it may stream.
const BODY_KEPT_BESIDES: Duration = Duration::from_secs(3600);
/// What steers an answer counts for seconds.
const CONTROL_KEPT: Duration = Duration::from_secs(3600);

impl CreateTopics {
    /// How long the records of a new topic are kept; `None`: as the broker has it.
    pub fn retention_of(&self, purpose: Purpose) -> Option<Duration> {
        match purpose {
            Purpose::Requests => self.retention,
            Purpose::Control => Some(CONTROL_KEPT),
            Purpose::Replies | Purpose::Bodies => Some(self.retention.unwrap_or(REPLIES_KEPT)),
            Purpose::Memory { kept } => Some(kept),
            Purpose::Answers { kept } => Some(kept.saturating_add(BODY_KEPT_BESIDES)),
            Purpose::Results { kept } => Some(kept),
            Purpose::DeadLetters => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_properties_are_masked() {
        for name in [
            "sasl.password",
            "sasl.username",
            "ssl.key.pem",
            "SSL.Key.Password",
            "sasl.jaas.config",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "some.token",
        ] {
            assert_eq!(shown(name, "s3cret"), "***", "{name}");
        }
        assert_eq!(shown("security.protocol", "SSL"), "SSL");
    }
}
