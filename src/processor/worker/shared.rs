//! What all records of one worker share, and where their answers may go.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use globset::GlobSet;
use governor::DefaultDirectRateLimiter;
use rdkafka::producer::Producer as _;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

use crate::kafka::cluster::admin::TopicAdmin;
use crate::kafka::cluster::health::KafkaHealth;
use crate::kafka::cluster::record_limits::RecordLimits;
use crate::kafka::group_pump::intake::PumpHandle;
use crate::kafka::producer::Producer;
use crate::kafka::topic_name::{is_internal, is_legal};
use crate::processor::backend::breaker::{Breaker, ProbeSlot};
use crate::processor::backend::client::{Answer, Backend, BackendError};
use crate::processor::backend::retry_budget::RetryBudget;
use crate::processor::metrics::TopicMetrics;
use crate::processor::record::outbox::{Deliveries, Parcel, Undelivered};
use crate::processor::record::topic_lookup::Ensured;
use crate::processor::record::trouble::{DeadLetterTrouble, Once};
use crate::settings::Topic;
use crate::wire::dead_letter::{Cause, DeadLetter};
use crate::wire::{RawRecord, ReplyError, Request};

/// What all records of one worker share.
pub struct Worker {
    pub topic: Topic,
    pub response_topic: Arc<str>,
    pub allowed_reply_topics: GlobSet,
    /// Request and dead letter topics: a reply there would come round again.
    pub forbidden_reply_topics: Arc<HashSet<String>>,
    pub dead_letter_topic: Option<Arc<str>>,
    pub producer: Arc<Producer<Deliveries>>,
    pub pump: PumpHandle,
    /// This worker's backend calls.
    pub concurrency: Semaphore,
    /// The whole process's.
    pub all_calls: Arc<Semaphore>,
    pub rate_limit: Option<Arc<DefaultDirectRateLimiter>>,
    pub retry_budget: Arc<RetryBudget>,
    /// `None`: switched off.
    pub breaker: Option<Arc<Breaker>>,
    pub probe: ProbeSlot,
    /// Backends have a health page that may be asked for.
    pub asks_health: bool,
    pub clock_tolerance: Duration,
    pub limits: RecordLimits,
    pub kafka: KafkaHealth,
    pub metrics: TopicMetrics,
    pub undelivered: mpsc::UnboundedSender<Undelivered>,
    pub dead_letter_trouble: DeadLetterTrouble,
    pub admin: TopicAdmin,
    pub ensured: Ensured,
    pub once: Once,
}

/// Where a reply goes.
pub type Destination = (Arc<str>, Option<i32>);

impl Worker {
    /// A place among the calls of this worker and of the process. `None` never comes: the semaphores are not closed.
    pub async fn permits(&self) -> Option<(SemaphorePermit<'_>, SemaphorePermit<'_>)> {
        let own = self.concurrency.acquire().await.ok()?;
        Some((own, self.all_calls.acquire().await.ok()?))
    }

    /// One call of the backend, measured.
    pub async fn attempt(
        &self,
        backend: &Backend,
        request: &Request,
        timeout: Duration,
    ) -> Result<Answer, BackendError> {
        let began = Instant::now();
        let outcome = backend.call(request, timeout).await;
        self.metrics.backend_latency.observe(began.elapsed().as_secs_f64());
        if let Err(error) = &outcome {
            if !matches!(error, BackendError::BadMessage(_)) {
                self.metrics.backend_errors.inc();
            }
            tracing::debug!(topic = %self.topic.request_topic, backend = %self.topic.backend_url, %error, "backend call failed");
        }
        outcome
    }

    /// Looks for a topic that Kafka did not know, creating it where it is one of ours.
    pub async fn ensure_topic(&self, topic: &Arc<str>) {
        let ours = *topic == self.response_topic || Some(topic) == self.dead_letter_topic.as_ref();
        let look = async || {
            let (admin, producer, topic) = (self.admin.clone(), self.producer.clone(), topic.clone());
            let ensure = move || admin.ensure(producer.client().client(), &topic, ours);
            if let Ok(Err(error)) = tokio::task::spawn_blocking(ensure).await {
                tracing::debug!(%error, "topic not found");
            }
        };
        self.ensured.look(topic, look).await;
    }

    /// Where a request's reply may go: the topic it names where that is allowed, else the configured one.
    pub fn destination(&self, named: Option<&str>, partition: Option<i32>) -> Destination {
        match named {
            None => (self.response_topic.clone(), None),
            Some(named) if named == &*self.response_topic => (self.response_topic.clone(), partition),
            Some(named) if self.may_reply_to(named) => (Arc::from(named), partition),
            Some(named) => {
                self.metrics.refused_reply_topics.inc();
                self.once.refused_reply_topic(named, &self.response_topic);
                (self.response_topic.clone(), None)
            }
        }
    }

    fn may_reply_to(&self, topic: &str) -> bool {
        is_legal(topic)
            && !is_internal(topic)
            && !self.forbidden_reply_topics.contains(topic)
            && self.allowed_reply_topics.is_match(topic)
    }

    /// The record as a dead letter, where there is a topic for them.
    pub fn dead_letter(
        &self,
        record: &RawRecord,
        exception: &str,
        error: ReplyError,
        attempts: u32,
    ) -> Option<(Arc<str>, Option<i32>, Parcel)> {
        let topic = self.dead_letter_topic.clone()?;
        let cause = Cause {
            group: &self.topic.consumer_group,
            exception,
            error,
            attempts,
        };
        let mut letter = DeadLetter::new(record, &cause);
        letter.fit(self.limits.of(&topic));
        Some((topic, None, Parcel::DeadLetter(letter)))
    }
}
