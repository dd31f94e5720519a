//! A ping-pong of librdkafka alone: the service's records and its client settings, without the service. Two processes, each with one
//! thread beside those of librdkafka.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_khp::kafka::client::context::LogOnly;
use actix_khp::kafka::client::properties;
use actix_khp::kafka::record::raw_record;
use actix_khp::settings::Settings;
use actix_khp::wire::{RawRecord, headers};
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::error::Result;
use crate::outcome::Recorder;
use crate::protocol::READY;
use crate::{service, topics};

pub(super) const POLL: Duration = Duration::from_millis(100);
/// A broker answers well within this.
const PATIENCE: Duration = Duration::from_secs(20);

/// The topics of the ping-pong, and the records that it copies.
#[derive(Debug, Clone, clap::Args)]
pub struct Topics {
    /// The environment of the service, in JSON; the ping-pong has the same settings
    #[arg(long)]
    pub env: String,
    #[arg(long)]
    pub requests: String,
    #[arg(long)]
    pub replies: String,
    /// A topic with a record of the service; those of the ping-pong have the same headers and the same value
    #[arg(long)]
    pub like: String,
}

impl Topics {
    /// The flags from which a role parses these topics.
    pub fn arguments(&self) -> Vec<String> {
        let flags = [
            ("--env", &self.env),
            ("--requests", &self.requests),
            ("--replies", &self.replies),
            ("--like", &self.like),
        ];
        flags
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value.clone()])
            .collect()
    }

    fn settings(&self) -> Result<Settings> {
        service::settings(&serde_json::from_str(&self.env)?)
    }
}

/// Sends the next record for each that comes back.
#[derive(clap::Args)]
pub struct Requester {
    #[command(flatten)]
    topics: Topics,
    #[arg(long)]
    in_flight: usize,
    #[arg(long)]
    warm_up: f64,
    #[arg(long)]
    seconds: f64,
}

/// Sends a record back for each that arrives.
#[derive(clap::Args)]
pub struct Echoer {
    #[command(flatten)]
    topics: Topics,
}

impl Requester {
    pub fn run(self) -> Result<()> {
        let settings = self.topics.settings()?;
        let config = properties::request_producer(
            &settings.kafka,
            settings.proxy.longest_timeout(),
            settings.proxy.max_pending,
        );
        let producer: BaseProducer<Reports> = BaseProducer::from_config_and_context(&config, Reports)?;
        let template = Template::like(&self.topics.like, &settings)?;
        let replies = properties::reply_consumer(&settings.kafka);
        let consumer = read(&replies, &self.topics.replies, template.reply_partition, Position::End)?;
        let mut recorder = Recorder::new()?;
        let mut sent = vec![Instant::now(); self.in_flight];
        let send = |slot: usize, sent: &mut [Instant]| -> Result<()> {
            sent[slot] = Instant::now();
            template.send(&producer, &self.topics.requests, None, &template.id_of(slot))
        };
        (0..self.in_flight).try_for_each(|slot| send(slot, &mut sent))?;
        let begin = Instant::now() + Duration::from_secs_f64(self.warm_up);
        let end = begin + Duration::from_secs_f64(self.seconds);
        let mut measuring = false;
        loop {
            let message = consumer.poll(POLL).transpose()?;
            let now = Instant::now();
            if !measuring && now >= begin {
                measuring = true;
                recorder.begin();
            }
            if now >= end {
                return recorder.end();
            }
            if let Some(slot) = message.as_ref().and_then(slot_of).filter(|slot| *slot < self.in_flight) {
                recorder.answered(now - sent[slot]);
                send(slot, &mut sent)?;
            }
            producer.poll(Duration::ZERO);
        }
    }
}

impl Echoer {
    pub fn run(self) -> Result<()> {
        let settings = self.topics.settings()?;
        let config = properties::reply_producer(&settings.kafka, settings.proxy.longest_timeout());
        let producer: BaseProducer<Reports> = BaseProducer::from_config_and_context(&config, Reports)?;
        topics::create(&settings, &[self.topics.requests.clone(), self.topics.replies.clone()])?;
        let template = Template::like(&self.topics.like, &settings)?;
        let mut config = properties::request_consumer(&settings.kafka, &self.topics.requests, None);
        // Commits cost it as much as they cost the processor, which makes them itself.
        config.set("enable.auto.commit", "true");
        let consumer: BaseConsumer<LogOnly> = BaseConsumer::from_config_and_context(&config, LogOnly)?;
        consumer.subscribe(&[&self.topics.requests])?;
        let mut assigned = false;
        loop {
            if let Some(message) = consumer.poll(POLL).transpose()? {
                let id = header(&message, template.id_header).ok_or("a request without an id")?;
                let partition = header(&message, headers::KAFKA_REPLY_PARTITION)
                    .and_then(|bytes| Some(i32::from_be_bytes(bytes.try_into().ok()?)));
                template.send(&producer, &self.topics.replies, partition, id)?;
                consumer.store_offset_from_message(&message)?;
            }
            producer.poll(Duration::ZERO);
            if !assigned && consumer.assignment()?.count() > 0 {
                assigned = true;
                println!("{READY} 0");
            }
        }
    }
}

