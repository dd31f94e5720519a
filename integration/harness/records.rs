//! Records that a test writes and reads itself, as another client of Kafka would.

use std::ffi::CString;
use std::os::raw::c_void;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedHeaders, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::topics::{ask, config, partitions};
use super::wait::{PATIENCE, eventually, off_thread};

/// A record header to be written: name and value.
pub type Header<'a> = (&'a str, &'a [u8]);

/// A record to be written, with a null key: value and headers.
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

    /// The first header of this name as text; empty where there is none.
    pub fn header_text(&self, name: &str) -> String {
        String::from_utf8_lossy(self.header(name).unwrap_or_default()).into_owned()
    }

    /// The correlation id of a native request or reply.
    pub fn correlation_id(&self) -> &[u8] {
        self.header("kafka_correlationId").expect("a correlation id")
    }

    /// The partition on which a native request asks for its reply.
    pub fn reply_partition(&self) -> Option<i32> {
        let bytes = self.header("kafka_replyPartition")?;
        Some(i32::from_be_bytes(bytes.try_into().expect("four bytes")))
    }
}

/// Writes a record without a key to a partition.
pub async fn produce(topic: &str, partition: i32, value: &[u8], headers: &[Header<'_>]) {
    produce_with_key(topic, partition, None, value, headers).await;
}

/// Writes a record to a partition.
pub async fn produce_with_key(topic: &str, partition: i32, key: Option<&str>, value: &[u8], headers: &[Header<'_>]) {
    let producer: FutureProducer = config().create().expect("a producer");
    let mut record = FutureRecord::<str, [u8]>::to(topic)
        .partition(partition)
        .payload(value)
        .headers(owned(headers.iter().copied()));
    record.key = key;
    producer
        .send(record, PATIENCE)
        .await
        .unwrap_or_else(|(error, _)| panic!("{topic}: {error}"));
}

pub(super) fn owned<'a>(headers: impl Iterator<Item = Header<'a>>) -> OwnedHeaders {
    headers.fold(OwnedHeaders::new(), |owned, (key, value)| {
        owned.insert(rdkafka::message::Header {
            key,
            value: Some(value),
        })
    })
}

/// Writes many records to a partition, in order.
pub async fn produce_all(topic: &str, partition: i32, records: impl IntoIterator<Item = Written>) {
    let producer: FutureProducer = config().create().expect("a producer");
    let mut sent = Vec::new();
    for (value, headers) in records {
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let record = FutureRecord::<(), [u8]>::to(topic)
            .partition(partition)
            .payload(&value)
            .headers(owned(headers));
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

/// The headers of a native request: version, correlation id, method, path, and then `more`.
pub fn request_headers<'a>(
    id: &'a (impl AsRef<[u8]> + ?Sized),
    method: &'a str,
    path: &'a (impl AsRef<[u8]> + ?Sized),
    more: &[Header<'a>],
) -> Vec<Header<'a>> {
    let fixed: [Header<'a>; 4] = [
        ("khp-version", b"1"),
        ("kafka_correlationId", id.as_ref()),
        (":method", method.as_bytes()),
        (":path", path.as_ref()),
    ];
    [fixed.as_slice(), more].concat()
}

/// A record for `produce_all`.
pub fn written(value: impl Into<Vec<u8>>, headers: &[Header<'_>]) -> Written {
    let owned = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec()));
    (value.into(), owned.collect())
}

/// A well-formed POST without a deadline and a reply topic. Its body is also its correlation id.
pub fn job(body: String) -> Written {
    written(body.as_str(), &request_headers(&body, "POST", "/job", &[]))
}

/// A well-formed POST whose deadline passed ten seconds ago. That is more than clocks may differ.
pub fn expired(body: String) -> Written {
    let (body, mut headers) = job(body);
    let deadline = UNIX_EPOCH.elapsed().expect("after 1970").as_millis() - 10_000;
    for (name, value) in [("khp-deadline", deadline), ("khp-timeout", 1000)] {
        headers.push((name.to_owned(), value.to_string().into_bytes()));
    }
    (body, headers)
}

/// Waits until a request has expired by any clock: its deadline has passed, and the tolerance for clocks that disagree (2 s) too.
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

/// Writes a well-formed request without a deadline and a reply topic.
pub async fn produce_job(topic: &str, partition: i32, key: Option<&str>, method: &str, body: &str) {
    let headers = request_headers(body, method, "/job", &[]);
    produce_with_key(topic, partition, key, body.as_bytes(), &headers).await;
}

/// Writes a record with one header whose name is these bytes, UTF-8 or not. rdkafka has no safe call for it.
pub async fn produce_with_header_name(topic: &str, partition: i32, value: &[u8], name: &[u8]) {
    use rdkafka::bindings::{RD_KAFKA_MSG_F_COPY, rd_kafka_producev, rd_kafka_resp_err_t, rd_kafka_vtype_t as vtype};
    // A FutureProducer would expect a sender of its own with every record.
    let producer: BaseProducer = config().create().expect("a producer");
    let [topic, name] = [topic.as_bytes(), name].map(|text| CString::new(text).expect("no NUL"));
    // SAFETY: each argument follows its tag with the type that rdkafka.h documents for it; librdkafka copies all of them.
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
    let flushed = off_thread(move || producer.flush(PATIENCE)).await;
    flushed.expect("the record is written");
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

/// Reads a topic from its beginning, again and again.
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

    /// The records since the last call, up to the end that the topic has when this is called.
    pub async fn up_to_now(&mut self) -> Vec<Record> {
        let (client, partitions) = (self.client.clone(), 0..self.next.len());
        let ends: Vec<i64> = ask(&self.reader.topic, move |topic| {
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

/// Every record that a topic holds now, by partition. Records of aborted transactions are not among them, because no consumer sees them.
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
