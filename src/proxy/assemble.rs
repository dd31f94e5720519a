//! Puts the proxy together: what belongs to the process, and the factory of its routers.

use std::sync::Arc;

use prometheus::Registry;
use rdkafka::ClientConfig;
use tokio::sync::mpsc;

use crate::kafka::client::properties;
use crate::kafka::cluster::admin::TopicAdmin;
use crate::kafka::cluster::health::KafkaHealth;
use crate::kafka::cluster::record_limits::{RecordLimits, TopicRole};
use crate::kafka::producer::Producer;
use crate::kafka::reply_stream::{OwnReplies, ReplyStream, StrangerCounters};
use crate::process::assemble_error::AssembleError;
use crate::process::phase::Phase;
use crate::process::progress::Progress;
use crate::proxy::admission::bytes::ByteBudget;
use crate::proxy::admission::consumers::{self, Group};
use crate::proxy::admission::in_flight::Admission;
use crate::proxy::admission::rate_limit::ClientLimit;
use crate::proxy::auth::Auth;
use crate::proxy::auth::jwks::Jwks;
use crate::proxy::connection::tls::reload;
use crate::proxy::handler::Proxy;
use crate::proxy::handler::body::BodyLimits;
use crate::proxy::handler::receive::Bodies;
use crate::proxy::instance::Instance;
use crate::proxy::metrics::{OTHER_TOPIC, ProxyMetrics};
use crate::proxy::reply_router::actor::{ReplyRouter, RouterParts, StreamParts};
use crate::proxy::reply_router::control_trouble::MissingControl;
use crate::proxy::reply_router::slot::{LostRequests, RouterSlot};
use crate::proxy::routing::routes::Routes;
use crate::proxy::routing::topics::{KnownTopic, KnownTopics};
use crate::proxy::stream::places::StreamPlaces;
use crate::proxy::trust::TrustedProxies;
use crate::proxy::uploads::Uploads;
use crate::settings::{self, Settings};
use crate::supervision::spawn_watched::spawn_watched;
use crate::supervision::supervised::{ExitNotice, Home, Life, Supervised};
use crate::wire::Sealing;
use crate::wire::beside::{InstanceId, StreamOffer};

