//! Bodies of requests that are larger than a record. They go to a topic of their own, piece by piece as they come, and their requests
//! follow once all of it is acknowledged: so a half-sent body is never a request.
//!
//! - [`topics`]: the topics that bodies go to, opened when the first body comes.
//! - [`pieces`]: what became of the pieces.
//! - [`upload`]: one body on its way.
//! - [`metrics`]: what is counted of them.

pub mod metrics;
pub mod pieces;
pub mod topics;
pub mod upload;

use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::error::RequestError;
use crate::kafka::cluster::admin::TopicAdmin;
use crate::kafka::config::Kafka;
use crate::proxy::admission::bytes::ByteBudget;
use crate::proxy::routing::topics::KnownTopic;
use crate::proxy::uploads::metrics::UploadMetrics;
use crate::proxy::uploads::topics::BodiesTopics;
use crate::proxy::uploads::upload::Upload;
use crate::settings::Settings;
use crate::wire::{CorrelationId, Sealing, SharedSealing};

/// The way of all large bodies. Its client is started by the first of them: a proxy without large bodies has no such client.
pub struct Uploads {
    kafka: Kafka,
    admin: TopicAdmin,
    sealing: SharedSealing,
    bytes: ByteBudget,
    metrics: UploadMetrics,
    topics: OnceCell<Arc<BodiesTopics>>,
}

impl Uploads {
    pub fn new(settings: &Settings, sealing: SharedSealing, bytes: ByteBudget, metrics: UploadMetrics) -> Self {
        Uploads {
            kafka: settings.kafka.clone(),
            admin: TopicAdmin::new(settings.create_topics.clone()),
            sealing,
            bytes,
            metrics,
            topics: OnceCell::new(),
        }
    }

    /// What seals the pieces, and the requests that follow them.
    pub fn sealing(&self) -> Arc<Sealing> {
        self.sealing.load_full()
    }

    /// Begins to write the body of a request to `request_topic`.
    ///
    /// # Errors
    /// `BodyTooLarge`: the topic of bodies cannot be used, so no body is larger than a record. `KafkaUnavailable`: Kafka does not answer.
    /// `Overloaded`: no more bytes may be held.
    pub async fn begin(&self, request_topic: &KnownTopic, id: CorrelationId) -> Result<Upload, RequestError> {
        let started = self.topics.get_or_try_init(|| self.start()).await?;
        let topic = started.open(&request_topic.bodies, request_topic.may_create).await?;
        let held = self.bytes.begin(topic.piece).ok_or(RequestError::Overloaded)?;
        let metrics = self.metrics.begin(request_topic.metrics.label());
        Ok(Upload::new(
            started.clone(),
            topic,
            self.sealing.clone(),
            id,
            held,
            metrics,
        ))
    }

    async fn start(&self) -> Result<Arc<BodiesTopics>, RequestError> {
        let (kafka, admin, gauge) = (
            self.kafka.clone(),
            self.admin.clone(),
            self.metrics.unacknowledged.clone(),
        );
        let started = tokio::task::spawn_blocking(move || BodiesTopics::start(&kafka, admin, gauge)).await;
        match started {
            Ok(Ok(topics)) => Ok(Arc::new(topics)),
            Ok(Err(error)) => {
                tracing::error!(%error, "bodies larger than a record are refused: there is no Kafka client for them");
                Err(RequestError::KafkaUnavailable)
            }
            // It panicked, and the panic hook has logged it.
            Err(_) => Err(RequestError::KafkaUnavailable),
        }
    }
}
