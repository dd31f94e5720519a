//! Records written and read past the service: what a foreign client of Kafka would do, and see.

use std::ffi::CString;
use std::os::raw::c_void;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::message::{Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::kafka::brokers;
use super::wait::{PATIENCE, eventually};

/// A record header to be written: name and value.
pub type Header<'a> = (&'a str, &'a [u8]);

/// A record as it was read.
#[derive(Debug, Clone)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// In order; a null value reads as empty.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_slice())
    }

    pub fn header_text(&self, name: &str) -> String {
        String::from_utf8_lossy(self.header(name).unwrap_or_default()).into_owned()
    }
}

fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers())
        .set("topic.metadata.refresh.interval.ms", "5000");
    config
}

/// Creates a topic and waits until the broker serves it.
pub async fn create_topic(topic: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let results = admin
        .create_topics([&new], &AdminOptions::new())
        .await
        .expect("the broker answers");
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    wait_for_topic(topic).await;
}

/// Deletes a topic, and waits until it is gone.
pub async fn delete_topic(topic: &str) {
    let admin: AdminClient<DefaultClientContext> = config().create().expect("a client");
    let results = admin
        .delete_topics(&[topic], &AdminOptions::new())
        .await
        .expect("the broker answers");
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    eventually(&format!("topic {topic} gone"), async || match partitions(topic) {
        0 => Ok(()),
        _ => Err("still there".into()),
    })
    .await;
}

/// Waits until a topic exists.
pub async fn wait_for_topic(topic: &str) {
    eventually(&format!("topic {topic}"), async || {
        if partitions(topic) > 0 {
            Ok(())
        } else {
            Err("absent".into())
        }
    })
    .await;
}

/// The number of partitions; 0 when there is no such topic.
pub fn partitions(topic: &str) -> usize {
    let client: BaseConsumer = config().create().expect("a client");
    let metadata = client
        .fetch_metadata(Some(topic), PATIENCE)
        .expect("the broker answers");
    metadata
        .topics()
        .iter()
        .filter(|found| found.error().is_none())
        .map(|found| found.partitions().len())
        .sum()
}

/// Writes a record to a partition.
pub async fn produce(topic: &str, partition: i32, value: &[u8], headers: &[Header<'_>]) {
    let producer: FutureProducer = config().create().expect("a producer");
    let mut owned = OwnedHeaders::new();
    for (key, value) in headers {
        owned = owned.insert(rdkafka::message::Header {
            key,
            value: Some(*value),
        });
    }
    let record = FutureRecord::<(), [u8]>::to(topic)
        .partition(partition)
        .payload(value)
        .headers(owned);
    producer
        .send(record, PATIENCE)
        .await
        .unwrap_or_else(|(error, _)| panic!("{topic}: {error}"));
}

/// Writes a record with one header whose name is these bytes, UTF-8 or not: rdkafka has no safe way to.
pub async fn produce_with_header_name(topic: &str, partition: i32, value: &[u8], name: &[u8]) {
    use rdkafka::bindings::{RD_KAFKA_MSG_F_COPY, rd_kafka_producev, rd_kafka_resp_err_t, rd_kafka_vtype_t as vtype};
    // Not a FutureProducer: that expects a sender of its own with every record.
    let producer: BaseProducer = config().create().expect("a producer");
    let [topic, name] = [topic.as_bytes(), name].map(|text| CString::new(text).expect("no NUL"));
    // SAFETY: each argument follows its tag with the type that rdkafka.h documents for it; librdkafka copies all of
    // them.
    let error = unsafe {
        rd_kafka_producev(
            producer.client().native_ptr(),
            vtype::RD_KAFKA_VTYPE_TOPIC,
            topic.as_ptr(),
            vtype::RD_KAFKA_VTYPE_PARTITION,
            partition,
            vtype::RD_KAFKA_VTYPE_MSGFLAGS,
            RD_KAFKA_MSG_F_COPY,
            vtype::RD_KAFKA_VTYPE_VALUE,
            value.as_ptr().cast::<c_void>(),
            value.len(),
            vtype::RD_KAFKA_VTYPE_HEADER,
            name.as_ptr(),
            c"x".as_ptr().cast::<c_void>(),
            1_usize,
            vtype::RD_KAFKA_VTYPE_END,
        )
    };
    assert_eq!(error, rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
    let flushed = tokio::task::spawn_blocking(move || producer.flush(PATIENCE)).await;
    flushed.expect("no panic").expect("the record is written");
}

/// Reads a topic from its beginning, without a group.
pub struct Reader {
    consumer: StreamConsumer,
    topic: String,
}

impl Reader {
    /// Reads all partitions of a topic that exists.
    pub fn open(topic: &str) -> Self {
        let consumer: StreamConsumer = config()
            .set("group.id", "unused")
            .set("enable.auto.commit", "false")
            .create()
            .expect("a consumer");
        let mut assignment = TopicPartitionList::new();
        for partition in 0..partitions(topic) {
            assignment
                .add_partition_offset(topic, partition as i32, Offset::Beginning)
                .expect("a valid offset");
        }
        consumer.assign(&assignment).expect("the topic exists");
        Reader {
            consumer,
            topic: topic.into(),
        }
    }

    /// The next record.
    pub async fn next(&self) -> Record {
        let received = tokio::time::timeout(PATIENCE, self.consumer.recv()).await;
        let message = received.unwrap_or_else(|_| panic!("no record on {} within {PATIENCE:?}", self.topic));
        let message = message.expect("the broker answers");
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        Record {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
                .collect(),
        }
    }
}

/// How many records a topic holds.
pub fn count(topic: &str) -> i64 {
    let client: BaseConsumer = config().create().expect("a client");
    let watermarks = |partition| {
        client
            .fetch_watermarks(topic, partition as i32, PATIENCE)
            .expect("the broker answers")
    };
    (0..partitions(topic))
        .map(watermarks)
        .map(|(low, high)| high - low)
        .sum()
}

/// Waits until a topic holds this many records.
pub async fn wait_for_count(topic: &str, records: i64) {
    eventually(&format!("{records} records on {topic}"), async || match count(topic) {
        found if found == records => Ok(()),
        found => Err(format!("{found}")),
    })
    .await;
}

/// The sum of a group's committed offsets over a topic's partitions.
pub fn committed(group: &str, topic: &str) -> i64 {
    let client: BaseConsumer = config().set("group.id", group).create().expect("a client");
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range(topic, 0, partitions(topic) as i32 - 1);
    let offsets = client
        .committed_offsets(asked, Duration::from_secs(10))
        .expect("the broker answers");
    offsets
        .elements()
        .iter()
        .filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        })
        .sum()
}

/// Waits until a group has committed this many records.
pub async fn wait_for_commit(group: &str, topic: &str, records: i64) {
    eventually(&format!("{group} commits {records}"), async || {
        match committed(group, topic) {
            found if found == records => Ok(()),
            found => Err(format!("{found}")),
        }
    })
    .await;
}