/// Signs of life that wait for the router; more are dropped, since each comes again.
const SIGNS_OF_LIFE: usize = 256;

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
    let config = properties::request_producer(&settings.kafka, own.longest_timeout(), own.max_pending);
    let producer = Arc::new(Producer::new(config, LostRequests(slot.subscribe(), metrics.pending.clone()))?);
    let reply_topics = own.reply_topics().into_iter().map(str::to_owned);
    let limits = RecordLimits::start(producer.clone(), TopicRole::Requests, reply_topics)?;
    let dead_letter_topic = settings.processor.dead_letter_topic.as_deref();
    let topics = KnownTopics::new(own, &settings.create_topics, dead_letter_topic, metrics.clone());
    let topics = Arc::new(topics);
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
    watch_consumers(own, &topics, &producer);
    let sealing = Arc::new(settings.sealing.derive()?);
    let bytes = ByteBudget::new(own.max_pending_bytes, metrics.pending_bytes.clone());
    let streamed = own.streamed_topics();
    let required = streamed.iter().filter(|(_, required)| **required);
    let missing_control = MissingControl::new(required.map(|(topic, _)| own.control_topic_of(topic).into()));
    let streamed_topics = streamed.into_keys().map(configured).collect::<Result<_, _>>()?;
    let supervised = Box::new(RouterFactory {
        stream_instance: InstanceId::new(),
        streamed_topics,
        bytes: bytes.clone(),
        missing_control: missing_control.clone(),
        producer: producer.clone(),
        limits: limits.clone(),
        config: properties::reply_consumer(&settings.kafka),
        admin: TopicAdmin::new(settings.create_topics.clone()),
        settings: own.clone(),
        max_record: settings.max_record_size,
        sealing: sealing.clone(),
        instance: instance.clone(),
        topics: topics.clone(),
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
    if own.topic_headers {
        tracing::info!(
            by = %joined(&own.trusted_proxies),
            allowed = %joined(&own.allowed_topics),
            "topic headers choose topics"
        );
    }
    let proxy = Arc::new(Proxy {
        instance,
        trusted: TrustedProxies::new(&own.trusted_proxies),
        topics,
        routes,
        unrouted: metrics.topic(OTHER_TOPIC),
        topic_headers: own.topic_headers,
        bodies: Bodies {
            limits: BodyLimits {
                size: own.largest_body(),
                rate: own.min_body_rate,
            },
            records: limits,
            uploads: Uploads::new(settings, sealing, bytes.clone(), metrics.uploads.clone()),
            bytes,
        },
        client_limit: own.rate_limit.as_ref().and_then(ClientLimit::new),
        streams: StreamPlaces::new(settings.max_streams, metrics.streams.places.clone()),
        missing_control,
        admission: Admission::new(own.max_pending, own.max_pending_per_topic, metrics.pending.clone()),
        router: slot.subscribe(),
        kafka: kafka.clone(),
        phase: phase.clone(),
        auth: Auth::new(&own.auth, Jwks::start(&own.auth, metrics.jwks.clone())),
        tls: own
            .tls
            .clone()
            .map(|tls| reload::start(tls, metrics.tls.clone()))
            .transpose()?,
        metrics,
    });
    Ok(ProxyParts {
        proxy,
        producer,
        supervised,
    })
}

/// With commas between them.
fn joined(items: &[impl ToString]) -> String {
    match items {
        [] => "none".to_owned(),
        items => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// Watches the consumer groups that the settings name.
fn watch_consumers(own: &settings::Proxy, topics: &KnownTopics, producer: &Arc<Producer<LostRequests>>) {
    let groups = own.consumer_groups().into_iter();
    let groups: Vec<Group> = groups
        .filter_map(|(topic, group)| {
            Some(Group::new(
                group.to_owned(),
                topics.configured(topic)?.consumers.clone()?,
            ))
        })
        .collect();
    if !groups.is_empty() {
        actix::spawn(consumers::watch(groups, producer.clone()));
    }
}

/// Makes the generations of the router.
struct RouterFactory {
    producer: Arc<Producer<LostRequests>>,
    limits: RecordLimits,
    config: ClientConfig,
    admin: TopicAdmin,
    settings: settings::Proxy,
    max_record: usize,
    sealing: Arc<Sealing>,
    instance: Instance,
    topics: Arc<KnownTopics>,
    request_topics: Vec<Arc<KnownTopic>>,
    warmup: Vec<Arc<KnownTopic>>,
    slot: Arc<RouterSlot>,
    metrics: ProxyMetrics,
    kafka: KafkaHealth,
    /// This process, for those that stream to it.
    stream_instance: InstanceId,
    /// The request topics whose answers may come in pieces.
    streamed_topics: Vec<Arc<KnownTopic>>,
    bytes: ByteBudget,
    missing_control: MissingControl,
}

impl RouterFactory {
    fn streams(&self) -> StreamParts {
        let (instance, window) = (self.stream_instance, self.settings.stream_window as u64);
        StreamParts {
            instance,
            window,
            offer: StreamOffer { window, instance }.into(),
            budget: self.bytes.clone(),
            topics: self.streamed_topics.clone(),
            missing: self.missing_control.clone(),
        }
    }
}

impl Supervised for RouterFactory {
    fn name(&self) -> &str {
        "reply_router"
    }

    /// Every reply of the process goes through it.
    fn needs_own_thread(&self) -> bool {
        true
    }

    fn launch(&mut self, generation: u64, home: &Home, exited: ExitNotice) -> Result<Life, String> {
        let strangers = StrangerCounters {
            foreign: self.metrics.foreign_replies.clone(),
            unmatched: self.metrics.unmatched_replies.clone(),
            oversized: self.metrics.oversized_replies.clone(),
            poisoned: self.metrics.poisoned_batches.clone(),
            unbelieved: self.metrics.unbelieved_replies.clone(),
        };
        let (alive, signs_of_life) = mpsc::channel(SIGNS_OF_LIFE);
        let settings = self.settings.clone();
        let (stream, replies) = ReplyStream::start(
            &self.config,
            self.producer.clone(),
            self.admin.clone(),
            move |topic| settings.reply_partition_of(topic),
            self.instance.ordinal,
            OwnReplies::new(
                self.instance.tag,
                self.max_record,
                strangers,
                self.sealing.clone(),
                alive,
            ),
        )
        .map_err(|error| error.to_string())?;
        self.slot.begin(generation);
        let progress = Progress::default();
        let parts = RouterParts {
            generation,
            producer: self.producer.clone(),
            limits: self.limits.clone(),
            stream,
            known: self.topics.clone(),
            request_topics: self.request_topics.clone(),
            warmup: self.warmup.clone(),
            slot: self.slot.clone(),
            metrics: self.metrics.clone(),
            sealing: self.sealing.clone(),
            kafka: self.kafka.clone(),
            progress: progress.clone(),
            streams: self.streams(),
        };
        spawn_watched(
            home,
            move |ctx| ReplyRouter::new(parts, (replies, signs_of_life), ctx),
            exited,
        )
        .ok_or("its thread could not be started")?;
        Ok(Life {
            progress: vec![progress],
            pump: None,
        })
    }

    /// Waiting handlers see this at once, even when the router froze and keeps their senders.
    fn generation_ended(&mut self) {
        self.slot.withdraw();
    }
}
