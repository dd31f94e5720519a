//! The configuration of each client; the only place that names librdkafka's keys. What a key means stands in
//! <https://github.com/confluentinc/librdkafka/blob/v2.12.1/CONFIGURATION.md>, and why it is set, here.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use crate::kafka::client::oauth;
use crate::kafka::client::oidc::{self, ClientCredentials};
use crate::kafka::client::statistics;
use crate::kafka::config::Kafka;
use crate::kafka::producer::linger::LINGER;

/// A producer drops what it could not deliver after the longest configured timeout, but no sooner than this: a broker election takes
/// several seconds, and with idempotence each expiry drains every partition (`rdkafka_broker.c:3921`).
const SHORTEST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(15);

/// A producer's queue has at least this many places: few requests in flight can still be many a second.
const LEAST_QUEUED: usize = 1000;

/// How long Kafka may take for a piece of a body before its client is told to try again: a broker that restarts takes less.
const BODY_PIECE_WITHIN: Duration = Duration::from_secs(30);

/// How long a transaction of `dlq redrive` may stay open; a batch takes milliseconds.
const REDRIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long batches linger, by the name that we set.
const LINGER_MS: &str = "linger.ms";
/// librdkafka's other name for it.
const OTHER_LINGER_MS: &str = "queue.buffering.max.ms";

/// Properties that decide whether requests are lost; `kafka.properties` may not name them.
pub const OWNED: &[&str] = &[
    "group.id",
    "group.instance.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "delivery.report.only.error",
    "enable.gapless.guarantee",
    // They decide whether an acknowledged record is stored, once, and in order.
    "acks",
    "request.required.acks",
    "enable.idempotence",
    // They decide whether records of an interrupted redrive are executed.
    "isolation.level",
    "transactional.id",
    // It decides whether a topic comes into being because a client named it.
    "allow.auto.create.topics",
];

/// The operator's properties that librdkafka does not take, each with its reason, and without its value, which may be a secret.
pub fn refused(kafka: &Kafka) -> Vec<(String, String)> {
    let refused = |(name, value): (&String, &String)| {
        let KafkaError::ClientConfig(_, reason, ..) =
            ClientConfig::new().set(name, value).create_native_config().err()?
        else {
            return None;
        };
        let reason = reason.replace(value.as_str(), "…");
        Some((name.clone(), format!("librdkafka refuses it: {}", reason.trim())))
    };
    let is_oidc = oidc::is_wanted(&kafka.properties);
    let librdkafkas = kafka
        .properties
        .iter()
        .filter(|(name, _)| !is_oidc || !oidc::takes(name));
    let ours = is_oidc
        .then(|| ClientCredentials::of(&kafka.properties).err())
        .flatten();
    let ours = ours.map(|(name, problem)| (name.to_owned(), problem.to_owned()));
    librdkafkas.filter_map(refused).chain(ours).collect()
}

/// Can a change of this property be taken over by a running process?
pub fn is_replaceable(name: &str, kafka: &Kafka) -> bool {
    oidc::is_wanted(&kafka.properties) && oidc::takes(name)
}

/// What every client shares.
fn common(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &kafka.bootstrap_servers)
        .set("client.id", "actix-khp")
        // The default of 300,000 hides new partitions and recreated topics for five minutes.
        .set("topic.metadata.refresh.interval.ms", "5000")
        // A hung broker must be noticed well inside a request's deadline (default 60,000).
        .set("socket.timeout.ms", "6000")
        // A broker that comes back is found at once (default 10,000).
        .set("reconnect.backoff.max.ms", "1000")
        // Topics are created by `admin`, with the configured partitions, never by a metadata request.
        .set("allow.auto.create.topics", "false");
    config
}

/// Lays the operator's properties over ours. Where tokens are to be got, waits for the first one.
fn finish(mut config: ClientConfig, kafka: &Kafka) -> ClientConfig {
    oauth::start(&kafka.properties);
    let is_oidc = oidc::is_wanted(&kafka.properties);
    for (key, value) in kafka.properties.iter().filter(|(key, _)| !is_oidc || !oidc::takes(key)) {
        config.set(key, value);
    }
    // A property of two names. An operator's goes by the other one than ours, which it replaces: `lingering` tells them apart by that.
    for name in [LINGER_MS, OTHER_LINGER_MS] {
        if let Some(value) = kafka.properties.get(name) {
            config.remove(LINGER_MS);
            config.set(OTHER_LINGER_MS, value);
        }
    }
    // A kafka.properties that moves to KIP-848 makes librdkafka refuse what the broker decides there.
    if config.get("group.protocol") == Some("consumer") {
        for key in [
            "session.timeout.ms",
            "heartbeat.interval.ms",
            "partition.assignment.strategy",
        ] {
            config.remove(key);
        }
    }
    config
}

