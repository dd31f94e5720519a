//! What librdkafka itself says of each client's configuration.

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
    for config in [
        request_producer(&kafka(&[]), Duration::from_secs(30), 9),
        reply_producer(&kafka(&[]), Duration::from_secs(30)),
    ] {
        effective(&config, EVERYWHERE);
        effective(
            &config,
            &[
                ("acks", "-1"),
                ("enable.idempotence", "true"),
                ("request.timeout.ms", "5000"),
                ("message.timeout.ms", "30000"),
                ("topic.metadata.propagation.max.ms", "5000"),
                ("delivery.report.only.error", "false"),
            ],
        );
    }
    effective(
        &request_producer(&kafka(&[]), Duration::from_secs(1), 700),
        &[
            ("message.timeout.ms", "15000"),
            ("queue.buffering.max.messages", "1400"),
        ],
    );
}

#[test]
fn request_groups_never_skip_and_leave_commits_to_the_pump() {
    let config = request_consumer(&kafka(&[]), "g", None);
    effective(&config, EVERYWHERE);
    effective(
        &config,
        &[
            ("group.id", "g"),
            ("auto.offset.reset", "smallest"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.commit.interval.ms", "200"),
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "3000"),
            ("partition.assignment.strategy", "cooperative-sticky"),
        ],
    );
    effective(
        &request_consumer(&kafka(&[]), "g", Some("a-0")),
        &[("group.instance.id", "a-0")],
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
fn readers_that_rest_between_their_turns_gather_no_statistics() {
    let eager = kafka(&[("statistics.interval.ms", "100")]);
    for config in [
        body_reader(&eager),
        result_fetcher(&eager),
        memory_reader(&eager),
        dead_letter_reader(&eager),
    ] {
        effective(&config, &[("statistics.interval.ms", "0")]);
    }
    effective(&reply_consumer(&kafka(&[])), &[("statistics.interval.ms", "5000")]);
}

#[test]
fn a_redrive_is_one_at_a_time_and_reads_what_counts() {
    let kafka = kafka(&[("isolation.level", "read_uncommitted"), ("message.timeout.ms", "60000")]);
    effective(
        &redrive_producer(&kafka, "failed"),
        &[
            ("transactional.id", "actix-khp-redrive-failed"),
            ("transaction.timeout.ms", "10000"),
            ("message.timeout.ms", "10000"),
        ],
    );
    effective(
        &dead_letter_reader(&kafka),
        &[("isolation.level", "read_committed"), ("enable.auto.commit", "false")],
    );
}

#[test]
fn kip_848_leaves_out_the_keys_it_refuses() {
    let config = request_consumer(&kafka(&[("group.protocol", "consumer")]), "g", None);
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
fn what_is_ours_of_oauthbearer_is_checked_here_and_kept_from_librdkafka() {
    let oidc = |rest: &[(&str, &str)]| {
        let ours = [
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.oauthbearer.method", "oidc"),
            ("sasl.oauthbearer.client.id", "a"),
        ];
        kafka(&[&ours, rest].concat())
    };
    let refused_names = |kafka: &Kafka| refused(kafka).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(refused_names(&oidc(&[])), ["sasl.oauthbearer.token.endpoint.url"]);
    let whole = [
        ("sasl.oauthbearer.token.endpoint.url", "https://127.0.0.1:1/token"),
        ("sasl.oauthbearer.client.secret", "s3cret"),
    ];
    assert_eq!(refused_names(&oidc(&whole)), Vec::<String>::new());
    assert!(is_replaceable("sasl.oauthbearer.client.secret", &oidc(&whole)));
    assert!(!is_replaceable("sasl.password", &oidc(&whole)));
    // librdkafka's own, which it has only with libcurl.
    assert_eq!(
        refused_names(&oidc(&[&whole[..], &[("sasl.oauthbearer.extensions", "a=b")]].concat())).len(),
        1
    );
}

#[test]
fn the_operators_properties_come_last() {
    let config = request_producer(
        &kafka(&[("linger.ms", "3"), ("socket.timeout.ms", "7000")]),
        Duration::from_secs(30),
        9,
    );
    effective(&config, &[("linger.ms", "3"), ("socket.timeout.ms", "7000")]);
}
