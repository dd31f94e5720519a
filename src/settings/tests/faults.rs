//! What is refused, and how the operator is told.

use super::*;

#[test]
fn every_fault_is_reported_at_once() {
    let yaml = "
kafka: {bootstrap_servers: '', properties: {group.id: mine, sasl: {password: '${env:NOWHERE}'}}}
prot: 80
port: 70000
bind: localhost
default_timeout: soon
warmup_topics: [ok, __bad, 'a b']
max_pending: 0
max_body_size: 2 bananas
create_topics: {partitions: 0, replicas: 3}
log: verbose
topics:
  - request_topic: orders
    backend_url: http://user:hunter2@orders
    timout: 5
    start: now
  - backend_url: [http://a]
    response_topic: b
  - nonsense
";
    let expected = [
        "log: holds further keys, not a value",
        "create_topics.replicas: unknown key (nearest: ",
        "prot: unknown key (nearest: port)",
        "topics[0].timout: unknown key (nearest: timeout)",
        r#"kafka.bootstrap_servers: "" is not host:port"#,
        "kafka.properties.sasl.password: ${env:NOWHERE}: no such environment variable",
        "kafka.properties.group.id: is set by the service itself and cannot be changed",
        r#"bind: "localhost" is not an IP address"#,
        r#"port: "70000" is not a port, 0 to 65535"#,
        r#"default_timeout: "soon" is not a duration above 0 (seconds"#,
        r#"warmup_topics[1]: "__bad" is not a topic name"#,
        r#"warmup_topics[2]: "a b" is not a topic name"#,
        r#"max_pending: "0" is not a whole number, 1 or more"#,
        r#"max_body_size: "2 bananas" is not a size, 0 or more"#,
        r#"create_topics.partitions: "0" is not a whole number, 1 or more, or -1"#,
        r#"topics[0].backend_url: "http://…" is not an http:// or https:// URL"#,
        r#"topics[0].start: "now" is not earliest or latest"#,
        "topics[1].request_topic: is required",
        "topics[1].backend_url: is a single value, not a list",
        "topics[2]: is a mapping, not a value",
    ];
    let faults = faults(Mode::All, yaml, &[]);
    for start in expected {
        assert!(
            faults.iter().any(|fault| fault.starts_with(start)),
            "{start}\nis not among\n{}",
            faults.join("\n")
        );
    }
    assert_eq!(faults.len(), expected.len(), "{}", faults.join("\n"));
    assert!(!faults.iter().any(|fault| fault.contains("hunter2")));
}

#[test]
fn a_fault_is_not_said_again_of_those_that_take_the_setting_over() {
    let yaml = "
default_timeout: 0
idempotency_ttl: 0
async_timeout: 0
results_retention: 0
stream_idle_timeout: never
routes: [{path: /a}, {path: /b}]
";
    let faults = faults(Mode::Proxy, yaml, &[]);
    let keys: Vec<&str> = faults
        .iter()
        .filter_map(|fault| Some(fault.split_once(':')?.0))
        .collect();
    let expected = [
        "stream_idle_timeout",
        "default_timeout",
        "idempotency_ttl",
        "async_timeout",
        "results_retention",
    ];
    assert_eq!(keys, expected, "{faults:?}");
}

#[test]
fn a_fault_says_where_its_value_came_from() {
    let file = TempFile::new("yaml", "port: x\nprot: 1");
    let files = std::slice::from_ref(&file.0);
    let text = load(Mode::Proxy, files, &env(&[("MANAGEMENT_PORT", "y")]))
        .unwrap_err()
        .to_string();
    let path = file.0.display();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "invalid settings, 3 faults:");
    assert_eq!(lines[1], format!("  prot: unknown key (nearest: port) [{path}]"));
    assert_eq!(lines[2], format!("  port: \"x\" is not a port, 0 to 65535 [{path}]"));
    assert_eq!(
        lines[3],
        "  management_port: \"y\" is not a port, 0 to 65535 [MANAGEMENT_PORT]"
    );
}

