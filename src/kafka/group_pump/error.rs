//! Why a pump ends before it was told to.

use std::sync::Arc;

use rdkafka::error::KafkaError;

/// Why a pump ended before it was told to. Its worker is restarted with a new one.
#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    #[error("the consumer of topic {topic} is dead")]
    Consumer {
        topic: Arc<str>,
        #[source]
        source: KafkaError,
    },
    #[error(
        "topic {topic} continues at offset {offset}, below the last one: it was recreated or truncated; its consumer starts anew"
    )]
    Rewound { topic: Arc<str>, offset: i64 },
    #[error("topic {topic} was recreated: its consumer starts anew, at the beginning")]
    Recreated { topic: Arc<str> },
    #[error("no thread to look for the offsets of topic {topic}")]
    NoThread {
        topic: Arc<str>,
        #[source]
        source: std::io::Error,
    },
    #[error("the worker no longer takes records")]
    WorkerGone,
}
