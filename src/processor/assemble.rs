//! The processor's parts, put together: what belongs to the process, and a factory for each worker.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;

use crate::kafka::client::properties;
use crate::kafka::cluster::admin::TopicAdmin;
use crate::kafka::cluster::health::KafkaHealth;
use crate::kafka::cluster::record_limits::{RecordLimits, TopicRole};
use crate::kafka::group_pump::PumpPlan;
use crate::kafka::producer::Producer;
use crate::process::assemble_error::AssembleError;
use crate::process::progress::monotonic_ms;
use crate::processor::backend::breaker::Breakers;
use crate::processor::backend::call_pool::CallPool;
use crate::processor::backend::client::Connector;
use crate::processor::backend::health::{self, BackendCheck, BackendState};
use crate::processor::backend::retry_budget::RetryBudget;
use crate::processor::lag::{self, ConsumerLag};
use crate::processor::metrics::ProcessorMetrics;
use crate::processor::record::dead_letter_trouble::DeadLetterTrouble;
use crate::processor::record::outbox::Deliveries;
use crate::processor::record::rate_limit::RateLimit;
use crate::processor::worker::ahead_limits::ahead_limits;
use crate::processor::worker::factory::{Shared, WorkerFactory};
use crate::processor::worker::view::WorkerView;
use crate::settings::{self, Delivery, Ordering, Settings, Topic};
use crate::supervision::supervised::Supervised;

/// The processor, as the process, shutdown and the management API see it.
pub struct Processor {
    pub producer: Arc<Producer<Deliveries>>,
    pub workers: Vec<Arc<WorkerView>>,
    pub dead_letter_trouble: DeadLetterTrouble,
    pub metrics: ProcessorMetrics,
}

/// Everything the process needs to run the role.
pub struct ProcessorParts {
    pub processor: Arc<Processor>,
    pub supervised: Vec<Box<dyn Supervised>>,
}

/// Makes the role's clients and factories, and starts the checks of its backends; nothing is consumed yet. Must run inside an actix
/// `System`.
///
/// # Errors
/// librdkafka refuses the settings, metrics clash, TLS cannot be set up, or there is no thread left.
pub fn assemble(
    settings: &Settings,
    registry: &Registry,
    kafka: &KafkaHealth,
) -> Result<ProcessorParts, AssembleError> {
    let metrics = ProcessorMetrics::register(registry)?;
    let own = &settings.processor;
    let timeouts = own.topics.iter().map(|topic| topic.timeout);
    let config = properties::reply_producer(&settings.kafka, timeouts.max().unwrap_or(Duration::ZERO));
    let producer = Arc::new(Producer::new(config, Deliveries)?);
    let request_topics = own.topics.iter().map(|topic| topic.request_topic.clone());
    let limits = RecordLimits::start(producer.clone(), TopicRole::Replies, request_topics)?;
    // Asked about before the first answer.
    let response_topics = own.topics.iter().map(|topic| &topic.response_topic);
    for topic in response_topics.chain(&own.dead_letter_topic) {
        limits.of(topic);
    }
    let workers = own.topics.iter().map(|topic| topic.workers).sum();
    let calls = Arc::new(CallPool::new(
        own.max_concurrent_requests,
        workers,
        metrics.calls_borrowed.clone(),
    ));
    metrics.calls_borrowable.set(calls.most_borrowed() as i64);
    let connector = Connector::new().map_err(AssembleError::Backend)?;
    let shared = Shared {
        producer: producer.clone(),
        limits,
        calls: calls.clone(),
        connector: connector.clone(),
        asks_health: !own.health_check_interval.is_zero(),
        forbidden: Arc::new(no_reply_topics(own)),
        dead_letter_topic: own.dead_letter_topic.as_deref().map(Arc::from),
        dead_letter_trouble: DeadLetterTrouble::default(),
        clock_tolerance: own.clock_tolerance,
        kafka: kafka.clone(),
    };
    let admin = TopicAdmin::new(settings.create_topics.clone());
    let (mut workers, mut supervised, mut checks) = (Vec::new(), Vec::<Box<dyn Supervised>>::new(), Vec::new());
    let mut breakers = Breakers::default();
    for topic in &own.topics {
        let topic_metrics = metrics.topic(&topic.request_topic, &topic.backend_url.to_string());
        let backend = BackendState::default();
        let breaker = breakers.of(topic);
        checks.push(BackendCheck {
            topic: topic.clone(),
            state: backend.clone(),
            breaker: breaker.clone(),
            gauge: topic_metrics.backend_up.clone(),
        });
        let retry_budget = Arc::new(RetryBudget::new(topic.retry.budget, monotonic_ms()));
        let rate_limit = topic
            .rate_limit
            .and_then(|rate| RateLimit::new(rate, topic_metrics.waiting_for_rate.clone()));
        let rate_limit = rate_limit.map(Arc::new);
        let concurrency = topic.concurrency.min(calls.most_of_one());
        for index in 0..topic.workers {
            let view = Arc::new(WorkerView::new(
                topic.clone(),
                index,
                backend.clone(),
                breaker.clone(),
                topic_metrics.clone(),
            ));
            workers.push(view.clone());
            supervised.push(Box::new(WorkerFactory {
                name: format!("topic_worker:{}:{index}", topic.name),
                view,
                plan: pump_plan(settings, topic, index, concurrency, &admin),
                rate_limit: rate_limit.clone(),
                retry_budget: retry_budget.clone(),
                shared: shared.clone(),
            }));
        }
    }
    registry.register(Box::new(ConsumerLag::new(workers.clone())?))?;
    lag::watch_ends(workers.clone(), &producer)?;
    if shared.asks_health && !checks.is_empty() {
        actix::spawn(health::watch(checks, own.health_check_interval, connector));
    }
    let processor = Arc::new(Processor {
        producer,
        workers,
        dead_letter_trouble: shared.dead_letter_trouble,
        metrics,
    });
    Ok(ProcessorParts { processor, supervised })
}

/// What one worker's pump is to do.
fn pump_plan(settings: &Settings, topic: &Topic, index: usize, concurrency: usize, admin: &TopicAdmin) -> PumpPlan {
    let own = &settings.processor;
    let instance = topic.group_instance_id.as_ref().map(|id| format!("{id}-{index}"));
    let written = std::iter::once(&topic.response_topic).chain(&own.dead_letter_topic);
    PumpPlan {
        topic: Arc::from(topic.request_topic.as_str()),
        also: written.cloned().collect(),
        config: properties::request_consumer(&settings.kafka, &topic.consumer_group, instance.as_deref(), topic.start),
        admin: admin.clone(),
        window: (topic.concurrency * 4).max(256),
        revoke_timeout: own.revoke_timeout,
        ahead: (topic.delivery == Delivery::AtMostOnce)
            .then(|| ahead_limits(concurrency, topic.ordering, topic.rate_limit)),
        ordered: topic.ordering != Ordering::Unordered,
    }
}

/// Topics that a reply must not go to: there it would be executed as a request, or taken for a dead letter.
fn no_reply_topics(own: &settings::Processor) -> HashSet<String> {
    let requests = own.topics.iter().map(|topic| &topic.request_topic);
    requests.chain(&own.dead_letter_topic).cloned().collect()
}
