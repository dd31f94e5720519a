//! The processor's parts, put together: what belongs to the process, and a factory for each worker.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, Registry};
use rdkafka::producer::Producer as _;

use crate::kafka::client::properties;
use crate::kafka::cluster::admin::TopicAdmin;
use crate::kafka::cluster::describe;
use crate::kafka::cluster::health::KafkaHealth;
use crate::kafka::cluster::record_limits::{RecordLimits, TopicRole};
use crate::kafka::config::Purpose;
use crate::kafka::group_pump::PumpPlan;
use crate::kafka::group_pump::identity::{self, TopicIds};
use crate::kafka::group_pump::window::ByteBudget;
use crate::kafka::producer::Producer;
use crate::process::assemble_error::AssembleError;
use crate::process::progress::monotonic_ms;
use crate::processor::backend::breaker::Breakers;
use crate::processor::backend::call_pool::CallPool;
use crate::processor::backend::health::{self, BackendCheck, BackendState};
use crate::processor::backend::retry_budget::RetryBudget;
use crate::processor::backend::tls::Connectors;
use crate::processor::bodies::readers::BodyReaders;
use crate::processor::lag::{self, ConsumerLag};
use crate::processor::metrics::ProcessorMetrics;
use crate::processor::record::dead_letter_trouble::DeadLetterTrouble;
use crate::processor::record::outbox::Deliveries;
use crate::processor::record::rate_limit::RateLimit;
use crate::processor::stream::control_reader::ControlReaderFactory;
use crate::processor::stream::shared::Streams;
use crate::processor::worker::ahead_limits::ahead_limits;
use crate::processor::worker::factory::{Shared, WorkerFactory};
use crate::processor::worker::view::WorkerView;
use crate::settings::{self, Delivery, Ordering, Settings, Topic};
use crate::supervision::supervised::Supervised;

/// Bytes of records that all workers together hold between intake and the end of their work: sixteen full windows of a partition.
const RECORD_BYTES: usize = 256 << 20;

/// The processor, as the process, shutdown and the management API see it.
pub struct Processor {
    pub producer: Arc<Producer<Deliveries>>,
    pub workers: Vec<Arc<WorkerView>>,
    pub dead_letter_trouble: DeadLetterTrouble,
    /// Their certificates can be read again.
    pub connectors: Connectors,
    pub metrics: ProcessorMetrics,
    pub streams: Streams,
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
    let producer = Arc::new(Producer::new(config, Deliveries(metrics.in_flight.clone()))?);
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
    let budget = ByteBudget::new(RECORD_BYTES, metrics.held_bytes.clone());
    let connectors = Connectors::new(own.topics.iter().map(|topic| &topic.tls)).map_err(AssembleError::Backend)?;
    let sealing = Arc::new(settings.sealing.derive()?);
    let shared = Shared {
        body_readers: BodyReaders::new(
            properties::body_reader(&settings.kafka),
            own.body_readers,
            settings.max_record_size,
            sealing.clone(),
            metrics.bodies.clone(),
        ),
        producer: producer.clone(),
        limits,
        calls: calls.clone(),
        connectors: connectors.clone(),
        asks_health: !own.health_check_interval.is_zero(),
        forbidden: Arc::new(no_reply_topics(own)),
        dead_letter_topic: own.dead_letter_topic.as_deref().map(Arc::from),
        dead_letter_trouble: DeadLetterTrouble::default(),
        clock_tolerance: own.clock_tolerance,
        max_clock_skew: own.max_clock_skew,
        remembered_ids: metrics.remembered_ids.clone(),
        kafka: kafka.clone(),
        sealing,
        streams: Streams::new(settings),
    };
    let admin = TopicAdmin::new(settings.create_topics.clone());
    let topic_ids = watch_topic_ids(own, &producer)?;
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
                plan: pump_plan(
                    settings,
                    topic,
                    index,
                    &calls,
                    (&budget, &topic_metrics.poisoned),
                    &admin,
                    &topic_ids,
                ),
                rate_limit: rate_limit.clone(),
                retry_budget: retry_budget.clone(),
                shared: shared.clone(),
            }));
        }
    }
    let controls: Vec<_> = shared.streams.controls().cloned().collect();
    if !controls.is_empty() {
        supervised.push(Box::new(ControlReaderFactory {
            topics: controls,
            config: properties::reply_consumer(&settings.kafka),
            questions: producer.clone(),
            admin,
            sealing: shared.sealing.clone(),
            unbelieved: metrics.unbelieved_controls.clone(),
        }));
    }
    registry.register(Box::new(ConsumerLag::new(workers.clone())?))?;
    lag::watch_ends(workers.clone(), &producer)?;
    if shared.asks_health && !checks.is_empty() {
        actix::spawn(health::watch(checks, own.health_check_interval, connectors.clone()));
    }
    let processor = Arc::new(Processor {
        producer,
        workers,
        dead_letter_trouble: shared.dead_letter_trouble,
        connectors,
        metrics,
        streams: shared.streams,
    });
    Ok(ProcessorParts { processor, supervised })
}

