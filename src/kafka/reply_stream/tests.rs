//! On a real Kafka: positions, identities, and the end of a client that is beyond repair.

use std::ffi::CString;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use prometheus::IntCounter;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka_sys as rdsys;

use super::*;
use crate::kafka::client::properties;
use crate::kafka::cluster::describe::TopicId;
use crate::kafka::config::{CreateTopics, Kafka, Purpose};
use crate::kafka::producer::{Delivered, DeliveryListener, Producer};
use crate::test_kafka;
use crate::wire::{CorrelationId, Sealing};

const TAG: u16 = 0x1234;

fn kafka() -> Kafka {
    Kafka {
        bootstrap_servers: test_kafka::brokers().into(),
        properties: Default::default(),
    }
}

/// Nothing is sent with it.
struct Nobody;

impl DeliveryListener for Nobody {
    type Ticket = ();
    fn delivered(&self, (): (), _: Delivered) {}
}

fn start() -> (ReplyStream, mpsc::Receiver<Vec<ReplyRecord>>) {
    let config = properties::reply_consumer(&kafka());
    let create = CreateTopics {
        enabled: true,
        partitions: 1,
        replication_factor: 1,
        retention: None,
        allow: Vec::new(),
    };
    let strangers = StrangerCounters {
        foreign: IntCounter::new("a", "a").unwrap(),
        unmatched: IntCounter::new("b", "b").unwrap(),
        oversized: IntCounter::new("c", "c").unwrap(),
        poisoned: IntCounter::new("d", "d").unwrap(),
        unbelieved: IntCounter::new("e", "e").unwrap(),
    };
    let sealing = Arc::new(ArcSwap::from_pointee(Sealing {
        keys: Vec::new(),
        require: false,
    }));
    let producer = Producer::new(properties::reply_producer(&kafka(), Duration::from_secs(15)), Nobody).unwrap();
    let admin = TopicAdmin::new(create);
    ReplyStream::start(
        &config,
        Arc::new(producer),
        admin,
        |_| ReplyPartition::All,
        0,
        OwnReplies::new(TAG, usize::MAX, strangers, sealing, mpsc::channel(1).0),
    )
    .unwrap()
}

fn topic() -> Arc<str> {
    format!("{:08x}-stream-responses", rand::random::<u32>()).into()
}

fn publish(topic: &str, id: CorrelationId) {
    publish_with(topic, id, None);
}

fn publish_with(topic: &str, id: CorrelationId, further: Option<&str>) {
    publish_by(&producer(), topic, id, further);
}

fn producer() -> BaseProducer {
    let config = properties::reply_producer(&kafka(), Duration::from_secs(15));
    config.create().unwrap()
}

fn publish_by(producer: &BaseProducer, topic: &str, id: CorrelationId, further: Option<&str>) {
    let mut headers = OwnedHeaders::new().insert(Header {
        key: "kafka_correlationId",
        value: Some(&id.to_bytes()[..]),
    });
    if let Some(key) = further {
        headers = headers.insert(Header { key, value: Some("x") });
    }
    let record = BaseRecord::<(), [u8]>::to(topic).payload(b"x").headers(headers);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(15)).unwrap();
}

