//! The one place of librdkafka's keys. Each is explained in
//! <https://github.com/confluentinc/librdkafka/blob/v2.12.1/CONFIGURATION.md>; here stands why we set it.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use crate::settings::{Kafka, Start};

/// A producer drops what it could not deliver after the longest configured timeout, but no sooner than this: a broker election takes
/// several seconds, and with idempotence each expiry drains every partition (`rdkafka_broker.c:3921`).
const SHORTEST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(15);

/// Properties that decide whether requests are lost; `kafka.properties` may not name them.
pub const OWNED: &[&str] = &[
    "group.id",
    "group.instance.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "delivery.report.only.error",
    "enable.gapless.guarantee",
    "transactional.id",
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
    kafka.properties.iter().filter_map(refused).collect()
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

/// Lays the operator's properties over ours.
fn finish(mut config: ClientConfig, kafka: &Kafka) -> ClientConfig {
    for (key, value) in &kafka.properties {
        config.set(key, value);
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

fn producer(kafka: &Kafka, longest_timeout: Duration) -> ClientConfig {
    let mut config = common(kafka);
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("request.timeout.ms", "5000")
        .set(
            "message.timeout.ms",
            longest_timeout.max(SHORTEST_MESSAGE_TIMEOUT).as_millis().to_string(),
        )
        // A request waits for its answer: batches form while the one produce request is under way, never by lingering.
        .set("linger.ms", "0")
        .set("sticky.partitioning.linger.ms", "0")
        .set("max.in.flight.requests.per.connection", "1")
        // As Java clients hash keys, so that a key lands on the same partition from both.
        .set("partitioner", "murmur2_random");
    config
}

/// The largest record this producer sends, in bytes.
pub fn max_record(producer: &ClientConfig) -> usize {
    // librdkafka's default; it says no itself, later, to a value that is not a number.
    producer
        .get("message.max.bytes")
        .and_then(|bytes| bytes.parse().ok())
        .unwrap_or(1_000_000)
}

/// The proxy's producer: it hears of failures only, since the reply is the success signal.
pub fn request_producer(kafka: &Kafka, longest_timeout: Duration) -> ClientConfig {
    let mut config = producer(kafka, longest_timeout);
    config.set("delivery.report.only.error", "true");
    finish(config, kafka)
}

/// The processor's producer: a report for every reply, because offsets wait for it.
pub fn reply_producer(kafka: &Kafka, longest_timeout: Duration) -> ClientConfig {
    finish(producer(kafka, longest_timeout), kafka)
}

/// The proxy's consumer: assigned by hand at numeric offsets, no group membership.
pub fn reply_consumer(kafka: &Kafka) -> ClientConfig {
    let mut config = common(kafka);
    config
        // assign() refuses to work without one (rdkafka_subscription.c:109); nothing is ever committed under it.
        .set("group.id", "actix-khp-replies")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Out of range: extra records are filtered by id, skipped ones would be lost.
        .set("auto.offset.reset", "earliest")
        // A full local queue must not stop fetching for the default second (librdkafka#2879), nor a leader change for half of one.
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.error.backoff.ms", "50");
    finish(config, kafka)
}

/// A processor's consumer of one request topic.
pub fn request_consumer(kafka: &Kafka, group: &str, instance: Option<&str>, start: Start) -> ClientConfig {
    let mut config = common(kafka);
    config
        .set("group.id", group)
        // We store an offset once its reply is acknowledged; librdkafka commits what is stored.
        .set("enable.auto.commit", "true")
        .set("enable.auto.offset.store", "false")
        // What was answered but not committed runs again after a kill.
        .set("auto.commit.interval.ms", "200")
        // The default END loses what came before a group's first assignment.
        .set(
            "auto.offset.reset",
            if start == Start::Earliest { "earliest" } else { "latest" },
        )
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "3000")
        .set("partition.assignment.strategy", "cooperative-sticky")
        // Per partition, since each has its queue: what is fetched ahead of a full or paused intake (default 65,536).
        .set("queued.max.messages.kbytes", "8192")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.error.backoff.ms", "50");
    if let Some(instance) = instance {
        config.set("group.instance.id", instance);
    }
    finish(config, kafka)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn kafka(properties: &[(&str, &str)]) -> Kafka {
        Kafka {
            bootstrap_servers: "127.0.0.1:9".into(),
            properties: properties
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect::<BTreeMap<_, _>>(),
        }
    }

    /// What librdkafka itself says the property is, after it took the whole configuration.
    #[track_caller]
    fn effective(config: &ClientConfig, expected: &[(&str, &str)]) {
        let native = config.create_native_config().unwrap();
        for (key, value) in expected {
            assert_eq!(native.get(key).unwrap(), *value, "{key}");
        }
    }

    const EVERYWHERE: &[(&str, &str)] = &[
        ("topic.metadata.refresh.interval.ms", "5000"),
        ("socket.timeout.ms", "6000"),
        ("reconnect.backoff.max.ms", "1000"),
        ("allow.auto.create.topics", "false"),
    ];

    #[test]
    fn producers_wait_for_every_replica_and_never_duplicate() {
        for (config, failures_only) in [
            (request_producer(&kafka(&[]), Duration::from_secs(30)), "true"),
            (reply_producer(&kafka(&[]), Duration::from_secs(30)), "false"),
        ] {
            effective(&config, EVERYWHERE);
            effective(
                &config,
                &[
                    ("acks", "-1"),
                    ("enable.idempotence", "true"),
                    ("request.timeout.ms", "5000"),
                    ("message.timeout.ms", "30000"),
                    ("delivery.report.only.error", failures_only),
                ],
            );
        }
        effective(
            &request_producer(&kafka(&[]), Duration::from_secs(1)),
            &[("message.timeout.ms", "15000")],
        );
    }

    #[test]
    fn request_groups_start_early_and_commit_what_was_stored() {
        let config = request_consumer(&kafka(&[]), "g", None, Start::Earliest);
        effective(&config, EVERYWHERE);
        effective(
            &config,
            &[
                ("group.id", "g"),
                ("auto.offset.reset", "smallest"),
                ("enable.auto.commit", "true"),
                ("enable.auto.offset.store", "false"),
                ("auto.commit.interval.ms", "200"),
                ("session.timeout.ms", "10000"),
                ("heartbeat.interval.ms", "3000"),
                ("partition.assignment.strategy", "cooperative-sticky"),
            ],
        );
        effective(
            &request_consumer(&kafka(&[]), "g", Some("a-0"), Start::Latest),
            &[("auto.offset.reset", "largest"), ("group.instance.id", "a-0")],
        );
    }

    #[test]
    fn replies_are_read_without_a_commit() {
        let config = reply_consumer(&kafka(&[]));
        effective(&config, EVERYWHERE);
        effective(
            &config,
            &[("enable.auto.commit", "false"), ("auto.offset.reset", "smallest")],
        );
    }

    #[test]
    fn kip_848_leaves_out_the_keys_it_refuses() {
        let config = request_consumer(&kafka(&[("group.protocol", "consumer")]), "g", None, Start::Earliest);
        assert_eq!(config.get("session.timeout.ms"), None);
        assert_eq!(config.get("partition.assignment.strategy"), None);
        effective(&config, &[("group.protocol", "consumer")]);
    }

    #[test]
    fn what_librdkafka_refuses_is_told_by_name_and_all_at_once() {
        let kafka = kafka(&[
            ("securty.protocol", "ssl"),
            ("security.protocol", "s3cret"),
            ("linger.ms", "1"),
        ]);
        let refused = refused(&kafka);
        let names: Vec<&str> = refused.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["security.protocol", "securty.protocol"]);
        assert!(
            refused.iter().all(|(_, reason)| !reason.contains("s3cret")),
            "{refused:?}"
        );
    }

    #[test]
    fn the_operators_properties_come_last() {
        let config = request_producer(
            &kafka(&[("linger.ms", "3"), ("socket.timeout.ms", "7000")]),
            Duration::from_secs(30),
        );
        effective(&config, &[("linger.ms", "3"), ("socket.timeout.ms", "7000")]);
    }
}
