//! What one router carries, and what an entry costs: figures to print, with bounds so wide that only a mistake breaks them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Arbiter};
use arc_swap::ArcSwap;
use bytes::Bytes;
use prometheus::{IntCounter, IntGauge, Registry};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::sync::{mpsc, oneshot};

use super::actor::{ReplyRouter, RouterParts, StreamParts};
use super::control_trouble::MissingControl;
use super::messages::{Forget, Forward};
use super::pending::{Awaited, Pending, Waiting};
use super::slot::{LostRequests, RouterSlot};
use crate::error::RequestError;
use crate::kafka::client::properties;
use crate::kafka::cluster::admin::TopicAdmin;
use crate::kafka::cluster::health::KafkaHealth;
use crate::kafka::cluster::record_limits::{RecordLimits, TopicRole};
use crate::kafka::producer::Producer;
use crate::kafka::reply_stream::{OwnReplies, ReplyRecord, ReplyStream, StrangerCounters};
use crate::process::progress::Progress;
use crate::proxy::admission::bytes::ByteBudget;
use crate::proxy::metrics::ProxyMetrics;
use crate::proxy::routing::topics::{KnownTopic, KnownTopics};
use crate::proxy::wanted::Wanted;
use crate::settings::{self, Kafka, Mode, ReplyPartition, Settings};
use crate::wire::beside::{InstanceId, StreamOffer};
use crate::wire::{CorrelationId, Fields, RawRecord, Record};

/// `KHP_LONG=1` as in the integration tests.
fn long() -> bool {
    std::env::var_os("KHP_LONG").is_some_and(|value| value == "1")
}

fn settings() -> Settings {
    settings::load(Mode::Proxy, &[], &Default::default()).unwrap().settings
}

fn topics(settings: &Settings, metrics: &ProxyMetrics) -> (Arc<KnownTopics>, Arc<KnownTopic>, Arc<KnownTopic>) {
    let topics = KnownTopics::new(&settings.proxy, &settings.create_topics, None, metrics.clone());
    let known = |name: &str| topics.configured(name).unwrap();
    let (request, reply) = (
        known(&settings.proxy.request_topic),
        known(&settings.proxy.response_topic),
    );
    (Arc::new(topics), request, reply)
}

/// Bytes of memory that this process has in use.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn an_entry_is_small() {
    let (count, rounds) = if long() { (1_000_000, 1) } else { (100_000, 3) };
    let (_, request_topic, reply_topic) = topics(&settings(), &ProxyMetrics::register(&Registry::new()).unwrap());
    let queue = request_topic.load.queue(Duration::from_secs(30));
    let deadline = Instant::now() + Duration::from_secs(30);
    let fill = || {
        let (mut pending, mut waiting) = (Pending::default(), Vec::with_capacity(count));
        for _ in 0..count {
            let (reply_tx, reply_rx) = oneshot::channel();
            let entry = Waiting {
                id: CorrelationId::new(7),
                request_topic: request_topic.clone(),
                reply_topic: reply_topic.clone(),
                awaited: Awaited::OnTopic,
                sent: Instant::now(),
                deadline,
                queue: queue.clone(),
                offer: None,
                reply_tx,
            };
            assert!(pending.register(entry).is_ok());
            waiting.push(reply_rx);
        }
        (pending, waiting)
    };
    // Other tests take and return memory meanwhile: the round that they disturbed least counts. None is let go before the last, whose
    // place the next would take.
    let mut filled = Vec::new();
    let grown = (0..rounds).map(|_| {
        let before = resident();
        filled.push(fill());
        resident().saturating_sub(before) / count
    });
    let each = grown.filter(|each| *each > 0).min().unwrap();
    let (mut pending, mut waiting) = filled.pop().unwrap();
    let swept = Instant::now();
    let ended = pending.extract(|waiting| waiting.deadline <= deadline);
    let took = swept.elapsed();
    assert_eq!(ended.len(), count);
    ended
        .into_iter()
        .for_each(|waiting| waiting.answer(Err(RequestError::ReplyTimeout)));
    let told = waiting
        .iter_mut()
        .filter_map(|waiting| waiting.try_recv().ok())
        .filter(|result| matches!(result, Err(RequestError::ReplyTimeout)));
    assert_eq!(told.count(), count);
    println!("{count} entries: {each} bytes each with the client's end; all taken out in {took:?}");
    assert!(each <= 640, "{each} bytes for an entry");
}

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours.
    assert_eq!(
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) },
        0
    );
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

async fn cpu_time_of(arbiter: &Arbiter) -> Duration {
    let (sender, receiver) = oneshot::channel();
    assert!(arbiter.spawn_fn(move || assert!(sender.send(cpu_time()).is_ok())));
    receiver.await.unwrap()
}