/// The next batch. A reply that is not read fails a test, rather than halt it.
fn next(replies: &mut mpsc::Receiver<Vec<ReplyRecord>>) -> Vec<ReplyRecord> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match replies.try_recv() {
            Ok(batch) => return batch,
            Err(error) => assert!(Instant::now() < deadline, "no reply is read: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A proxy that resolved its position has not missed a reply, whatever the consumer did so far.
#[test]
fn a_reply_between_position_and_assignment_is_read() {
    let ((stream, mut replies), topic) = (start(), topic());
    let partitions = stream
        .0
        .admin
        .ensure(stream.0.consumer.client(), &topic, Purpose::Replies, true)
        .unwrap();
    publish(&topic, CorrelationId::new(TAG));
    let found = Found {
        id: None,
        partitions,
        readable: true,
        writable: true,
    };
    let open = stream
        .position(&topic, found, ReplyPartition::All, |(_low, high)| high)
        .unwrap();
    let between = CorrelationId::new(TAG);
    publish(&topic, between);
    stream.assign(&topic, &open.partitions).unwrap();
    let read = next(&mut replies);
    assert_eq!(read.iter().map(|reply| reply.id).collect::<Vec<_>>(), [between]);
}

/// A topic that is given up and opened again at once is read, whatever librdkafka still had to do about the first time.
#[test]
fn a_topic_that_is_opened_again_at_once_is_read() {
    let ((stream, mut replies), topic, producer) = (start(), topic(), producer());
    stream.open(&topic, true).unwrap();
    for round in 0..30 {
        let open = stream.open(&topic, false).unwrap();
        let id = CorrelationId::new(TAG);
        publish_by(&producer, &topic, id, None);
        let read = next(&mut replies);
        assert_eq!(
            read.iter().map(|reply| reply.id).collect::<Vec<_>>(),
            [id],
            "{round}: {open:?}"
        );
    }
}

/// An idle consumer looks for the leaders of a new topic at once, and not at its next scan, which comes once a second.
#[test]
fn the_first_reply_of_a_topic_is_read_at_once() {
    let (stream, mut replies) = start();
    let topics: Vec<_> = (0..5).map(|_| topic()).collect();
    let producer = producer();
    for topic in &topics {
        stream
            .0
            .admin
            .ensure(producer.client(), topic, Purpose::Replies, true)
            .unwrap();
        publish_by(&producer, topic, CorrelationId::new(TAG), None);
    }
    let took = topics.iter().map(|topic| {
        stream.open(topic, false).unwrap();
        let began = Instant::now();
        publish_by(&producer, topic, CorrelationId::new(TAG), None);
        next(&mut replies);
        began.elapsed()
    });
    let mut took: Vec<Duration> = took.collect();
    println!("{took:?}");
    took.sort();
    assert!(took[2] < Duration::from_millis(500), "{took:?}");
}

/// Somebody named a dead letter topic as a reply topic: what lies there are requests.
#[test]
fn a_dead_letter_is_no_reply() {
    let ((stream, mut replies), topic) = (start(), topic());
    stream.open(&topic, true).unwrap();
    let id = CorrelationId::new(TAG);
    publish_with(&topic, CorrelationId::new(TAG), Some("kafka_dlt-original-topic"));
    publish(&topic, id);
    let read = next(&mut replies);
    assert_eq!(read.iter().map(|reply| reply.id).collect::<Vec<_>>(), [id]);
}

#[test]
fn a_topic_of_the_same_name_is_another_topic() {
    let ((stream, mut replies), topic) = (start(), topic());
    let open = stream.open(&topic, true).unwrap();
    let look = |name: &str| stream.describe([name, name]).unwrap().remove(name).unwrap().unwrap();
    assert!(stream.check(&open, look(&topic), false).unwrap().is_none());

    // What the old reading may find in the new topic, by chance, is not looked for.
    stream.unassign(&topic);
    let admin: rdkafka::admin::AdminClient<_> = properties::reply_consumer(&kafka()).create().unwrap();
    let deleted = futures_executor::block_on(admin.delete_topics(&[&topic], &Default::default())).unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    while look(&topic).is_some() {
        std::thread::sleep(Duration::from_millis(20));
    }
    // As many partitions as before: only its identity tells it from the old one.
    stream
        .0
        .admin
        .ensure(stream.0.consumer.client(), &topic, Purpose::Replies, true)
        .unwrap();
    // Its end is no place to begin at: whoever answers may have known the new topic before.
    let between = CorrelationId::new(TAG);
    publish(&topic, between);
    let change = stream.check(&open, look(&topic), false).unwrap();
    let Some(TopicChange::Recreated(again)) = change else {
        panic!("{change:?}");
    };
    assert!(open.id.is_some() && again.id.is_some() && open.id != again.id);
    assert_eq!(next(&mut replies)[0].id, between);
    let after = CorrelationId::new(TAG);
    publish(&topic, after);
    assert_eq!(next(&mut replies)[0].id, after);
}

/// Of a broker that is behind the others one may hear of fewer partitions.
#[test]
fn a_topic_is_told_by_its_identity_before_its_size() {
    let opened = |id| OpenTopic {
        name: topic(),
        id,
        choice: ReplyPartition::All,
        partitions: vec![(0, 5), (1, 7)],
        named_partition: None,
    };
    let now = |id, partitions| Found {
        id,
        partitions,
        readable: true,
        writable: true,
    };
    let (one, other) = (Some(TopicId::of(1)), Some(TopicId::of(2)));
    for (before, now, same) in [
        (one, now(one, 2), Some(true)),
        (one, now(one, 1), Some(true)),
        (one, now(one, 3), Some(true)),
        (one, now(other, 2), Some(false)),
        (one, now(None, 1), Some(false)),
        (None, now(one, 1), Some(false)),
        (None, now(None, 2), None),
        (None, now(one, 3), None),
    ] {
        assert_eq!(is_same_by_description(&opened(before), now), same, "{before:?} {now:?}");
    }
}

/// Between the ends and the answer by time: no time is so young that the answer names it, so it has its place behind the end.
#[test]
fn a_search_reads_a_reply_that_comes_while_it_begins() {
    let ((stream, mut replies), topic) = (start(), topic());
    stream
        .0
        .admin
        .ensure(stream.0.consumer.client(), &topic, Purpose::Replies, true)
        .unwrap();
    publish(&topic, CorrelationId::new(TAG));
    let elsewhere = OpenTopic {
        name: topic.clone(),
        id: None,
        choice: ReplyPartition::Auto,
        partitions: Vec::new(),
        named_partition: None,
    };
    let ends = stream.ends_of_others(&elsewhere).unwrap();
    assert_eq!(ends, [(0, 1)]);
    let between = CorrelationId::new(TAG);
    publish(&topic, between);
    let future = SystemTime::now() + Duration::from_secs(3600);
    let others = stream.others_since(&elsewhere, future, ends).unwrap();
    stream.assign(&topic, &others).unwrap();
    assert_eq!(next(&mut replies)[0].id, between);
}

#[test]
fn what_is_left_of_an_earlier_assignment_does_not_keep_a_topic_closed() {
    let ((stream, mut replies), topic) = (start(), topic());
    stream.open(&topic, true).unwrap();
    stream.open(&topic, true).unwrap();
    // One that is not assigned does not keep the others of a list.
    stream.leave_others(&topic, &[(0, 0), (7, 0)]);
    assert_eq!(stream.assigned(&topic).unwrap(), []);
    stream.open(&topic, true).unwrap();
    let id = CorrelationId::new(TAG);
    publish(&topic, id);
    assert_eq!(next(&mut replies)[0].id, id);
}

#[test]
fn an_identity_that_could_not_be_had_at_first_is_learned() {
    let ((stream, _replies), topic) = (start(), topic());
    let open = stream.open(&topic, true).unwrap();
    let mut nameless = open.clone();
    nameless.id = None;
    let look = |name: &str| stream.describe([name]).unwrap().remove(name).unwrap().unwrap();
    let change = stream.check(&nameless, look(&topic), false).unwrap();
    let Some(TopicChange::Identified(_, id)) = change else {
        panic!("{change:?}");
    };
    nameless.identify(id);
    assert_eq!(nameless.id, open.id);
    assert!(stream.check(&nameless, look(&topic), false).unwrap().is_none());
}

/// The end of the batches ends the router, and its successor has a new client.
#[test]
fn a_fatal_error_ends_the_stream() {
    let (stream, mut replies) = start();
    let reason = CString::new("a test").unwrap();
    // SAFETY: the client is alive, and librdkafka copies the reason.
    unsafe {
        rdsys::rd_kafka_test_fatal_error(
            stream.0.consumer.client().native_ptr(),
            rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID,
            reason.as_ptr(),
        );
    }
    assert!(replies.blocking_recv().is_none());
}

#[test]
fn a_partition_is_chosen_by_ordinal_and_named_in_requests() {
    assert_eq!(choose(ReplyPartition::Auto, 14, 12), (vec![2], Some(2)));
    assert_eq!(choose(ReplyPartition::Number(13), 0, 12), (vec![1], Some(1)));
    assert_eq!(choose(ReplyPartition::All, 5, 3), (vec![0, 1, 2], None));
}

/// A request that names a topic for the first time waits for this.
#[test]
fn a_topic_that_exists_is_opened_at_once() {
    let ((stream, mut replies), read, topic) = (start(), topic(), topic());
    // Its fetches wait at the broker for replies, and hold up what is asked for on the same connection.
    stream.open(&read, true).unwrap();
    let creator: rdkafka::admin::AdminClient<_> = properties::reply_consumer(&kafka()).create().unwrap();
    let new = rdkafka::admin::NewTopic::new(&topic, 4, rdkafka::admin::TopicReplication::Fixed(1));
    let made = futures_executor::block_on(creator.create_topics([&new], &Default::default())).unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    // The consumer has long been there, and the topic, too.
    std::thread::sleep(Duration::from_secs(3));
    let began = Instant::now();
    stream.open(&topic, true).unwrap();
    let opened = began.elapsed();
    let id = CorrelationId::new(TAG);
    publish(&topic, id);
    let published = began.elapsed();
    assert_eq!(next(&mut replies)[0].id, id);
    let read = began.elapsed();
    println!("opened after {opened:?}, published after {published:?}, read after {read:?}");
    assert!(opened < Duration::from_millis(500), "{opened:?}");
    assert!(read - published < Duration::from_millis(500), "{:?}", read - published);
}
