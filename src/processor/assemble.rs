//! The processor's parts, put together: what belongs to the process, and a factory for each worker.

use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::Registry;
use rdkafka::producer::Producer as _;

use crate::exchange::Exchanges;
use crate::kafka::client::properties;
use crate::kafka::cluster::admin::TopicAdmin;
use crate::kafka::cluster::describe;
use crate::kafka::cluster::health::KafkaHealth;
use crate::kafka::cluster::record_limits::{RecordLimits, TopicRole};
use crate::kafka::group_pump::identity::{self, TopicIds};
use crate::kafka::group_pump::window::ByteBudget;
use crate::kafka::producer::Producer;
use crate::process::assemble_error::AssembleError;
use crate::processor::backend::call_pool::CallPool;
use crate::processor::backend::tls::Connectors;
use crate::processor::bodies::readers::BodyReaders;
use crate::processor::lag::{self, ConsumerLag};
use crate::processor::memory::recall::Recall;
use crate::processor::memory::restores::Restores;
use crate::processor::metrics::ProcessorMetrics;
use crate::processor::record::dead_letter_trouble::DeadLetterTrouble;
use crate::processor::record::outbox::Deliveries;
use crate::processor::stream::shared::Streams;
use crate::processor::topics::{Means, RequestTopics, Topics, no_reply_topics};
use crate::processor::worker::factory::Shared;
use crate::processor::worker::view::Workers;
use crate::settings::{Settings, Topic};
use crate::supervision::supervised::Supervised;

/// Bytes of records that all workers together hold between intake and the end of their work: sixteen full windows of a partition.
const RECORD_BYTES: usize = 256 << 20;

/// The processor, as the process, shutdown and the management API see it.
pub struct Processor {
    pub producer: Arc<Producer<Deliveries>>,
    pub workers: Workers,
    pub dead_letter_trouble: DeadLetterTrouble,
    pub metrics: ProcessorMetrics,
    pub streams: Streams,
}

/// Everything the process needs to run the role.
pub struct ProcessorParts {
    pub processor: Arc<Processor>,
    pub supervised: Vec<Box<dyn Supervised>>,
    /// Takes over other settings.
    pub topics: Topics,
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
    exchanges: &Exchanges,
) -> Result<ProcessorParts, AssembleError> {
    let metrics = ProcessorMetrics::register(registry)?;
    let own = &settings.processor;
    let longest = own.topics.iter().map(Topic::kept_for).max();
    let config = properties::reply_producer(&settings.kafka, longest.unwrap_or_default());
    let producer = Arc::new(Producer::new(
        config,
        Deliveries::new(&metrics.in_flight, &metrics.lingering),
    )?);
    let request_topics = own.topics.iter().map(|topic| topic.request_topic.clone());
    let limits = RecordLimits::start(producer.clone(), TopicRole::Replies, request_topics)?;
    // Asked about before the first answer.
    let response_topics = own.topics.iter().map(|topic| &topic.response_topic);
    for topic in response_topics.chain(&own.dead_letter_topic) {
        limits.of(topic);
    }
    let workers = own.topics.iter().map(|topic| topic.workers).sum();
    let calls = Arc::new(CallPool::new(own.max_concurrent_requests, workers, metrics.calls()));
    let budget = ByteBudget::new(RECORD_BYTES, metrics.held_bytes.clone());
    let connectors = Connectors::new(own.topics.iter().map(|topic| &topic.tls)).map_err(AssembleError::Backend)?;
    let sealing = settings.sealing.shared()?;
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
        calls,
        connectors,
        asks_health: !own.health_check_interval.is_zero(),
        forbidden: Arc::new(ArcSwap::from_pointee(no_reply_topics(&own.topics, own))),
        dead_letter_topic: own.dead_letter_topic.as_deref().map(Arc::from),
        dead_letter_trouble: DeadLetterTrouble::default(),
        clock_tolerance: own.clock_tolerance,
        max_clock_skew: own.max_clock_skew,
        remembered_ids: metrics.remembered_ids.clone(),
        kafka: kafka.clone(),
        exchanges: exchanges.clone(),
        sealing,
        streams: Streams::new(settings),
        recall: Recall::new(properties::body_reader(&settings.kafka), settings.max_record_size),
        restores: Restores::default(),
    };
    let (workers, request_topics) = (Workers::default(), RequestTopics::default());
    let topic_ids = watch_topic_ids(request_topics.clone(), &producer)?;
    let (streams, dead_letter_trouble) = (shared.streams.clone(), shared.dead_letter_trouble.clone());
    let (topics, supervised) = Topics::new(Means {
        settings: settings.clone(),
        shared,
        budget,
        admin: TopicAdmin::new(settings.create_topics.clone()),
        topic_ids,
        request_topics,
        metrics: metrics.clone(),
        workers: workers.clone(),
    });
    registry.register(Box::new(ConsumerLag::new(workers.clone())?))?;
    lag::watch_ends(workers.clone(), &producer)?;
    let processor = Arc::new(Processor {
        producer,
        workers,
        dead_letter_trouble,
        metrics,
        streams,
    });
    Ok(ProcessorParts {
        processor,
        supervised,
        topics,
    })
}

/// Starts to ask which topics stand behind the request topics' names; ends when the producer does.
fn watch_topic_ids(names: RequestTopics, producer: &Arc<Producer<Deliveries>>) -> std::io::Result<TopicIds> {
    let topic_ids = TopicIds::default();
    let producer = Arc::downgrade(producer);
    let names = move || names.load_full();
    identity::watch(topic_ids.clone(), names, move |names| {
        let producer = producer.upgrade()?.client();
        Some(describe::topics(producer.client(), names.iter().map(String::as_str)))
    })?;
    Ok(topic_ids)
}