#[actix_web::test]
async fn a_router_carries_many() {
    const IN_FLIGHT: usize = 256;
    let rounds = if long() { 2_000 } else { 100 };
    let mut settings = settings();
    let broker: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).unwrap();
    for topic in [&settings.proxy.request_topic, &settings.proxy.response_topic] {
        broker.create_topic(topic, 1, 1).unwrap();
    }
    settings.kafka = Kafka {
        bootstrap_servers: broker.bootstrap_servers(),
        properties: Default::default(),
    };
    let metrics = ProxyMetrics::register(&Registry::new()).unwrap();
    let (known, request_topic, reply_topic) = topics(&settings, &metrics);
    let entries = metrics.router_entries.clone();
    let slot = Arc::new(RouterSlot::default());
    slot.begin(1);
    let mut published = slot.subscribe();
    let config = properties::request_producer(&settings.kafka, Duration::from_secs(30), 1_000_000);
    let consumer = properties::reply_consumer(&settings.kafka);
    let strangers = StrangerCounters {
        foreign: IntCounter::new("a", "a").unwrap(),
        unmatched: IntCounter::new("b", "b").unwrap(),
        oversized: IntCounter::new("c", "c").unwrap(),
        poisoned: IntCounter::new("d", "d").unwrap(),
        unbelieved: IntCounter::new("f", "f").unwrap(),
    };
    let admin = TopicAdmin::new(settings.create_topics.clone());
    let producer =
        Arc::new(Producer::new(config, LostRequests::new(&slot, &metrics.pending, &metrics.lingering)).unwrap());
    let sealing = settings.sealing.shared().unwrap();
    let ((alive, signs_of_life), instance) = (mpsc::channel(1), InstanceId::new());
    let (stream, _nobody_replies) = ReplyStream::start(
        &consumer,
        producer.clone(),
        admin,
        |_| ReplyPartition::Auto,
        0,
        OwnReplies::new(7, settings.max_record_size, strangers, sealing.clone(), alive),
    )
    .unwrap();
    let parts = RouterParts {
        generation: 1,
        limits: RecordLimits::start(producer.clone(), TopicRole::Requests, []).unwrap(),
        producer,
        stream,
        known,
        wanted: Arc::new(ArcSwap::from_pointee(Wanted {
            request_topics: vec![request_topic.clone()],
            warmup: vec![reply_topic.clone()],
            settings: settings.proxy.clone(),
            streamed: Vec::new(),
            required_control: Default::default(),
        })),
        sealing,
        slot,
        metrics,
        kafka: KafkaHealth::default(),
        progress: Progress::default(),
        streams: StreamParts {
            instance,
            window: 1,
            offer: StreamOffer { window: 1, instance }.into(),
            budget: ByteBudget::new(0, IntGauge::new("e", "e").unwrap()),
            missing: MissingControl::default(),
        },
    };
    let (replies, receiver) = mpsc::channel(4);
    let arbiter = Arbiter::new();
    let router = ReplyRouter::start_in_arbiter(&arbiter.handle(), move |ctx| {
        ReplyRouter::new(parts, (receiver, signs_of_life), ctx)
    });
    tokio::time::timeout(Duration::from_secs(30), published.wait_for(Option::is_some))
        .await
        .unwrap()
        .unwrap();

    let headers: Fields = (0..12)
        .map(|number| {
            (
                format!("x-header-{number}").into(),
                Bytes::from_static(b"some header's value"),
            )
        })
        .collect();
    let record = Record {
        key: None,
        value: Bytes::from(vec![b'x'; 1000]),
        headers,
    };
    let forward = |id, reply_tx| Forward {
        id,
        request_topic: request_topic.clone(),
        reply_topic: reply_topic.clone(),
        is_keyed: false,
        record: record.clone(),
        deadline: Instant::now() + Duration::from_secs(30),
        queue: request_topic.load.queue(Duration::from_secs(30)),
        offer: None,
        reply_tx,
    };
    // Until its request topic is open, a router keeps what comes.
    let (reply_tx, _reply_rx) = oneshot::channel();
    router.do_send(forward(CorrelationId::new(7), reply_tx));
    while entries.get() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (cpu, began) = (cpu_time_of(&arbiter).await, Instant::now());
    for _ in 0..rounds {
        let (mut batch, mut waiting) = (Vec::with_capacity(IN_FLIGHT), Vec::with_capacity(IN_FLIGHT));
        for _ in 0..IN_FLIGHT {
            let (id, (reply_tx, reply_rx)) = (CorrelationId::new(7), oneshot::channel());
            router.do_send(forward(id, reply_tx));
            waiting.push(reply_rx);
            let record = RawRecord::empty(&reply_topic.name);
            batch.push(ReplyRecord { id, record });
        }
        // Mail is handled in the order it was sent: when this is, all before it are registered. A batch of replies could overtake them.
        router.send(Forget(CorrelationId::new(7))).await.unwrap();
        replies.send(batch).await.unwrap();
        for reply in waiting {
            assert!(reply.await.unwrap().is_ok());
        }
    }
    let carried = rounds * IN_FLIGHT;
    let cpu = (cpu_time_of(&arbiter).await - cpu) / carried as u32;
    println!(
        "{carried} requests of 1,000 bytes and 12 headers: {:.0}/s through one router beside everything else, {cpu:?} of its thread's time each, \
         which is {:.0}/s of a core",
        carried as f64 / began.elapsed().as_secs_f64(),
        1.0 / cpu.as_secs_f64()
    );
    assert!(cpu < Duration::from_millis(1), "{cpu:?}");
    arbiter.stop();
}
