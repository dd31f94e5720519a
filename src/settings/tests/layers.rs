//! Where settings come from, and which source wins.

use super::*;

#[test]
fn the_defaults() {
    let Loaded { settings, warnings, .. } = load(Mode::Proxy, &[], &Env::new()).unwrap();
    assert_eq!(settings.kafka.bootstrap_servers, "kafka:9092");
    assert!(settings.kafka.properties.is_empty());
    let proxy = settings.proxy;
    assert_eq!((proxy.bind.to_string().as_str(), proxy.port), ("0.0.0.0", 8080));
    assert_eq!(proxy.default_timeout, Duration::from_secs(30));
    assert_eq!(proxy.warmup_topics, ["common-responses"]);
    assert_eq!(
        (proxy.request_topic.as_str(), proxy.response_topic.as_str()),
        ("common-requests", "common-responses")
    );
    assert!(proxy.topic_headers);
    assert_eq!(proxy.allowed_topics, ["*-requests", "*-responses"]);
    assert_eq!((proxy.max_client_topics, proxy.instance_id), (100, None));
    assert_eq!(proxy.wire_format, Format::Native);
    assert_eq!(proxy.reply_partition, ReplyPartition::Auto);
    assert_eq!(
        (proxy.max_pending, proxy.max_pending_per_topic, proxy.max_body_size),
        (10_000, 5_000, 64 << 20)
    );
    let processor = settings.processor;
    assert!(processor.topics.is_empty() && processor.dead_letter_topic.is_none());
    assert_eq!(processor.max_concurrent_requests, 100);
    assert_eq!(processor.health_check_interval, Duration::from_secs(30));
    assert_eq!(
        (processor.clock_tolerance, processor.revoke_timeout),
        (Duration::from_secs(2), Duration::from_secs(5))
    );
    let create = settings.create_topics;
    assert_eq!(
        (create.enabled, create.partitions, create.replication_factor),
        (true, 12, -1)
    );
    assert_eq!(create.allow, ["*-requests", "*-responses"]);
    assert_eq!(
        (settings.drain_timeout, settings.pre_stop),
        (Duration::from_secs(40), Duration::from_secs(5))
    );
    assert_eq!((settings.management.port, settings.management.token), (0, None));
    assert_eq!(
        (settings.log.level.as_str(), settings.log.format),
        ("info", LogFormat::Text)
    );
    assert!(warnings.is_empty());
}

#[test]
fn a_topic_s_defaults() {
    let settings = loaded(Mode::Processor, ONE_TOPIC, &[]).settings;
    let [topic] = settings.processor.topics.as_slice() else {
        panic!("one topic")
    };
    assert_eq!(
        (topic.name.as_str(), topic.response_topic.as_str()),
        ("orders-requests", "orders-requests-responses")
    );
    assert_eq!(topic.consumer_group, "processor-orders-requests");
    assert_eq!(
        (topic.timeout, topic.max_retries, topic.rate_limit),
        (Duration::from_secs(30), 3, None)
    );
    assert_eq!(
        (topic.workers, topic.concurrency, topic.start),
        (1, 100, Start::Earliest)
    );
    assert_eq!(topic.allowed_reply_topics, ["*-responses"]);
    assert_eq!(
        (topic.health_path.as_str(), topic.host),
        ("/health", HostHeader::Backend)
    );
    assert_eq!(topic.group_instance_id, None);
}

#[test]
fn computed_defaults_follow_what_they_are_computed_from() {
    let yaml = format!("{ONE_TOPIC}default_timeout: 60.5\nmax_pending: 1\nmax_concurrent_requests: 8");
    let settings = loaded(Mode::All, &yaml, &[]).settings;
    assert_eq!(settings.drain_timeout, Duration::from_millis(70_500));
    assert_eq!(settings.proxy.max_pending_per_topic, 1);
    assert_eq!(settings.processor.topics[0].concurrency, 8);
}

