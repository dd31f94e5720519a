//! Records of librdkafka alone, from a producer to a consumer, one way: the service's client settings, without the service.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use actix_khp::kafka::client::properties;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::clock;
use crate::error::Result;
use crate::outcome::Recorder;
use crate::role::raw::{POLL, Position, Reports, read};
use crate::{service, topics};

/// Bytes of a record of a large body, as the service cuts it.
const PIECE: u64 = 256 << 10;
/// Bytes on their way at most: enough for any throughput, and no gigabyte in the producer's queue.
const ON_THEIR_WAY: u64 = 64 << 20;
/// How long a producer without room waits.
const FULL: Duration = Duration::from_millis(1);

#[derive(clap::Args)]
pub struct RawPieces {
    /// The environment of the service, in JSON; the clients have the same settings
    #[arg(long)]
    env: String,
    #[arg(long)]
    topic: String,
    #[command(subcommand)]
    work: Work,
}

#[derive(clap::Subcommand)]
enum Work {
    /// Small records at a steady pace; a latency is the time from the sending of one to its arrival
    Events {
        #[arg(long)]
        rate: u64,
        #[arg(long)]
        size: usize,
        #[arg(long)]
        warm_up: f64,
        #[arg(long)]
        seconds: f64,
    },
    /// Records of 256 KiB as fast as they go; the latency is the time that all of them take
    Large {
        /// Bytes of them all
        #[arg(long)]
        size: u64,
        /// With the clients of request bodies instead of those of replies
        #[arg(long)]
        up: bool,
    },
}

impl RawPieces {
    pub fn run(self) -> Result<()> {
        let settings = service::settings(&serde_json::from_str(&self.env)?)?;
        let (kafka, timeout) = (&settings.kafka, settings.proxy.longest_timeout());
        let (producer, consumer) = match self.work {
            Work::Large { up: true, .. } => (properties::body_producer(kafka), properties::body_reader(kafka)),
            _ => (
                properties::reply_producer(kafka, timeout),
                properties::reply_consumer(kafka),
            ),
        };
        let producer: BaseProducer<Reports> = BaseProducer::from_config_and_context(&producer, Reports)?;
        topics::create(&settings, std::slice::from_ref(&self.topic))?;
        let consumer = read(&consumer, &self.topic, Some(0), Position::End)?;
        match self.work {
            Work::Events {
                rate,
                size,
                warm_up,
                seconds,
            } => {
                let pace = Duration::from_secs_f64(1.0 / rate.max(1) as f64);
                let topic = self.topic.clone();
                thread::spawn(move || keep_pace(&producer, &topic, pace, size));
                let [begin, length] = [warm_up, seconds].map(Duration::from_secs_f64);
                events(&consumer, begin, length)
            }
            Work::Large { size, .. } => {
                let came = Arc::new(AtomicU64::new(0));
                let (topic, so_far) = (self.topic.clone(), came.clone());
                let mut recorder = Recorder::new()?;
                recorder.begin();
                let began = Instant::now();
                thread::spawn(move || send_all(&producer, &topic, size, &so_far));
                while came.load(Ordering::Relaxed) < size {
                    if let Some(message) = consumer.poll(POLL).transpose()? {
                        came.fetch_add(message.payload_len() as u64, Ordering::Relaxed);
                    }
                }
                recorder.answered(began.elapsed());
                recorder.end()
            }
        }
    }
}

fn events(
    consumer: &BaseConsumer<impl rdkafka::consumer::ConsumerContext>,
    begin: Duration,
    length: Duration,
) -> Result<()> {
    let mut recorder = Recorder::new()?;
    let began = Instant::now();
    let mut is_measuring = false;
    while began.elapsed() < begin + length {
        let message = consumer.poll(POLL).transpose()?;
        let now = clock::now();
        if !is_measuring && began.elapsed() >= begin {
            is_measuring = true;
            recorder.begin();
        }
        let nanos = message
            .as_ref()
            .and_then(|message| message.payload()?.first_chunk().copied());
        if let Some(nanos) = nanos {
            recorder.answered(now.saturating_sub(Duration::from_nanos(u64::from_be_bytes(nanos))));
        }
    }
    recorder.end()
}

/// Sends a record for each turn, until the process is killed.
fn keep_pace(producer: &BaseProducer<Reports>, topic: &str, pace: Duration, size: usize) {
    let mut payload = vec![b'x'; size.max(8)];
    loop {
        payload[..8].copy_from_slice(&(clock::now().as_nanos() as u64).to_be_bytes());
        send(producer, topic, &payload);
        let next = Instant::now() + pace;
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            producer.poll(left);
        }
    }
}

fn send_all(producer: &BaseProducer<Reports>, topic: &str, size: u64, came: &AtomicU64) {
    let payload = vec![b'x'; PIECE as usize];
    let mut sent = 0;
    while sent < size {
        if sent - came.load(Ordering::Relaxed) > ON_THEIR_WAY {
            producer.poll(FULL);
            continue;
        }
        let length = PIECE.min(size - sent);
        send(producer, topic, &payload[..length as usize]);
        sent += length;
        producer.poll(Duration::ZERO);
    }
    let _ = producer.flush(Duration::from_secs(60));
}

fn send(producer: &BaseProducer<Reports>, topic: &str, payload: &[u8]) {
    let mut record: BaseRecord<'_, (), [u8]> = BaseRecord::to(topic).payload(payload).partition(0);
    while let Err((error, back)) = producer.send(record) {
        if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
            eprintln!("bench: raw: {error}");
            std::process::exit(1);
        }
        record = back;
        producer.poll(FULL);
    }
}
