//! Records written and read past the service: what a foreign client of Kafka would do, and see.

use std::ffi::CString;
use std::os::raw::c_void;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedHeaders, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::topics::{config, off_thread, partitions};
use super::wait::{PATIENCE, eventually};

/// A record header to be written: name and value.
pub type Header<'a> = (&'a str, &'a [u8]);

/// A record to be written, its key null: value and headers.
pub type Written = (Vec<u8>, Vec<(String, Vec<u8>)>);

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

/// Writes a record without a key to a partition.
pub async fn produce(topic: &str, partition: i32, value: &[u8], headers: &[Header<'_>]) {
    produce_with_key(topic, partition, None, value, headers).await;
}

/// Writes a record to a partition.
pub async fn produce_with_key(topic: &str, partition: i32, key: Option<&str>, value: &[u8], headers: &[Header<'_>]) {
    let producer: FutureProducer = config().create().expect("a producer");
    let mut owned = OwnedHeaders::new();
    for (key, value) in headers {
        owned = owned.insert(rdkafka::message::Header {
            key,
            value: Some(*value),
        });
    }
    let mut record = FutureRecord::<str, [u8]>::to(topic)
        .partition(partition)
        .payload(value)
        .headers(owned);
    record.key = key;
    producer
        .send(record, PATIENCE)
        .await
        .unwrap_or_else(|(error, _)| panic!("{topic}: {error}"));
}

/// Writes many records to a partition, in order.
pub async fn produce_all(topic: &str, partition: i32, records: impl IntoIterator<Item = Written>) {
    let producer: FutureProducer = config().create().expect("a producer");
    let mut sent = Vec::new();
    for (value, headers) in records {
        let mut owned = OwnedHeaders::new_with_capacity(headers.len());
        for (key, value) in &headers {
            owned = owned.insert(rdkafka::message::Header {
                key,
                value: Some(value),
            });
        }
        let record = FutureRecord::<(), [u8]>::to(topic)
            .partition(partition)
            .payload(&value)
            .headers(owned);
        sent.push(
            producer
                .send_result(record)
                .unwrap_or_else(|(error, _)| panic!("{topic}: {error}")),
        );
    }
    for report in sent {
        let report = report.await.expect("the producer lives");
        report.unwrap_or_else(|(error, _)| panic!("{topic}: {error}"));
    }
}

/// A well-formed POST that nobody waits for, whose body is also its correlation id.
pub fn job(body: String) -> Written {
    let body = body.into_bytes();
    let headers = [
        ("khp-version", b"1".to_vec()),
        ("kafka_correlationId", body.clone()),
        (":method", b"POST".to_vec()),
        (":path", b"/job".to_vec()),
    ];
    (body, headers.map(|(name, value)| (name.to_owned(), value)).into())
}

/// A well-formed POST whose client gave it up: its deadline passed ten seconds ago, more than clocks may differ.
pub fn expired(body: String) -> Written {
    let (body, mut headers) = job(body);
    let deadline = UNIX_EPOCH.elapsed().expect("after 1970").as_millis() - 10_000;
    for (name, value) in [("khp-deadline", deadline), ("khp-timeout", 1000)] {
        headers.push((name.to_owned(), value.to_string().into_bytes()));
    }
    (body, headers)
}

/// Waits until nobody waits for a request any more, by any clock: its deadline has passed, and with it the tolerance for clocks that
/// disagree (2 s).
pub async fn wait_until_expired(request: &Record) {
    let deadline: u128 = request.header_text("khp-deadline").parse().expect("a number");
    eventually("expired", async || {
        match UNIX_EPOCH.elapsed().expect("after 1970").as_millis() {
            now if now > deadline + 2500 => Ok(()),
            now => Err(format!("{now}")),
        }
    })
    .await;
}

/// Writes a well-formed request that nobody waits for: no deadline, no reply topic.
pub async fn produce_job(topic: &str, partition: i32, key: Option<&str>, method: &str, body: &str) {
    let headers: [Header<'_>; 4] = [
        ("khp-version", b"1"),
        ("kafka_correlationId", body.as_bytes()),
        (":method", method.as_bytes()),
        (":path", b"/job"),
    ];
    produce_with_key(topic, partition, key, body.as_bytes(), &headers).await;
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
        Self::with(topic, &[])
    }

    fn with(topic: &str, properties: &[(&str, &str)]) -> Self {
        let mut config = config();
        config.set("group.id", "unused").set("enable.auto.commit", "false");
        for (name, value) in properties {
            config.set(*name, *value);
        }
        let consumer: StreamConsumer = config.create().expect("a consumer");
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
        self.try_next()
            .await
            .unwrap_or_else(|| panic!("no record on {} within {PATIENCE:?}", self.topic))
    }

    /// The next record with this value.
    pub async fn next_with(&self, value: &str) -> Record {
        loop {
            let record = self.next().await;
            if record.value.as_deref() == Some(value.as_bytes()) {
                return record;
            }
        }
    }

    /// The next record, if one comes in time.
    pub async fn try_next(&self) -> Option<Record> {
        let received = tokio::time::timeout(PATIENCE, self.consumer.recv()).await;
        Some(record(&received.ok()?.expect("the broker answers")))
    }
}

/// Reads a topic on and on, from its beginning.
pub struct Follower {
    reader: Reader,
    client: Arc<BaseConsumer>,
    /// By partition, the offset after the last record read.
    next: Vec<i64>,
}

impl Follower {
    /// Follows all partitions of a topic that exists.
    pub fn open(topic: &str) -> Self {
        Follower {
            reader: Reader::open(topic),
            client: Arc::new(config().create().expect("a client")),
            next: vec![0; partitions(topic)],
        }
    }

    /// The records since the last look, with all that are there when it is called.
    pub async fn up_to_now(&mut self) -> Vec<Record> {
        let (client, partitions) = (self.client.clone(), 0..self.next.len());
        let ends: Vec<i64> = off_thread(&self.reader.topic, move |topic| {
            let end = |partition| {
                let watermarks = client.fetch_watermarks(topic, partition as i32, PATIENCE);
                watermarks.expect("the broker answers").1
            };
            partitions.map(end).collect()
        })
        .await;
        let mut records = Vec::new();
        while self.next.iter().zip(&ends).any(|(next, end)| next < end) {
            let record = self.reader.next().await;
            self.next[record.partition as usize] = record.offset + 1;
            records.push(record);
        }
        records
    }
}

/// Every record that a topic holds now, partition by partition; what no consumer is shown (of transactions that were broken off) is not
/// among them.
pub async fn read_all(topic: &str) -> Vec<Record> {
    let partitions = partitions(topic);
    let reader = Reader::with(topic, &[("enable.partition.eof", "true"), ("fetch.wait.max.ms", "10")]);
    let (mut records, mut ended) = (Vec::new(), 0);
    while ended < partitions {
        let received = tokio::time::timeout(PATIENCE, reader.consumer.recv()).await;
        match received.unwrap_or_else(|_| panic!("no end of {topic} within {PATIENCE:?}")) {
            Ok(message) => records.push(record(&message)),
            Err(KafkaError::PartitionEOF(_)) => ended += 1,
            Err(error) => panic!("{topic}: {error}"),
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

fn record(message: &impl Message<Headers = BorrowedHeaders>) -> Record {
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
