//! Why a command did not do all of its work, and the exit code for it.

use rdkafka::error::KafkaError;

use crate::kafka::cluster::admin::TopicError;
use crate::process::exit;

/// Why a command did not do all of its work.
#[derive(Debug, thiserror::Error)]
pub enum DlqError {
    #[error("the configuration names no dead_letter_topic: set it, or DEAD_LETTER_TOPIC")]
    NotConfigured,
    #[error("{0}")]
    Usage(String),
    #[error("{error}{}", .reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default())]
    Topic {
        #[source]
        error: Box<TopicError>,
        /// Why Kafka is not reached, in librdkafka's words or the broker's.
        reason: Option<String>,
    },
    #[error("Kafka does not answer any more ({0}); run the command again")]
    Silent(String),
    #[error("{what}: {source}")]
    Kafka {
        what: String,
        #[source]
        source: KafkaError,
    },
    #[error("standard output cannot be written: {0}")]
    Output(#[from] std::io::Error),
    #[error("it came upon a fault of this program; the log says which")]
    Panicked,
    #[error("stopped by a signal; run the same command again to go on")]
    Interrupted,
}

impl From<TopicError> for DlqError {
    fn from(error: TopicError) -> Self {
        DlqError::Topic {
            error: error.into(),
            reason: None,
        }
    }
}

impl DlqError {
    /// Names what was done when Kafka refused.
    pub fn kafka(what: impl Into<String>) -> impl FnOnce(KafkaError) -> Self {
        let what = what.into();
        |source| DlqError::Kafka { what, source }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            DlqError::NotConfigured | DlqError::Usage(_) => exit::USAGE,
            DlqError::Silent(_) => exit::UNAVAILABLE,
            DlqError::Topic { error, .. } if matches!(**error, TopicError::Unreachable { .. }) => exit::UNAVAILABLE,
            DlqError::Topic { .. } | DlqError::Kafka { .. } | DlqError::Panicked => exit::SOFTWARE,
            DlqError::Output(_) => exit::IO_ERROR,
            DlqError::Interrupted => exit::CUT_OFF,
        }
    }
}
