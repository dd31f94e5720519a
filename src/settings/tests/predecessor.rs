//! What users of kafka-http-proxy have works as it stands: the examples are those of its README.

use super::*;

const PROXY: &str = "
kafka:
  bootstrap_servers: kafka:9092

port: 8080
default_timeout: 30
warmup_topics:
  - orders-responses
  - users-responses
  - common-responses
";

const PROCESSOR: &str = "
kafka:
  bootstrap_servers: kafka:9092

topics:
  - request_topic: orders-requests
    response_topic: orders-responses
    backend_url: http://orders-backend:8080
    consumer_group: orders-processors
    timeout: 30
    max_retries: 3
    rate_limit: 100

  - request_topic: users-requests
    response_topic: users-responses
    backend_url: http://users-backend:8080
    consumer_group: users-processors
    timeout: 25
    max_retries: 2

max_concurrent_requests: 200
health_check_interval: 30
dead_letter_topic: failed-requests
management_port: 8081
";

#[test]
fn the_proxy_file() {
    for mode in [Mode::Proxy, Mode::Demo] {
        let Loaded { settings, warnings, .. } = loaded(mode, PROXY, &[]);
        assert_eq!(settings.kafka.bootstrap_servers, "kafka:9092");
        assert_eq!(settings.proxy.port, 8080);
        assert_eq!(settings.proxy.default_timeout, Duration::from_secs(30));
        assert_eq!(
            settings.proxy.warmup_topics,
            ["orders-responses", "users-responses", "common-responses"]
        );
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

#[test]
fn the_processor_file() {
    for mode in [Mode::Processor, Mode::All] {
        let settings = loaded(mode, PROCESSOR, &[]).settings;
        let [orders, users] = settings.processor.topics.as_slice() else {
            panic!("two topics")
        };
        assert_eq!(orders.name, "orders-requests");
        assert_eq!(orders.response_topic, "orders-responses");
        assert_eq!(orders.backend_url.to_string(), "http://orders-backend:8080");
        assert_eq!(orders.consumer_group, "orders-processors");
        assert_eq!((orders.max_retries, orders.rate_limit), (3, Some(100.0)));
        assert_eq!(
            (users.timeout, users.max_retries, users.rate_limit),
            (Duration::from_secs(25), 2, None)
        );
        assert_eq!(settings.processor.max_concurrent_requests, 200);
        assert_eq!(orders.concurrency, 200);
        assert_eq!(settings.processor.health_check_interval, Duration::from_secs(30));
        assert_eq!(settings.processor.dead_letter_topic.as_deref(), Some("failed-requests"));
        assert_eq!(settings.management.port, 8081);
    }
}

#[test]
fn the_proxy_environment() {
    let quick_start = env(&[
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092"),
        ("WARMUP_TOPICS", "common-responses,orders-responses"),
        ("PROXY_PORT", "8080"),
    ]);
    let docker = env(&[
        ("MODE", "proxy"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:29092"),
        ("WARMUP_TOPICS", "common-responses,orders-responses"),
    ]);
    for (variables, servers) in [(quick_start, "kafka:9092"), (docker, "kafka:29092")] {
        let settings = load(Mode::Proxy, &[], &variables).unwrap().settings;
        assert_eq!(settings.kafka.bootstrap_servers, servers);
        assert_eq!(settings.proxy.warmup_topics, ["common-responses", "orders-responses"]);
        assert_eq!(settings.proxy.port, 8080);
    }
}

#[test]
fn the_processor_environment() {
    let quick_start = env(&[
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092"),
        (
            "KAFKA_TOPICS",
            "orders:orders-requests,orders-responses,http://backend:8080",
        ),
    ]);
    let docker = env(&[
        ("MODE", "processor"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:29092"),
        (
            "KAFKA_TOPICS",
            "orders:orders-requests,orders-responses,http://orders:8080",
        ),
    ]);
    for (variables, authority) in [(quick_start, "backend:8080"), (docker, "orders:8080")] {
        let settings = load(Mode::Processor, &[], &variables).unwrap().settings;
        let [orders] = settings.processor.topics.as_slice() else {
            panic!("one topic")
        };
        assert_eq!(
            (orders.name.as_str(), orders.backend_url.authority.as_str()),
            ("orders", authority)
        );
        assert_eq!(
            (orders.timeout, orders.max_retries, orders.rate_limit),
            (Duration::from_secs(30), 3, None)
        );
        assert_eq!(orders.consumer_group, "processor-orders-requests");
    }
}

#[test]
fn several_topics_in_the_environment() {
    let text = "orders:orders-requests,orders-responses,http://orders:8080,30,3;\
                users:users-requests,users-responses,http://users:8080,25,2";
    let settings = load(Mode::Processor, &[], &env(&[("KAFKA_TOPICS", text)]))
        .unwrap()
        .settings;
    let [orders, users] = settings.processor.topics.as_slice() else {
        panic!("two topics")
    };
    assert_eq!((orders.timeout, orders.max_retries), (Duration::from_secs(30), 3));
    assert_eq!((users.timeout, users.max_retries), (Duration::from_secs(25), 2));
    assert_eq!(users.backend_url.to_string(), "http://users:8080");
}

#[test]
fn every_plain_name() {
    let variables = env(&[
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1,b:2"),
        ("PROXY_PORT", "8123"),
        ("DEFAULT_TIMEOUT", "45.5"),
        ("WARMUP_TOPICS", " a-responses , b-responses,"),
        ("INSTANCE_ID", "007"),
        ("KAFKA_TOPICS", "orders:o-requests,,http://o,1,2,3.5"),
        ("CONSUMER_GROUP_ORDERS", "g"),
        ("MAX_CONCURRENT_REQUESTS", "7"),
        ("HEALTH_CHECK_INTERVAL", "0"),
        ("DEAD_LETTER_TOPIC", "dead"),
        ("MANAGEMENT_PORT", "8082"),
    ]);
    let Loaded { settings, warnings, .. } = load(Mode::All, &[], &variables).unwrap();
    assert_eq!(settings.kafka.bootstrap_servers, "a:1,b:2");
    assert_eq!(settings.proxy.port, 8123);
    assert_eq!(settings.proxy.default_timeout, Duration::from_millis(45_500));
    assert_eq!(settings.proxy.warmup_topics, ["a-responses", "b-responses"]);
    assert_eq!(settings.proxy.instance_id.as_deref(), Some("007"));
    let [orders] = settings.processor.topics.as_slice() else {
        panic!("one topic")
    };
    assert_eq!(orders.response_topic, "o-requests-responses");
    assert_eq!(orders.consumer_group, "g");
    assert_eq!(
        (orders.timeout, orders.max_retries, orders.rate_limit),
        (Duration::from_secs(1), 2, Some(3.5))
    );
    assert_eq!((settings.processor.max_concurrent_requests, orders.concurrency), (7, 7));
    assert!(settings.processor.health_check_interval.is_zero());
    assert_eq!(settings.processor.dead_letter_topic.as_deref(), Some("dead"));
    assert_eq!(settings.management.port, 8082);
    assert!(warnings.is_empty(), "{warnings:?}");
    // A name added to the table is to be added here.
    let known = keys::top::ALL
        .iter()
        .filter_map(|key| key.env)
        .all(|name| variables.contains_key(name));
    assert!(known);
}

#[test]
fn consumer_groups_by_name() {
    let yaml = format!("{ONE_TOPIC}  # the file's own group loses\n").replace("'}]", "', consumer_group: from-file}]");
    let variables = [
        ("CONSUMER_GROUP_ORDERS_REQUESTS", "from-env"),
        ("CONSUMER_GROUP_USERS", "x"),
    ];
    let Loaded { settings, warnings, .. } = loaded(Mode::Processor, &yaml, &variables);
    assert_eq!(settings.processor.topics[0].consumer_group, "from-env");
    assert_eq!(warnings, ["CONSUMER_GROUP_USERS is ignored: no topic has that name"]);
}

#[test]
fn kubernetes_service_links_are_no_ports() {
    let variables = [
        ("PROXY_PORT", "tcp://10.0.0.1:80"),
        ("MANAGEMENT_PORT", "tcp://10.0.0.2:81"),
    ];
    let Loaded { settings, warnings, .. } = loaded(Mode::Proxy, "port: 8123", &variables);
    assert_eq!((settings.proxy.port, settings.management.port), (8123, 0));
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].starts_with("PROXY_PORT=tcp://10.0.0.1:80 is ignored"));
    assert!(warnings[1].starts_with("MANAGEMENT_PORT=tcp://10.0.0.2:81 is ignored"));
}

#[test]
fn an_empty_variable_is_absent() {
    let variables = [
        ("DEAD_LETTER_TOPIC", ""),
        ("PROXY_PORT", ""),
        ("KAFKA_TOPICS", " "),
        ("KHP__LOG__LEVEL", ""),
    ];
    let settings = loaded(Mode::Proxy, "dead_letter_topic: dead", &variables).settings;
    assert_eq!(settings.processor.dead_letter_topic.as_deref(), Some("dead"));
    assert_eq!((settings.proxy.port, settings.log.level.as_str()), (8080, "info"));
}