/// What the metrics of librdkafka are made of.
fn with_statistics(mut config: ClientConfig) -> ClientConfig {
    config.set("statistics.interval.ms", statistics::INTERVAL.as_millis().to_string());
    config
}

/// For a consumer that is not polled between its turns, where its statistics would pile up; or that lives for one reading, and would be
/// one more client each time.
fn without_statistics(mut config: ClientConfig) -> ClientConfig {
    config.set("statistics.interval.ms", "0");
    config
}

fn producer(kafka: &Kafka, longest_timeout: Duration) -> ClientConfig {
    let mut config = with_statistics(common(kafka));
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("request.timeout.ms", "5000")
        .set(
            "message.timeout.ms",
            longest_timeout.max(SHORTEST_MESSAGE_TIMEOUT).as_millis().to_string(),
        )
        // How long records wait for a topic that is not known. Nobody hears of a deleted topic before that (default 30,000).
        .set("topic.metadata.propagation.max.ms", "5000")
        // Reports of success, too: `producer::gate` counts them, and on the processor offsets wait for them.
        .set("delivery.report.only.error", "false")
        // Lingering would delay each request. Batches form while another batch is under way (`producer::gate`), and linger where that is
        // worth it (`producer::linger`).
        .set(LINGER_MS, "0")
        // librdkafka puts one partition into each produce request. So records without a key stay on one partition for this long: spread at
        // random, they would make as many requests as there are partitions. For much longer, all load would go to one processor after the
        // other. Without the key (twice linger.ms), as with 0, they are spread at random.
        .set("sticky.partitioning.linger.ms", "10")
        // The next batch grows while one is under way (`producer::gate`).
        .set("max.in.flight.requests.per.connection", "1")
        // As Java clients hash keys, so that a key lands on the same partition from both.
        .set("partitioner", "murmur2_random");
    config
}

/// The largest record this producer sends, in bytes.
pub fn max_record(producer: &ClientConfig) -> usize {
    bytes(producer, "message.max.bytes")
}

/// The largest batch of several records that it sends, in bytes.
pub fn max_batch(producer: &ClientConfig) -> usize {
    bytes(producer, "batch.size").min(max_record(producer))
}

/// The same producer with smaller batches.
pub fn with_max_batch(producer: &ClientConfig, bytes: usize) -> ClientConfig {
    let mut config = producer.clone();
    config.set("batch.size", bytes.max(1).to_string());
    config
}

/// The same producer, whose batches linger; `None`: the operator has decided how long they do.
pub fn lingering(producer: &ClientConfig) -> Option<ClientConfig> {
    producer.get(LINGER_MS)?;
    let mut config = producer.clone();
    config.set(LINGER_MS, LINGER.as_millis().to_string());
    Some(config)
}

/// How many records it queues at most.
pub fn max_queued(producer: &ClientConfig) -> usize {
    number(producer, "queue.buffering.max.messages", 100_000)
}

/// A size, or librdkafka's default, which is the same for both.
fn bytes(producer: &ClientConfig, key: &str) -> usize {
    number(producer, key, 1_000_000)
}

/// What is not a number is refused later, by librdkafka itself.
fn number(producer: &ClientConfig, key: &str, default: usize) -> usize {
    producer
        .get(key)
        .and_then(|number| number.parse().ok())
        .unwrap_or(default)
}

/// The proxy's producer. While Kafka takes nothing, its queue fills with the records of requests in flight and of those whose clients have
/// given up. Their number is limited here, their bytes by librdkafka's default (queue.buffering.max.kbytes, 1 GiB).
pub fn request_producer(kafka: &Kafka, longest_timeout: Duration, max_pending: usize) -> ClientConfig {
    let mut config = producer(kafka, longest_timeout);
    // Twice: a reply may come before the acknowledgement of its request, which is in the queue until then.
    let queued = max_pending.saturating_mul(2).clamp(LEAST_QUEUED, i32::MAX as usize);
    config.set("queue.buffering.max.messages", queued.to_string());
    finish(config, kafka)
}

/// The producer of large bodies of requests. How much it queues is bounded by each body's window, and by the bytes that a proxy holds.
pub fn body_producer(kafka: &Kafka) -> ClientConfig {
    finish(producer(kafka, BODY_PIECE_WITHIN), kafka)
}

