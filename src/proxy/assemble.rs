//! Puts the proxy together: what belongs to the process, and the factory of its routers.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;
use prometheus::Registry;
use rdkafka::ClientConfig;
use tokio::sync::mpsc;

use crate::exchange::Exchanges;
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
use crate::proxy::admission::in_flight::Admission;
use crate::proxy::admission::rate_limit::ClientLimit;
use crate::proxy::auth::jwks::Jwks;
use crate::proxy::connection::tls::reload;
use crate::proxy::handler::Proxy;
use crate::proxy::handler::receive::Bodies;
use crate::proxy::instance::Instance;
use crate::proxy::metrics::{OTHER_TOPIC, ProxyMetrics, RESULTS};
use crate::proxy::reload::Reloader;
use crate::proxy::reply_router::actor::{ReplyRouter, RouterParts, StreamParts};
use crate::proxy::reply_router::control_trouble::MissingControl;
use crate::proxy::reply_router::slot::{LostRequests, RouterSlot};
use crate::proxy::results::fetcher::Fetcher;
use crate::proxy::results::location::Locations;
use crate::proxy::results::places::Places;
use crate::proxy::results::reader::ResultsReaderFactory;
use crate::proxy::results::sender::Sender;
use crate::proxy::results::store::ResultStore;
use crate::proxy::results::view::IndexView;
use crate::proxy::routing::routes::Routes;
use crate::proxy::routing::topics::KnownTopics;
use crate::proxy::rules::Rules;
use crate::proxy::stream::places::StreamPlaces;
use crate::proxy::uploads::Uploads;
use crate::proxy::wanted::{SharedWanted, Wanted};
use crate::settings::{Secret, Settings};
use crate::supervision::spawn_watched::spawn_watched;
use crate::supervision::supervised::{ExitNotice, Home, Life, Supervised};
use crate::wire::SharedSealing;
use crate::wire::beside::{InstanceId, StreamOffer};

/// Signs of life that wait for the router; more are dropped, since each comes again.
const SIGNS_OF_LIFE: usize = 256;

/// Everything the process needs to run the role.
pub struct ProxyParts {
    pub proxy: Arc<Proxy>,
    pub producer: Arc<Producer<LostRequests>>,
    pub supervised: Vec<Box<dyn Supervised>>,
    /// Takes over other settings.
    pub reloader: Reloader,
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
    exchanges: &Exchanges,
) -> Result<ProxyParts, AssembleError> {
    let metrics = ProxyMetrics::register(registry)?;
    let own = &settings.proxy;
    let instance = Instance::new(own.instance_id.as_deref());
    let slot = Arc::new(RouterSlot::default());
    let config = properties::request_producer(&settings.kafka, own.longest_timeout(), own.max_pending);
    let producer = Arc::new(Producer::new(
        config,
        LostRequests::new(&slot, &metrics.pending, &metrics.lingering),
    )?);
    let reply_topics = own.reply_topics().into_iter().map(str::to_owned);
    let limits = RecordLimits::start(producer.clone(), TopicRole::Requests, reply_topics)?;
    let dead_letter_topic = settings.processor.dead_letter_topic.as_deref();
    let topics = KnownTopics::new(own, &settings.create_topics, dead_letter_topic, metrics.clone());
    let topics = Arc::new(topics);
    let configured = |name: &str| topics.configured(name);
    let routes = Routes::new(own, configured).ok_or(AssembleError::Topic)?;
    let wanted = Wanted::new(own, configured).ok_or(AssembleError::Topic)?;
    let sealing = settings.sealing.shared()?;
    let bytes = ByteBudget::new(own.max_pending_bytes, metrics.pending_bytes.clone());
    let missing_control = MissingControl::new(wanted.required_control.iter().cloned());
    let wanted: SharedWanted = Arc::new(ArcSwap::from_pointee(wanted));
    let (results, reader) = results(settings, (&topics, &producer), &sealing, &bytes, &metrics)?.unzip();
    let router: Box<dyn Supervised> = Box::new(RouterFactory {
        stream_instance: InstanceId::new(),
        bytes: bytes.clone(),
        missing_control: missing_control.clone(),
        producer: producer.clone(),
        limits: limits.clone(),
        config: properties::reply_consumer(&settings.kafka),
        admin: TopicAdmin::new(settings.create_topics.clone()),
        window: own.stream_window as u64,
        max_record: settings.max_record_size,
        sealing: sealing.clone(),
        instance: instance.clone(),
        topics: topics.clone(),
        wanted: wanted.clone(),
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
        rules: ArcSwap::from_pointee(Rules::new(
            own,
            routes,
            own.rate_limit.as_ref().and_then(ClientLimit::new).map(Arc::new),
            Jwks::start(&own.auth, metrics.jwks.clone()),
        )),
        topics,
        unrouted: metrics.topic(OTHER_TOPIC),
        of_results: metrics.topic(RESULTS),
        bodies: Bodies {
            records: limits,
            uploads: Uploads::new(settings, sealing.clone(), bytes.clone(), metrics.uploads.clone()),
            bytes,
        },
        streams: StreamPlaces::new(settings.max_streams, metrics.streams.places.clone()),
        missing_control,
        admission: Admission::new(own.max_pending, own.max_pending_per_topic, metrics.pending.clone()),
        router: slot.subscribe(),
        kafka: kafka.clone(),
        phase: phase.clone(),
        tls: own
            .tls
            .clone()
            .map(|tls| reload::start(tls, metrics.tls.clone()))
            .transpose()?,
        metrics,
        results,
        exchanges: exchanges.clone(),
    });
    let reloader = Reloader::new(proxy.clone(), producer.clone(), wanted, sealing);
    Ok(ProxyParts {
        proxy,
        producer,
        supervised: std::iter::once(router).chain(reader).collect(),
        reloader,
    })
}