#[test]
fn keys_that_are_none_and_values_that_are_not_allowed_are_told() {
    for key in ["mode: proxy", "concurrency: 5"] {
        assert_eq!(faults(Mode::Proxy, key, &[]).len(), 1, "{key}");
    }
    for (key, expected) in [
        ("order: key", "topics[0].order: unknown key (nearest: ordering)"),
        (
            "ordering: keys",
            "topics[0].ordering: \"keys\" is not unordered, key or partition",
        ),
        (
            "delivery: once",
            "topics[0].delivery: \"once\" is not at-least-once or at-most-once",
        ),
        ("retry: 3", "topics[0].retry: holds further keys, not a value"),
        (
            "retry: {on: [timeout, 200]}",
            "topics[0].retry.on[1]: \"200\" is not timeout, reset, or a status from 400",
        ),
        (
            "retry: {budget: 2}",
            "topics[0].retry.budget: \"2\" is not a number from 0 to 1",
        ),
        (
            "breaker: {mod: pause}",
            "topics[0].breaker.mod: unknown key (nearest: breaker.mode)",
        ),
        (
            "breaker: {failures: 0}",
            "topics[0].breaker.failures: \"0\" is not a whole number, 1 or more",
        ),
    ] {
        let yaml = ONE_TOPIC.replace("'}]", &format!("', {key}}}]"));
        let found = faults(Mode::Processor, &yaml, &[]);
        assert!(found[0].starts_with(expected), "{found:?}");
    }
    assert!(faults(Mode::Proxy, "", &[("KHP__PROT", "1")])[0].starts_with("prot: unknown key (nearest: port)"));
}