/// A consumer of large bodies: assigned by hand to a range of one partition, and used for one body after the other.
pub fn body_reader(kafka: &Kafka) -> ClientConfig {
    let mut config = reply_consumer(kafka);
    config
        .set("group.id", "actix-khp-bodies")
        // A piece that retention has removed must not be passed over.
        .set("auto.offset.reset", "error")
        // What is fetched ahead of a backend that reads slowly. With the answer under way, and a backend's pieces, that is what a body takes.
        .set("queued.max.messages.kbytes", "1024")
        .set("fetch.wait.max.ms", "10");
    without_statistics(finish(config, kafka))
}

/// A consumer of whole results topics. What is fetched ahead of the index is bounded: results may be many, and large.
pub fn results_reader(kafka: &Kafka) -> ClientConfig {
    let mut config = reply_consumer(kafka);
    config
        .set("queued.max.messages.kbytes", "8192")
        .set("queued.min.messages", "1000");
    finish(config, kafka)
}

/// A consumer of single results, used for one after the other as that of large bodies.
pub fn result_fetcher(kafka: &Kafka) -> ClientConfig {
    body_reader(kafka)
}

/// The processor's producer.
pub fn reply_producer(kafka: &Kafka, longest_timeout: Duration) -> ClientConfig {
    finish(producer(kafka, longest_timeout), kafka)
}

/// The proxy's consumer: assigned by hand at numeric offsets, no group membership.
pub fn reply_consumer(kafka: &Kafka) -> ClientConfig {
    let mut config = with_statistics(common(kafka));
    config
        // assign() refuses to work without one (rdkafka_subscription.c:109); nothing is ever committed under it.
        .set("group.id", "actix-khp-replies")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Out of range: extra records are filtered by id, skipped ones would be lost.
        .set("auto.offset.reset", "earliest")
        // By default, a full local queue stops fetching for a second (librdkafka#2879), and a change of leader for half a second.
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.error.backoff.ms", "50")
        // A topic that was just opened is fetched only when the fetch under way has been answered (default 500).
        .set("fetch.wait.max.ms", "100");
    finish(config, kafka)
}

/// The reader of remembered keys: assigned by hand from the beginning to the end.
pub fn memory_reader(kafka: &Kafka) -> ClientConfig {
    let mut config = reply_consumer(kafka);
    config
        .set("group.id", "actix-khp-memory")
        // Where the last records were compacted away, only this shows the end.
        .set("enable.partition.eof", "true")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.wait.max.ms", "10");
    without_statistics(finish(config, kafka))
}

/// The reader of dead letters: assigned by hand from the beginning to the end.
pub fn dead_letter_reader(kafka: &Kafka) -> ClientConfig {
    let mut config = reply_consumer(kafka);
    config
        .set("enable.partition.eof", "true")
        // An empty partition shows its end only after such a wait (default 500).
        .set("fetch.wait.max.ms", "10")
        // The marks of an interrupted redrive do not count.
        .set("isolation.level", "read_committed");
    without_statistics(config)
}

/// The producer that redrives the letters of one topic. Starting it aborts the open transaction of an earlier one, and fences that one.
pub fn redrive_producer(kafka: &Kafka, dead_letter_topic: &str) -> ClientConfig {
    // If the producer is killed, readers of its partitions wait until the broker aborts the transaction.
    let timeout = REDRIVE_TIMEOUT.as_millis().to_string();
    let mut config = finish(producer(kafka, REDRIVE_TIMEOUT), kafka);
    config
        .set("transactional.id", format!("actix-khp-redrive-{dead_letter_topic}"))
        .set("transaction.timeout.ms", &timeout)
        .set("message.timeout.ms", &timeout);
    config
}

/// A processor's consumer of one request topic.
pub fn request_consumer(kafka: &Kafka, group: &str, instance: Option<&str>) -> ClientConfig {
    let mut config = with_statistics(common(kafka));
    config
        .set("group.id", group)
        // The pump commits: librdkafka would not commit the metadata of an offset that did not move.
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Heeded by the pump: what was answered but not committed runs again after a kill.
        .set("auto.commit.interval.ms", "200")
        // The pump names each offset to begin at. Where the log does not reach it any more, nothing of what there is must be lost.
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "3000")
        .set("partition.assignment.strategy", "cooperative-sticky")
        // How much is fetched ahead while intake is full or paused; per partition, since each has a queue of its own (default 65,536).
        .set("queued.max.messages.kbytes", "8192")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.error.backoff.ms", "50");
    if let Some(instance) = instance {
        config.set("group.instance.id", instance);
    }
    finish(config, kafka)
}

#[cfg(test)]
mod tests;