/// Starts to ask which topics stand behind the request topics' names; ends when the producer does.
fn watch_topic_ids(own: &settings::Processor, producer: &Arc<Producer<Deliveries>>) -> std::io::Result<TopicIds> {
    let topic_ids = TopicIds::default();
    let producer = Arc::downgrade(producer);
    let names = own.topics.iter().map(|topic| topic.request_topic.clone()).collect();
    identity::watch(topic_ids.clone(), names, move |names| {
        let producer = producer.upgrade()?.client();
        Some(describe::topics(producer.client(), names.iter().map(String::as_str)))
    })?;
    Ok(topic_ids)
}

/// What one worker's pump is to do.
fn pump_plan(
    settings: &Settings,
    topic: &Topic,
    index: usize,
    calls: &Arc<CallPool>,
    (budget, poisoned): (&ByteBudget, &IntCounter),
    admin: &TopicAdmin,
    topic_ids: &TopicIds,
) -> PumpPlan {
    let concurrency = topic.concurrency.min(calls.most_of_one());
    let free = calls.clone();
    let can_begin = Arc::new(move || free.free_for_one());
    let own = &settings.processor;
    let instance = topic.group_instance_id.as_ref().map(|id| format!("{id}-{index}"));
    let dead_letters = own
        .dead_letter_topic
        .iter()
        .map(|topic| (topic.clone(), Purpose::DeadLetters));
    let written = std::iter::once((topic.response_topic.clone(), Purpose::Replies)).chain(dead_letters);
    PumpPlan {
        topic: Arc::from(topic.request_topic.as_str()),
        also: written.collect(),
        config: properties::request_consumer(&settings.kafka, &topic.consumer_group, instance.as_deref()),
        admin: admin.clone(),
        start: topic.start,
        has_begun: Arc::default(),
        topic_ids: topic_ids.clone(),
        window: (topic.concurrency * 4).max(256),
        revoke_timeout: own.revoke_timeout,
        ahead: (topic.delivery == Delivery::AtMostOnce)
            .then(|| ahead_limits(concurrency, topic.ordering, topic.rate_limit, can_begin)),
        budget: budget.clone(),
        max_record: settings.max_record_size,
        poisoned: poisoned.clone(),
        ordered: topic.ordering != Ordering::Unordered,
    }
}

/// Topics that a reply must not go to: there it would be executed as a request, taken for a dead letter or a piece of a body, or steer
/// streams.
fn no_reply_topics(own: &settings::Processor) -> HashSet<String> {
    let topics = own.topics.iter().flat_map(|topic| {
        [
            &topic.request_topic,
            &topic.streams.control_topic,
            &topic.streams.bodies_topic,
        ]
    });
    topics.chain(&own.dead_letter_topic).cloned().collect()
}
