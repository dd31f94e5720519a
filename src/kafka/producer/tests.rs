//! On a real Kafka: dead clients, and topics that take only small batches.

use std::sync::atomic::{AtomicUsize, Ordering};

use rdkafka::admin::{AdminClient, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka_sys as rdsys;
use tokio::sync::mpsc;

use super::*;
use crate::kafka::config::Kafka;
use crate::test_kafka;

struct Reports(mpsc::UnboundedSender<(usize, Delivered)>);

impl DeliveryListener for Reports {
    type Ticket = usize;
    fn delivered(&self, ticket: usize, outcome: Delivered) {
        let _ = self.0.send((ticket, outcome));
    }
}

fn producer() -> (Producer<Reports>, mpsc::UnboundedReceiver<(usize, Delivered)>) {
    let (sender, reports) = mpsc::unbounded_channel();
    let config = properties::reply_producer(&kafka(), Duration::from_secs(15));
    (Producer::new(config, Reports(sender)).unwrap(), reports)
}

fn kafka() -> Kafka {
    Kafka {
        bootstrap_servers: test_kafka::brokers().into(),
        properties: Default::default(),
    }
}

/// Creates a topic of one partition, whose batches are at most `limit` bytes.
fn create(name: &str, limit: usize) -> String {
    let (topic, limit) = (format!("{:08x}-{name}", rand::random::<u32>()), limit.to_string());
    let admin: AdminClient<DefaultClientContext> = properties::reply_consumer(&kafka()).create().unwrap();
    let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1)).set("max.message.bytes", &limit);
    let made = futures_executor::block_on(admin.create_topics([&new], &Default::default())).unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    topic
}

fn record(bytes: usize) -> Record {
    Record {
        key: None,
        value: vec![b'x'; bytes].into(),
        headers: Vec::new(),
    }
}

fn make_fatal(client: &BaseProducer<Context<Feed<Reports>>>) {
    // SAFETY: the client is alive, and librdkafka copies the reason.
    unsafe {
        rdsys::rd_kafka_test_fatal_error(
            client.client().native_ptr(),
            rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
            c"a test".as_ptr(),
        );
    }
}

#[test]
fn a_fatal_error_costs_one_client_and_not_the_next_record() {
    let (producer, mut reports) = producer();
    let before = producer.client();
    make_fatal(&before);
    let topic = create("heal", 1_000_000);
    producer.send(&topic, None, &record(0), 1);
    let refused = reports.try_recv().unwrap();
    assert_eq!(refused, (1, not_sent(RDKafkaErrorCode::Fatal)));
    producer.heal();
    assert!(!Arc::ptr_eq(&before, &producer.client()));
    producer.send(&topic, None, &record(0), 2);
    assert_eq!(reports.blocking_recv(), Some((2, Ok(0))));
    let healthy = producer.client();
    producer.heal();
    assert!(Arc::ptr_eq(&healthy, &producer.client()));
}

