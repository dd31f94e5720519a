//! The proxy's parts, put together: what belongs to the process, and how its router is made.

use std::sync::Arc;

use actix::ArbiterHandle;
use prometheus::Registry;
use rdkafka::ClientConfig;

use crate::kafka::admin::TopicAdmin;
use crate::kafka::client_config;
use crate::kafka::health::KafkaHealth;
use crate::kafka::producer::Producer;
use crate::kafka::reply_stream::{ReplyStream, StrangerCounters};
use crate::processor::role::AssembleError;
use crate::proxy::http::Proxy;
use crate::proxy::in_flight::Admission;
use crate::proxy::instance::Instance;
use crate::proxy::metrics::{OTHER_TOPIC, ProxyMetrics};
use crate::proxy::reply_router::{LostRequests, ReplyRouter, RouterParts, RouterSlot};
use crate::proxy::routes::Routes;
use crate::proxy::topics::{Topic, Topics};
use crate::settings::{ReplyPartition, Settings};
use crate::shutdown::Phase;
use crate::supervision::health_supervisor::{ExitNotice, Life, Supervised};
use crate::supervision::progress::Progress;
use crate::supervision::spawn_watched::spawn_watched;
use crate::wire::Format;

/// Everything the process needs to run the role.
pub struct ProxyParts {
    pub proxy: Arc<Proxy>,
    pub producer: Arc<Producer<LostRequests>>,
    pub supervised: Box<dyn Supervised>,
}

/// Makes the role's clients and the router's factory; no port is open yet.
///
/// # Errors
/// librdkafka refuses the settings, or metrics clash.
pub fn assemble(
    settings: &Settings,
    registry: &Registry,
    kafka: &KafkaHealth,
    phase: &Phase,
) -> Result<ProxyParts, AssembleError> {
    let metrics = ProxyMetrics::register(registry)?;
    let own = &settings.proxy;
    let instance = Instance::new(own.instance_id.as_deref());
    let slot = Arc::new(RouterSlot::default());
    let config = client_config::request_producer(&settings.kafka, own.longest_timeout());
    let max_record = client_config::max_record(&config);
    let producer = Arc::new(Producer::new(config.clone(), LostRequests(slot.subscribe()))?);
    let topics = Topics::new(own, &settings.create_topics, metrics.clone());
    let configured = |name: &str| topics.configured(name).ok_or(AssembleError::Topic);
    let routes = Routes::new(own, &topics).ok_or(AssembleError::Topic)?;
    let request_topics = own
        .request_topics()
        .into_iter()
        .map(configured)
        .collect::<Result<_, _>>()?;
    let warmup = own
        .reply_topics()
        .into_iter()
        .map(configured)
        .collect::<Result<_, _>>()?;
    let supervised = Box::new(RouterFactory {
        producer: producer.clone(),
        config: client_config::reply_consumer(&settings.kafka),
        admin: TopicAdmin::new(config, settings.create_topics.clone()),
        // That format has no word for the partition that a reply is awaited on.
        choice: match own.wire_format {
            Format::Native => own.reply_partition,
            Format::Json => ReplyPartition::All,
        },
        instance: instance.clone(),
        request_topics,
        warmup,
        slot: slot.clone(),
        metrics: metrics.clone(),
        kafka: kafka.clone(),
    });
    tracing::info!(
        instance = instance.id,
        tag = format!("{:04x}", instance.tag),
        "proxy instance"
    );
    let proxy = Arc::new(Proxy {
        instance,
        topics,
        routes,
        unrouted: metrics.topic(OTHER_TOPIC),
        topic_headers: own.topic_headers,
        wire_format: own.wire_format,
        max_body: own.max_body_size,
        max_record,
        admission: Admission::new(own.max_pending, own.max_pending_per_topic, metrics.pending.clone()),
        router: slot.subscribe(),
        kafka: kafka.clone(),
        phase: phase.clone(),
        metrics,
    });
    Ok(ProxyParts {
        proxy,
        producer,
        supervised,
    })
}

/// Makes the generations of the router.
struct RouterFactory {
    producer: Arc<Producer<LostRequests>>,
    config: ClientConfig,
    admin: TopicAdmin,
    choice: ReplyPartition,
    instance: Instance,
    request_topics: Vec<Arc<Topic>>,
    warmup: Vec<Arc<Topic>>,
    slot: Arc<RouterSlot>,
    metrics: ProxyMetrics,
    kafka: KafkaHealth,
}

impl Supervised for RouterFactory {
    fn name(&self) -> &str {
        "reply_router"
    }

    fn launch(&mut self, generation: u64, arbiter: &ArbiterHandle, exited: ExitNotice) -> Result<Life, String> {
        let strangers = StrangerCounters {
            foreign: self.metrics.foreign_replies.clone(),
            unmatched: self.metrics.unmatched_replies.clone(),
            denied: self.metrics.replies_denied.clone(),
        };
        let (stream, replies) = ReplyStream::start(
            &self.config,
            self.admin.clone(),
            self.choice,
            self.instance.ordinal,
            self.instance.tag,
            strangers,
        )
        .map_err(|error| error.to_string())?;
        self.slot.begin(generation);
        let progress = Progress::default();
        let parts = RouterParts {
            generation,
            producer: self.producer.clone(),
            stream,
            request_topics: self.request_topics.clone(),
            warmup: self.warmup.clone(),
            slot: self.slot.clone(),
            metrics: self.metrics.clone(),
            kafka: self.kafka.clone(),
            progress: progress.clone(),
        };
        spawn_watched(arbiter, move |_| ReplyRouter::new(parts, replies), exited)
            .ok_or("its thread could not be started")?;
        Ok(Life {
            progress: vec![progress],
            pump: None,
        })
    }

    /// Waiting handlers see this at once, even when the router froze and keeps their senders.
    fn fell(&mut self) {
        self.slot.withdraw();
    }
}