#[test]
fn later_files_win_and_the_environment_over_them() {
    let first = TempFile::new(
        "yaml",
        "port: 1\nbind: 127.0.0.1\nmax_pending: 11\nkafka: {bootstrap_servers: 'a:1'}",
    );
    let second = TempFile::new("toml", "port = 2\nmax_pending = 22\ndefault_timeout = 20");
    let third = TempFile::new("json", r#"{"port": 3, "log": {"format": "json"}, "pre_stop": 0.5}"#);
    let files = [first.0.clone(), second.0.clone(), third.0.clone()];
    let port = |variables: &[(&str, &str)]| load(Mode::Proxy, &files, &env(variables)).unwrap().settings.proxy.port;
    assert_eq!(port(&[]), 3);
    assert_eq!(port(&[("PROXY_PORT", "4")]), 4);
    assert_eq!(port(&[("PROXY_PORT", "4"), ("KHP__PORT", "5")]), 5);

    let settings = load(Mode::Proxy, &files, &Env::new()).unwrap().settings;
    assert_eq!(
        (settings.proxy.bind.to_string().as_str(), settings.proxy.max_pending),
        ("127.0.0.1", 22)
    );
    assert_eq!(settings.kafka.bootstrap_servers, "a:1");
    assert_eq!(
        (settings.log.format, settings.pre_stop),
        (LogFormat::Json, Duration::from_millis(500))
    );
}

#[test]
fn toml_and_json_hold_everything_that_yaml_holds() {
    let toml = "[kafka.properties]\n\"security.protocol\" = \"SSL\"\nssl.ca.location = \"/ca\"\n\
                [[topics]]\nrequest_topic = \"a\"\nbackend_url = \"http://a\"\ntimeout = 0.5\nstart = \"latest\"";
    let json = r#"{"kafka": {"properties": {"security.protocol": "SSL", "ssl": {"ca": {"location": "/ca"}}}},
                   "topics": [{"request_topic": "a", "backend_url": "http://a", "timeout": "500ms", "start": "latest"}]}"#;
    for (extension, text) in [("toml", toml), ("json", json)] {
        let file = TempFile::new(extension, text);
        let settings = load(Mode::Processor, std::slice::from_ref(&file.0), &Env::new())
            .unwrap()
            .settings;
        let properties = settings.kafka.properties;
        assert_eq!(
            (
                properties["security.protocol"].as_str(),
                properties["ssl.ca.location"].as_str()
            ),
            ("SSL", "/ca")
        );
        let topic = &settings.processor.topics[0];
        assert_eq!(
            (topic.timeout, topic.start),
            (Duration::from_millis(500), Start::Latest)
        );
    }
}

#[test]
fn every_key_has_a_prefixed_name() {
    let variables = [
        ("KHP__KAFKA__BOOTSTRAP_SERVERS", "a:1"),
        ("KHP__KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SSL"),
        ("KHP__KAFKA__PROPERTIES__SSL__CA__LOCATION", "/ca"),
        ("KHP__ALLOWED_TOPICS", "a-*, b-*"),
        ("KHP__CREATE_TOPICS__ALLOW", "c-*"),
        ("KHP__CREATE_TOPICS__ENABLED", "false"),
        ("KHP__MAX_BODY_SIZE", "100KiB"),
        ("KHP__REPLY_PARTITION", "2"),
        ("KHP__WIRE_FORMAT", "json"),
        ("KHP__INSTANCE_ID", "007"),
        ("KHP_TEST_BROKERS", "not ours: one underscore"),
    ];
    let yaml = "kafka: {properties: {security.protocol: PLAINTEXT, linger.ms: 5}}";
    let settings = loaded(Mode::Proxy, yaml, &variables).settings;
    assert_eq!(settings.kafka.bootstrap_servers, "a:1");
    let properties: Vec<(&str, &str)> = settings
        .kafka
        .properties
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        properties,
        [
            ("linger.ms", "5"),
            ("security.protocol", "SSL"),
            ("ssl.ca.location", "/ca")
        ]
    );
    assert_eq!(settings.proxy.allowed_topics, ["a-*", "b-*"]);
    assert_eq!(
        (settings.create_topics.allow, settings.create_topics.enabled),
        (vec!["c-*".to_owned()], false)
    );
    assert_eq!(settings.proxy.max_body_size, 102_400);
    assert_eq!(settings.proxy.wire_format, Format::Json);
    assert_eq!(settings.proxy.reply_partition, ReplyPartition::Number(2));
    assert_eq!(settings.proxy.instance_id.as_deref(), Some("007"));
}

#[test]
fn the_environment_s_topics_replace_the_file_s() {
    let settings = loaded(
        Mode::Processor,
        ONE_TOPIC,
        &[("KAFKA_TOPICS", "u:u-req,u-res,https://u")],
    )
    .settings;
    let names: Vec<&str> = settings
        .processor
        .topics
        .iter()
        .map(|topic| topic.name.as_str())
        .collect();
    assert_eq!(names, ["u"]);
}