#[test]
fn a_fatal_error_that_comes_back_at_once_does_not_cost_a_client_each_second() {
    let (producer, _reports) = producer();
    let (began, mut replaced) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(6) {
        let before = producer.client();
        make_fatal(&before);
        producer.heal();
        replaced += usize::from(!Arc::ptr_eq(&before, &producer.client()));
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{replaced} clients in 6 s");
    // At once, after a second, and two seconds after that.
    assert!(replaced <= 3, "{replaced}");
}

/// The limit of the small one would cost the others most of their speed, if they shared its client.
#[test]
fn a_topic_with_small_batches_leaves_the_client_of_the_others_as_it_is() {
    const LIMIT: usize = 20_000;
    const RECORDS: usize = 2_000;
    let (producer, mut reports) = producer();
    let (large, small) = (create("large", 1_048_588), create("small", LIMIT));
    let client = producer.client();
    producer.limit_batches(&small, LIMIT);
    assert!(Arc::ptr_eq(&client, &producer.client()));
    let lanes = producer.small.load();
    assert!(lanes.by_topic.contains_key(&*small) && !lanes.by_topic.contains_key(&*large));
    // What each client sends, its topic takes.
    let record = record(1_000);
    for topic in [&large, &small] {
        (0..RECORDS).for_each(|number| producer.send(topic, None, &record, number));
        for _ in 0..RECORDS {
            let (number, outcome) = reports.blocking_recv().unwrap();
            assert!(outcome.is_ok(), "{topic}: {number} {outcome:?}");
        }
    }
}

#[test]
fn many_small_topics_share_few_clients_and_a_raised_limit_leads_back() {
    let (producer, mut reports) = producer();
    let topics: Vec<String> = (0..40)
        .map(|number| format!("{:08x}-{number}", rand::random::<u32>()))
        .collect();
    for (number, topic) in topics.iter().enumerate() {
        producer.limit_batches(topic, 16_384 + 300 * number);
    }
    assert_eq!(producer.small.load().by_batch_size.len(), 1);
    assert_eq!(producer.small.load().by_topic.len(), topics.len());
    let small = create("small", 20_000);
    producer.limit_batches(&small, 20_000);
    // A dead client of small batches is replaced, too.
    let lane = producer.small.load().by_topic[&*small].clone();
    make_fatal(&lane.client().client);
    producer.send(&small, None, &record(10), 1);
    assert_eq!(reports.blocking_recv(), Some((1, not_sent(RDKafkaErrorCode::Fatal))));
    producer.heal();
    (0..1_000).for_each(|number| producer.send(&small, None, &record(1_000), number));
    assert!(producer.queued() > 0, "of all clients");
    assert!(producer.flush(Duration::from_secs(30)), "all clients");
    assert_eq!(producer.queued(), 0);
    assert!((0..1_000).all(|_| reports.blocking_recv().unwrap().1.is_ok()));
    for topic in &topics {
        producer.limit_batches(topic, 1_000_000);
    }
    assert_eq!(producer.small.load().by_topic.len(), 1);
}

/// Has as many records in flight as is said, and counts how often batches begin to linger.
struct Busy {
    reports: mpsc::UnboundedSender<(usize, Delivered)>,
    in_flight: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
}

impl DeliveryListener for Busy {
    type Ticket = usize;
    fn delivered(&self, ticket: usize, outcome: Delivered) {
        let _ = self.reports.send((ticket, outcome));
    }
    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
    fn lingers(&self, lingers: bool) {
        self.begun.fetch_add(usize::from(lingers), Ordering::Relaxed);
    }
}

#[test]
fn records_keep_their_order_whenever_batches_begin_to_linger() {
    let (reports, mut reported) = mpsc::unbounded_channel();
    let (in_flight, begun) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let listener = Busy {
        reports,
        in_flight: in_flight.clone(),
        begun: begun.clone(),
    };
    let config = properties::reply_producer(&kafka(), Duration::from_secs(15));
    let producer = Producer::new(config, listener).unwrap();
    let topic = create("linger", 1_048_588);
    let (mut sent, mut next) = (0, 0);
    let until = Instant::now() + Duration::from_secs(60);
    while begun.load(Ordering::Relaxed) < 3 {
        assert!(Instant::now() < until, "began {begun:?} times");
        // A long way, and then none.
        in_flight.fetch_xor(2_000, Ordering::Relaxed);
        // Several times as long as what was measured counts.
        let turn = Instant::now() + Duration::from_millis(1200);
        while Instant::now() < turn {
            while sent < next + 500 {
                producer.send(&topic, Some(0), &record(100), sent);
                sent += 1;
            }
            while let Ok((ticket, outcome)) = reported.try_recv() {
                assert_eq!((ticket, outcome), (next, Ok(next as i64)));
                next += 1;
            }
            std::thread::yield_now();
        }
    }
    assert!(producer.flush(Duration::from_secs(30)), "both clients");
    assert_eq!(producer.queued(), 0);
    let rest: Vec<usize> = std::iter::from_fn(|| reported.try_recv().ok())
        .map(|(ticket, _)| ticket)
        .collect();
    assert_eq!(rest, (next..sent).collect::<Vec<_>>());
}

#[test]
fn an_operator_who_decides_how_long_batches_linger_is_followed() {
    let with = |name: &str, value: &str| Kafka {
        properties: [(name.to_owned(), value.to_owned())].into_iter().collect(),
        ..kafka()
    };
    let config = |kafka: &Kafka| properties::reply_producer(kafka, Duration::ZERO);
    assert!(properties::lingering(&config(&kafka())).is_some());
    // Our own value, too, when it is the operator's.
    for (name, value) in [
        ("linger.ms", "5"),
        ("linger.ms", "0"),
        ("queue.buffering.max.ms", "5"),
        ("queue.buffering.max.ms", "0"),
    ] {
        let config = config(&with(name, value));
        assert!(properties::lingering(&config).is_none(), "{name}: {value}");
        let native = config.create_native_config().unwrap();
        assert_eq!(native.get("linger.ms").unwrap(), value, "{name}");
    }
}
