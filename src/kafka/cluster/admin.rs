//! Makes sure that a topic exists before it is used, and creates it where that is allowed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::kafka::cluster::create::{Creation, create};
use crate::kafka::codes::CodeClass;
use crate::kafka::config::{CreateTopics, Purpose};

/// One metadata request may take this long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Within this, a new topic's partitions have leaders, and all brokers know them.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a new topic is asked for meanwhile.
const SETTLE_TURN: Duration = Duration::from_millis(20);

/// How long a refused creation is not tried again. Without this, callers that wait for the topic would repeat it many times a second.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// Why a topic cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TopicError {
    #[error(
        "topic {topic} does not exist, and this service may not create it: create it, or allow it in create_topics"
    )]
    Missing { topic: String },
    #[error("topic {topic}: Kafka refuses access ({code}): grant this service's user the right")]
    Denied { topic: String, code: RDKafkaErrorCode },
    #[error("topic {topic}: Kafka would not create it: {code}: {reason}")]
    NotCreated {
        topic: String,
        code: RDKafkaErrorCode,
        /// The broker's own words.
        reason: String,
    },
    #[error("topic {topic} is being created and not usable yet")]
    NotUsableYet { topic: String },
    #[error("Kafka did not answer (asked about topic {topic}): check kafka.bootstrap_servers and kafka.properties")]
    Unreachable {
        topic: String,
        #[source]
        source: KafkaError,
    },
}

impl TopicError {
    /// It passes by itself: whoever needs the topic tries again.
    pub fn passes(&self) -> bool {
        matches!(self, TopicError::Unreachable { .. } | TopicError::NotUsableYet { .. })
    }
}

/// Finds and creates topics. Cheap to clone; clones share the recent refusals.
#[derive(Clone)]
pub struct TopicAdmin {
    create: CreateTopics,
    /// Creations that were refused within the last `REFUSED_FOR`, by topic.
    refused: Arc<ArcSwap<HashMap<String, (Instant, TopicError)>>>,
}

impl TopicAdmin {
    pub fn new(create: CreateTopics) -> Self {
        TopicAdmin {
            create,
            refused: Arc::default(),
        }
    }

    /// The same, for topics that must have so many partitions.
    pub fn with_partitions(&self, partitions: i32) -> Self {
        TopicAdmin {
            create: CreateTopics {
                partitions,
                ..self.create.clone()
            },
            refused: self.refused.clone(),
        }
    }

    /// Returns the topic's partition count once `client`'s own metadata knows the topic, creating it first where `may_create` and
    /// `create_topics.enabled` say so. Blocks for seconds at worst: not for an Arbiter.
    ///
    /// # Errors
    /// `Missing`, `Denied` and `NotCreated` need an operator; the others are worth another try (`TopicError::passes`).
    pub fn ensure<C: ClientContext>(
        &self,
        client: &Client<C>,
        topic: &str,
        purpose: Purpose,
        may_create: bool,
    ) -> Result<i32, TopicError> {
        if let Some(topic) = describe(client, topic)? {
            return Ok(topic.partitions);
        }
        if !(may_create && self.create.enabled) {
            return Err(TopicError::Missing { topic: topic.into() });
        }
        let created = self.create_unless_refused(client, topic, purpose)?;
        let found = await_leaders(topic, SETTLE_TIMEOUT, || describe(client, topic))?;
        if matches!(created, Creation::Created | Creation::UnderWay) {
            tracing::info!(topic, partitions = found.partitions, "topic created");
        }
        Ok(found.partitions)
    }

    /// Creates the topic, or returns the refusal of a moment ago.
    fn create_unless_refused<C: ClientContext>(
        &self,
        client: &Client<C>,
        topic: &str,
        purpose: Purpose,
    ) -> Result<Creation, TopicError> {
        if let Some((at, error)) = self.refused.load().get(topic)
            && at.elapsed() < REFUSED_FOR
        {
            return Err(error.clone());
        }
        let creation = create(client, topic, &self.create, purpose).map_err(|source| TopicError::Unreachable {
            topic: topic.into(),
            source,
        })?;
        let Creation::Refused { code, reason } = creation else {
            return Ok(creation);
        };
        let error = TopicError::NotCreated {
            topic: topic.into(),
            code,
            reason,
        };
        self.refused.rcu(|refused| {
            let mut refused = HashMap::clone(refused);
            refused.retain(|_, (at, _)| at.elapsed() < REFUSED_FOR);
            refused.insert(topic.to_owned(), (Instant::now(), error.clone()));
            refused
        });
        Err(error)
    }
}

/// Waits until every partition of a new topic has a leader. After `timeout` a topic that exists is good enough. Blocks.
fn await_leaders(
    topic: &str,
    timeout: Duration,
    mut describe: impl FnMut() -> Result<Option<Described>, TopicError>,
) -> Result<Described, TopicError> {
    let deadline = Instant::now() + timeout;
    loop {
        match describe()? {
            Some(found) if found.settled || Instant::now() > deadline => return Ok(found),
            None if Instant::now() > deadline => return Err(TopicError::NotUsableYet { topic: topic.into() }),
            _ => std::thread::sleep(SETTLE_TURN),
        }
    }
}

/// A topic as one metadata answer shows it.
pub struct Described {
    pub partitions: i32,
    /// Every partition has a leader.
    pub settled: bool,
}

/// Asks for one topic's metadata; `None`: it does not exist. Never creates it. Blocks.
///
/// # Errors
/// `Unreachable` or `Denied`.
pub fn describe<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<Option<Described>, TopicError> {
    let metadata = client
        .fetch_metadata(Some(topic), REQUEST_TIMEOUT)
        .map_err(|source| TopicError::Unreachable {
            topic: topic.into(),
            source,
        })?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(None);
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None | Some(RDKafkaErrorCode::LeaderNotAvailable) if !found.partitions().is_empty() => Ok(Some(Described {
            partitions: found.partitions().len() as i32,
            settled: found.partitions().iter().all(|partition| partition.leader() >= 0),
        })),
        None => Ok(None),
        Some(code) if CodeClass::from(code).may_settle() => Ok(None),
        Some(code) => Err(TopicError::Denied {
            topic: topic.into(),
            code,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    fn described(settled: bool) -> Option<Described> {
        Some(Described { partitions: 3, settled })
    }

    #[test]
    fn a_new_topic_is_waited_for_until_it_has_leaders() {
        let mut answers = vec![described(true), described(false), None];
        let found = await_leaders("t", Duration::from_secs(60), || Ok(answers.pop().unwrap()));
        assert!(found.unwrap().settled);
        let found = await_leaders("t", SHORT, || Ok(described(false))).unwrap();
        assert!(!found.settled, "it exists");
    }

    #[test]
    fn a_topic_that_takes_long_to_create_is_worth_another_try_and_no_missing_right() {
        let error = await_leaders("t", SHORT, || Ok(None))
            .map(|found| found.partitions)
            .unwrap_err();
        assert!(error.passes());
        assert_eq!(error.to_string(), "topic t is being created and not usable yet");
        let missing = TopicError::Missing { topic: "t".into() };
        assert!(!missing.passes());
    }
}