#[test]
fn config_path_and_config_source() {
    let port = |files: &[PathBuf], variables: &[(&str, &str)]| {
        let Loaded { settings, warnings, .. } = load(Mode::Proxy, files, &env(variables)).unwrap();
        (settings.proxy.port, warnings.len())
    };
    let yaml = TempFile::new("yaml", "port: 1");
    let bare = TempFile::new("", "port: 2");
    let flag = TempFile::new("yaml", "port: 3");
    let (yaml_path, bare_path) = (yaml.0.to_str().unwrap(), bare.0.to_str().unwrap());
    assert_eq!(port(&[], &[("CONFIG_PATH", yaml_path)]), (1, 0));
    assert_eq!(
        port(&[], &[("CONFIG_PATH", yaml_path), ("CONFIG_SOURCE", "yaml")]),
        (1, 0)
    );
    assert_eq!(
        port(&[], &[("CONFIG_PATH", bare_path), ("CONFIG_SOURCE", "yaml")]),
        (2, 0)
    );
    assert_eq!(
        port(&[], &[("CONFIG_PATH", yaml_path), ("CONFIG_SOURCE", "env")]),
        (8080, 1)
    );
    assert_eq!(
        port(std::slice::from_ref(&flag.0), &[("CONFIG_PATH", yaml_path)]),
        (3, 1)
    );
    assert_eq!(port(std::slice::from_ref(&flag.0), &[("CONFIG_SOURCE", "env")]), (3, 0));
    assert_eq!(port(&[], &[("CONFIG_SOURCE", "json")]), (8080, 0));

    let error = load(
        Mode::Proxy,
        &[],
        &env(&[("CONFIG_PATH", bare_path), ("CONFIG_SOURCE", "etcd")]),
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("CONFIG_SOURCE: \"etcd\" is not yaml, json or env"),
        "{error}"
    );
    assert!(
        error.to_string().contains("is not a .yaml, .yml, .toml or .json file"),
        "{error}"
    );
}

#[test]
fn references_are_followed() {
    let secret = TempFile::new("", "s3cret-of-16-chars\n");
    let path = secret.0.display();
    let yaml = format!(
        "management_token: ${{file:{path}}}\nport: ${{env:PORT}}\nwarmup_topics: [\"${{env:TEAM}}-responses\"]\n\
         allowed_topics: ${{env:GLOBS}}\nkafka: {{properties: {{sasl.password: \"${{file:{path}}}\"}}}}"
    );
    let variables = [("PORT", "8123"), ("TEAM", "red"), ("GLOBS", "a,b")];
    let loaded = loaded(Mode::Proxy, &yaml, &variables);
    let settings = &loaded.settings;
    assert_eq!(
        settings.management.token,
        Some(Secret::new("s3cret-of-16-chars".to_owned()))
    );
    assert_eq!(
        (settings.proxy.port, settings.proxy.warmup_topics[0].as_str()),
        (8123, "red-responses")
    );
    assert_eq!(settings.proxy.allowed_topics, ["a", "b"]);
    assert_eq!(settings.kafka.properties["sasl.password"], "s3cret-of-16-chars");
    assert!(loaded.to_yaml().contains("\nallowed_topics: \"${env:GLOBS}\"\n"));
    assert!(!loaded.to_yaml().contains("s3cret") && !format!("{loaded:?}").contains("\"s3cret-of"));
}

#[test]
fn an_empty_file_says_nothing() {
    for text in ["", "# port: 1\n", "port:\nlog:\n", "---\n"] {
        assert_eq!(loaded(Mode::Proxy, text, &[]).settings.proxy.port, 8080, "{text:?}");
    }
}

#[test]
fn what_a_reference_stands_for_is_not_shown() {
    let secret = TempFile::new("", "hunter2 x,hunter3 x");
    let reference = format!("${{file:{}}}", secret.0.display());
    let yaml = format!("port: {reference}\nwarmup_topics: {reference}\nallowed_topics: [\"{{{reference}\"]");
    let error = try_load(Mode::Proxy, &yaml, &[]).unwrap_err();
    assert_eq!(error.faults.len(), 4, "{error}");
    assert!(!error.to_string().contains("hunter"), "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("warmup_topics[1]: \"{reference}\" is not a topic name")),
        "{error}"
    );
}