/// What serves answers that are fetched later, and what reads them.
type StoreAndReader = (ResultStore, Box<dyn Supervised>);

/// What serves answers that are fetched later, and reads the results; `None`: no route has such.
fn results(
    settings: &Settings,
    (topics, producer): (&Arc<KnownTopics>, &Arc<Producer<LostRequests>>),
    sealing: &SharedSealing,
    bytes: &ByteBudget,
    metrics: &ProxyMetrics,
) -> Result<Option<StoreAndReader>, AssembleError> {
    let (own, kafka) = (&settings.proxy, &settings.kafka);
    let places = Places::new(own);
    if places.is_empty() {
        return Ok(None);
    }
    let view = Arc::new(IndexView::new(&places.topics));
    let admin = TopicAdmin::new(settings.create_topics.clone());
    let reader = ResultsReaderFactory {
        topics: places.topics.clone(),
        config: properties::results_reader(kafka),
        questions: producer.clone(),
        admin: admin.clone(),
        sealing: sealing.clone(),
        max_record: settings.max_record_size,
        max_results: own.results.max,
        max_waiting: own.max_pending,
        view: view.clone(),
        metrics: metrics.results.clone(),
    };
    let config = properties::request_producer(kafka, own.longest_timeout(), own.max_pending);
    let store = ResultStore {
        path: own.results.path.clone(),
        topics: topics.clone(),
        places,
        locations: Locations::new(own.results.key.as_ref().map(Secret::reveal)),
        sender: Sender::start(config, admin)?,
        fetcher: Fetcher::new(
            properties::result_fetcher(kafka),
            settings.max_record_size,
            sealing.clone(),
        ),
        sealing: sealing.clone(),
        view,
        accepting: AtomicUsize::new(0),
        max_accepting: own.max_pending,
        max_wait: own.longest_timeout(),
        bytes: bytes.clone(),
        metrics: metrics.results.clone(),
    };
    Ok(Some((store, Box::new(reader))))
}

/// With commas between them.
fn joined(items: &[impl ToString]) -> String {
    match items {
        [] => "none".to_owned(),
        items => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// Makes the generations of the router.
struct RouterFactory {
    producer: Arc<Producer<LostRequests>>,
    limits: RecordLimits,
    config: ClientConfig,
    admin: TopicAdmin,
    /// Bytes of one streamed answer that may be on their way.
    window: u64,
    max_record: usize,
    sealing: SharedSealing,
    instance: Instance,
    topics: Arc<KnownTopics>,
    wanted: SharedWanted,
    slot: Arc<RouterSlot>,
    metrics: ProxyMetrics,
    kafka: KafkaHealth,
    /// This process, for those that stream to it.
    stream_instance: InstanceId,
    bytes: ByteBudget,
    missing_control: MissingControl,
}

impl RouterFactory {
    fn streams(&self) -> StreamParts {
        let (instance, window) = (self.stream_instance, self.window);
        StreamParts {
            instance,
            window,
            offer: StreamOffer { window, instance }.into(),
            budget: self.bytes.clone(),
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
        let wanted = self.wanted.clone();
        let (stream, replies) = ReplyStream::start(
            &self.config,
            self.producer.clone(),
            self.admin.clone(),
            move |topic| wanted.load().settings.reply_partition_of(topic),
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
            wanted: self.wanted.clone(),
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