#[test]
fn files_that_cannot_be_read() {
    let broken = TempFile::new("toml", "[kafka]\nsasl_password = hunter2\n");
    let twice = TempFile::new("yaml", "port: 1\nport: 2");
    let list = TempFile::new("json", "[1]");
    let text = TempFile::new("ini", "a=b");
    let missing = PathBuf::from("/nowhere/khp.yaml");
    let files = [&broken.0, &twice.0, &list.0, &text.0, &missing].map(|path| path.clone());
    let error = load(Mode::Proxy, &files, &env(&[("PROXY_PORT", "x")])).unwrap_err();
    assert_eq!(error.faults.len(), 6, "{error}");
    assert_eq!(error.to_string().lines().count(), 7, "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(error.to_string().contains("/nowhere/khp.yaml: No such file"), "{error}");
}

/// One change to a file that is sound otherwise, and the one fault it leads to.
#[test]
fn rules_across_settings() {
    let two = |a: &str, b: &str| {
        format!(
            "topics: [{{request_topic: a, response_topic: a-res, backend_url: 'http://a', {a}}}, \
                      {{request_topic: b, response_topic: b-res, backend_url: 'http://b', {b}}}]"
        )
    };
    for (yaml, expected) in [
        (
            "max_pending: 10\nmax_pending_per_topic: 11".to_owned(),
            "max_pending_per_topic: 11 is above max_pending (10)",
        ),
        (
            "response_topic: common-requests".to_owned(),
            "response_topic: \"common-requests\" is the same as request_topic",
        ),
        (
            "warmup_topics: common-responses,common-requests".to_owned(),
            "warmup_topics: \"common-requests\" is the same as request_topic",
        ),
        (
            "routes: [{path: /a, request_topic: common-responses, response_topic: x}]".to_owned(),
            "warmup_topics: \"common-responses\" is the same as routes[0].request_topic",
        ),
        (
            "dead_letter_topic: common-requests".to_owned(),
            "dead_letter_topic: \"common-requests\" is the same as request_topic",
        ),
        (
            "drain_timeout: 5".to_owned(),
            "drain_timeout: 5s is not above pre_stop (5s)",
        ),
        (
            "pre_stop: 40".to_owned(),
            "drain_timeout: 40s is not above pre_stop (40s)",
        ),
        (
            "revoke_timeout: 300".to_owned(),
            "revoke_timeout: 5m is not below max.poll.interval.ms (5m)",
        ),
        (
            "max_pending_bytes: 999999".to_owned(),
            "max_pending_bytes: 999999 bytes are below the 1000000 of one body in a record (max_body_size, or message.max.bytes where that is less)",
        ),
        (
            "bodies_topic: common-responses".to_owned(),
            "bodies_topic: \"common-responses\" is the same as response_topic: pieces of bodies need a topic of their own",
        ),
        (
            "management_port: 8080".to_owned(),
            "management_port: 8080 is port already",
        ),
        (
            "topics: []".to_owned(),
            "topics: is empty, and a processor needs at least one topic",
        ),
        (
            "topics: orders".to_owned(),
            "topics: is a list of mappings; in the environment, KAFKA_TOPICS",
        ),
        (
            "kafka: {properties: plain}".to_owned(),
            "kafka.properties: is a mapping of librdkafka properties",
        ),
        (
            two("name: x", "name: x"),
            "topics[1].name: \"x\" is the name of topics[0] too",
        ),
        (
            two("consumer_group: g", "consumer_group: g, name: c").replace("request_topic: b", "request_topic: a"),
            "topics[1].consumer_group: \"g\" consumes \"a\" in topics[0] already",
        ),
        (
            two("workers: 1", "workers: 1").replace("b-res", "b"),
            "topics[1].response_topic: \"b\" is the same as topics[1].request_topic",
        ),
        (
            two("workers: 1", "workers: 1").replace("b-res", "a"),
            "topics[1].response_topic: \"a\" is the same as topics[0].request_topic",
        ),
        (
            two("workers: 1", "workers: 1") + "\ndead_letter_topic: b-res",
            "dead_letter_topic: \"b-res\" is the same as topics[1].response_topic",
        ),
        (
            two("workers: 0", "workers: 1"),
            "topics[0].workers: \"0\" is not a whole number, 1 or more",
        ),
        (
            two("workers: 1", "concurrency: 0"),
            "topics[1].concurrency: \"0\" is not a whole number, 1 or more",
        ),
        (
            two("workers: 1", "rate_limit: 0"),
            "topics[1].rate_limit: \"0\" is not a number from 0.001",
        ),
        (
            two("workers: 1", "timeout: 0"),
            "topics[1].timeout: \"0\" is not a duration above 0",
        ),
        (
            two("workers: 1", "health_path: health"),
            "topics[1].health_path: \"health\" is not a path",
        ),
        (
            two("workers: 1", "allowed_reply_topics: ['{a']"),
            "topics[1].allowed_reply_topics[0]: \"{a\" is not a glob",
        ),
    ] {
        let yaml = if yaml.contains("topics: [") || yaml == "topics: orders" {
            yaml
        } else {
            format!("{ONE_TOPIC}{yaml}")
        };
        let faults = faults(Mode::All, &yaml, &[]);
        assert!(
            faults.len() == 1 && faults[0].starts_with(expected),
            "{expected}\n{}",
            faults.join("\n")
        );
    }
}

#[test]
fn the_same_topic_for_two_groups_is_fine() {
    let yaml = "topics: [{request_topic: a, backend_url: 'http://a'}, \
                         {request_topic: a, backend_url: 'http://b', name: b, consumer_group: b}]";
    assert!(faults(Mode::Processor, yaml, &[]).is_empty());
}

#[test]
fn limits_follow_the_properties() {
    let properties = "kafka: {properties: {message.max.bytes: 4000000, max.poll.interval.ms: 600000}}\n";
    let yaml = format!("{properties}max_pending_bytes: 4MB\nrevoke_timeout: 400");
    assert!(faults(Mode::Proxy, &yaml, &[]).is_empty());
    let small = "kafka: {properties: {message.max.bytes: 500000}}\nmax_pending_bytes: 499999\n";
    assert_eq!(faults(Mode::Proxy, small, &[]).len(), 1);
    assert!(faults(Mode::Proxy, &format!("{small}max_body_size: 400000"), &[]).is_empty());
    // The limit is the proxy's.
    assert!(faults(Mode::Processor, &format!("{small}{ONE_TOPIC}"), &[]).is_empty());
}

#[test]
fn owned_properties_are_refused_however_they_are_written() {
    for (yaml, variables) in [
        ("kafka: {properties: {enable.auto.commit: true}}", [("A", "B")]),
        ("kafka: {properties: {enable: {auto: {commit: true}}}}", [("A", "B")]),
        ("", [("KHP__KAFKA__PROPERTIES__ENABLE_AUTO_COMMIT", "true")]),
    ] {
        assert!(faults(Mode::Proxy, yaml, &variables)[0].starts_with("kafka.properties.enable.auto.commit: "));
    }
}

#[test]
fn every_owned_property_is_refused_and_the_reference_says_so() {
    let list = REFERENCE
        .split("are refused: ")
        .nth(1)
        .unwrap()
        .split("properties:")
        .next()
        .unwrap();
    for name in crate::kafka::client::properties::OWNED {
        let faults = faults(Mode::Proxy, &format!("kafka: {{properties: {{{name}: 'true'}}}}"), &[]);
        assert!(
            faults[0].starts_with(&format!("kafka.properties.{name}: is set by the service")),
            "{faults:?}"
        );
        assert!(list.contains(name), "{name}");
    }
}

#[test]
fn a_short_timeout_is_a_warning() {
    let Loaded { warnings, .. } = loaded(Mode::Proxy, "default_timeout: 15", &[]);
    assert!(
        warnings.len() == 1 && warnings[0].starts_with("default_timeout (15s) is not above 15s"),
        "{warnings:?}"
    );
    let session = "kafka: {properties: {session.timeout.ms: 6000}}\ndefault_timeout: 15";
    assert!(loaded(Mode::Proxy, session, &[]).warnings.is_empty());
    assert!(
        loaded(Mode::Processor, &format!("{ONE_TOPIC}default_timeout: 1"), &[])
            .warnings
            .is_empty()
    );
}

#[test]
fn a_reply_partition_beside_json_is_a_warning() {
    let warnings = |yaml| loaded(Mode::Proxy, yaml, &[]).warnings;
    let found = warnings("{wire_format: json, reply_partition: 3}");
    assert!(
        found.len() == 1 && found[0].starts_with("reply_partition has no effect"),
        "{found:?}"
    );
    assert!(warnings("wire_format: json").is_empty() && warnings("reply_partition: 3").is_empty());
    assert_eq!(
        faults(Mode::Proxy, "wire_format: xml", &[]),
        [r#"wire_format: "xml" is not native or json"#]
    );
}

#[test]
fn a_proxy_s_topics_are_checked_only_if_there_are_any() {
    assert!(faults(Mode::Demo, "topics: []", &[]).is_empty());
    assert_eq!(
        faults(Mode::Proxy, "topics: [{request_topic: a}]", &[]),
        ["topics[0].backend_url: is required"]
    );
}

#[test]
fn a_bad_entry_of_kafka_topics() {
    let faults = faults(Mode::Processor, "", &[("KAFKA_TOPICS", "a:b,c;d:e,f,ftp://g,x")]);
    assert_eq!(faults.len(), 3, "{}", faults.join("\n"));
    assert!(faults[0].starts_with("topics[0]: is not name:request_topic,response_topic,backend_url["));
    assert!(faults[1].starts_with("topics[1].backend_url: \"ftp://…\" is not"));
    assert!(faults[2].starts_with("topics[1].timeout: \"x\" is not a duration"));
}
