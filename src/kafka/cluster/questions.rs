//! Questions about topics, as a user of any client asks them.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::error::KafkaResult;

use crate::kafka::cluster::admin::{TopicAdmin, TopicError};
use crate::kafka::cluster::describe::Answer;
use crate::kafka::config::Purpose;

/// A client that asks the cluster. It should not be one that fetches: a broker answers what comes on a connection one by one, and a fetch that
/// finds no record is answered only after `fetch.wait.max.ms`. All of these block.
pub trait Questions: Send + Sync {
    /// See `TopicAdmin::ensure`.
    ///
    /// # Errors
    /// See there.
    fn ensure(&self, admin: &TopicAdmin, topic: &str, purpose: Purpose, may_create: bool) -> Result<i32, TopicError>;

    /// See `describe::topics`.
    ///
    /// # Errors
    /// See there.
    fn describe<'a>(&self, topics: &[&'a str]) -> KafkaResult<HashMap<&'a str, Answer>>;

    /// A partition's first offset, and the one past its last.
    ///
    /// # Errors
    /// Kafka did not answer within `timeout`, or the partition has no leader.
    fn watermarks(&self, topic: &str, partition: i32, timeout: Duration) -> KafkaResult<(i64, i64)>;
}
