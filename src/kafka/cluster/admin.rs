//! Makes sure that a topic exists before it is used, and creates it where that is allowed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::Client;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext};

use crate::kafka::client::context::LogOnly;
use crate::kafka::codes::CodeClass;
use crate::kafka::config::CreateTopics;

/// One metadata or admin request may take this long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Within this, a new topic's partitions have leaders, and all brokers know them.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

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
    #[error("topic {topic}: Kafka would not create it: {code}")]
    NotCreated { topic: String, code: RDKafkaErrorCode },
    #[error("Kafka did not answer (asked about topic {topic}): check kafka.bootstrap_servers and kafka.properties")]
    Unreachable {
        topic: String,
        #[source]
        source: KafkaError,
    },
}

/// Finds and creates topics. Cheap to clone; clones share the recent refusals.
#[derive(Clone)]
pub struct TopicAdmin {
    /// Of the client that creates.
    config: ClientConfig,
    create: CreateTopics,
    /// Creations that failed within the last `REFUSED_FOR`, by topic.
    refused: Arc<ArcSwap<HashMap<String, (Instant, TopicError)>>>,
}

impl TopicAdmin {
    /// `config` reaches the cluster; any client's will do.
    pub fn new(config: ClientConfig, create: CreateTopics) -> Self {
        TopicAdmin {
            config,
            create,
            refused: Arc::default(),
        }
    }

    /// Returns the topic's partition count once `client`'s own metadata knows the topic, creating it first where `may_create` and
    /// `create_topics.enabled` say so. Blocks for seconds at worst: not for an Arbiter.
    ///
    /// # Errors
    /// `Missing`, `Denied` and `NotCreated` need an operator; `Unreachable` is worth another try.
    pub fn ensure<C: ClientContext>(
        &self,
        client: &Client<C>,
        topic: &str,
        may_create: bool,
    ) -> Result<i32, TopicError> {
        if let Some(topic) = describe(client, topic)? {
            return Ok(topic.partitions);
        }
        if !(may_create && self.create.enabled) {
            return Err(TopicError::Missing { topic: topic.into() });
        }
        self.create_unless_refused(topic)?;
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        loop {
            match describe(client, topic)? {
                Some(found) if found.settled => {
                    tracing::info!(topic, partitions = found.partitions, "topic created");
                    return Ok(found.partitions);
                }
                Some(found) if Instant::now() > deadline => return Ok(found.partitions),
                None if Instant::now() > deadline => return Err(TopicError::Missing { topic: topic.into() }),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// `create`, or its error of a moment ago.
    fn create_unless_refused(&self, topic: &str) -> Result<(), TopicError> {
        if let Some((at, error)) = self.refused.load().get(topic)
            && at.elapsed() < REFUSED_FOR
        {
            return Err(error.clone());
        }
        let created = self.create(topic);
        if let Err(error) = &created {
            self.refused.rcu(|refused| {
                let mut refused = HashMap::clone(refused);
                refused.retain(|_, (at, _)| at.elapsed() < REFUSED_FOR);
                refused.insert(topic.to_owned(), (Instant::now(), error.clone()));
                refused
            });
        }
        created
    }

    /// Creates a topic; it is no error if the topic exists. Makes a client of its own, with its threads and connections.
    fn create(&self, topic: &str) -> Result<(), TopicError> {
        let unreachable = |source| TopicError::Unreachable {
            topic: topic.into(),
            source,
        };
        let admin = AdminClient::from_config_and_context(&self.config, LogOnly).map_err(unreachable)?;
        let new = NewTopic::new(
            topic,
            self.create.partitions,
            TopicReplication::Fixed(self.create.replication_factor),
        );
        let options = AdminOptions::new()
            .request_timeout(Some(REQUEST_TIMEOUT))
            .operation_timeout(Some(REQUEST_TIMEOUT));
        let results = futures_executor::block_on(admin.create_topics([&new], &options)).map_err(unreachable)?;
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => {
                    return Err(TopicError::NotCreated {
                        topic: topic.into(),
                        code,
                    });
                }
            }
        }
        Ok(())
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