/// Ends the run when Kafka does not take a record.
pub(super) struct Reports;

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            eprintln!("bench: raw: {error}");
            std::process::exit(1);
        }
    }
}

/// A record of the service, to be sent again and again under other ids.
struct Template {
    record: RawRecord,
    id_header: &'static str,
    id_length: usize,
    reply_partition: Option<i32>,
}

impl Template {
    /// Reads the first record of `topic`.
    fn like(topic: &str, settings: &Settings) -> Result<Self> {
        let config = properties::reply_consumer(&settings.kafka);
        let consumer = read(&config, topic, None, Position::Start)?;
        let began = Instant::now();
        let record = loop {
            if let Some(message) = consumer.poll(POLL).transpose()? {
                break raw_record(&message, &Arc::from(topic));
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("no record in {topic}").into());
            }
        };
        let value_of = |name: &str| record.headers.iter().find(|(key, _)| key == name.as_bytes());
        let (id_header, id) = [headers::KAFKA_CORRELATION_ID, headers::CORRELATION_ID]
            .into_iter()
            .find_map(|name| Some((name, value_of(name)?.1.as_ref()?)))
            .ok_or_else(|| format!("a record in {topic} without a correlation id"))?;
        let partition = value_of(headers::KAFKA_REPLY_PARTITION).and_then(|(_, bytes)| bytes.as_deref());
        Ok(Template {
            id_header,
            id_length: id.len(),
            reply_partition: partition.and_then(|bytes| Some(i32::from_be_bytes(bytes.try_into().ok()?))),
            record,
        })
    }

    fn id_of(&self, slot: usize) -> Vec<u8> {
        let mut id = (slot as u64).to_be_bytes().to_vec();
        id.resize(self.id_length, b'0');
        id
    }

    fn send(&self, producer: &BaseProducer<Reports>, topic: &str, partition: Option<i32>, id: &[u8]) -> Result<()> {
        let mut headers = OwnedHeaders::new_with_capacity(self.record.headers.len());
        for (key, value) in &self.record.headers {
            let key = std::str::from_utf8(key)?;
            let value = if key == self.id_header {
                Some(id)
            } else {
                value.as_deref()
            };
            headers = headers.insert(Header { key, value });
        }
        let payload = self.record.value.as_deref().unwrap_or_default();
        let mut record: BaseRecord<'_, (), [u8]> = BaseRecord::to(topic).payload(payload).headers(headers);
        record.partition = partition;
        producer.send(record).map_err(|(error, _)| error.into())
    }
}

/// Where to begin to read.
pub(super) enum Position {
    Start,
    End,
}

/// A consumer without a group, of one partition or of all. It has its position when this returns.
pub(super) fn read(
    config: &ClientConfig,
    topic: &str,
    partition: Option<i32>,
    from: Position,
) -> Result<BaseConsumer<LogOnly>> {
    let consumer: BaseConsumer<LogOnly> = BaseConsumer::from_config_and_context(config, LogOnly)?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let count = metadata
        .topics()
        .first()
        .map_or(0, |topic| topic.partitions().len() as i32);
    let mut list = TopicPartitionList::new();
    for number in partition.map_or(0..count, |one| one..one + 1) {
        let (low, high) = watermarks(&consumer, topic, number)?;
        let offset = match from {
            Position::Start => low,
            Position::End => high,
        };
        list.add_partition_offset(topic, number, Offset::Offset(offset))?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

/// The first offset of a partition, and the one past its last. One that was just created has no leader yet.
fn watermarks(consumer: &BaseConsumer<LogOnly>, topic: &str, partition: i32) -> Result<(i64, i64)> {
    let until = Instant::now() + PATIENCE;
    loop {
        match consumer.fetch_watermarks(topic, partition, PATIENCE) {
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::NotLeaderForPartition)) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(50));
            }
            found => return Ok(found?),
        }
    }
}

fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a [u8]> {
    message.headers()?.iter().find(|header| header.key == name)?.value
}

fn slot_of(message: &BorrowedMessage<'_>) -> Option<usize> {
    let id = header(message, headers::KAFKA_CORRELATION_ID).or_else(|| header(message, headers::CORRELATION_ID))?;
    Some(u64::from_be_bytes(id.get(..8)?.try_into().ok()?) as usize)
}
