//! Why a role cannot be put together.

use rdkafka::error::KafkaError;

use crate::process::tls::TlsFault;

/// Why a role cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    #[error("kafka client: {0}")]
    Kafka(#[from] KafkaError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("sealing keys: {0}")]
    Sealing(#[from] openssl::error::ErrorStack),
    #[error("tls: {0}")]
    Tls(#[from] TlsFault),
    #[error("backends: {0}")]
    Backend(String),
    #[error("a configured topic is not known to the proxy")]
    Topic,
}
