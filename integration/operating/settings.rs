//! Settings come from files and the environment, and every fault in them is reported at once.

use crate::harness::command::{check, run_with};
use crate::harness::temp_dir::TempDir;

/// A configuration file that is complete for a proxy.
const PROXY_YAML: &str = "kafka: { bootstrap_servers: \"kafka:9092\" }\n";

/// A configuration file that is complete for a processor.
const PROCESSOR_YAML: &str = "\
kafka: { bootstrap_servers: \"kafka:9092\" }
topics:
  - { request_topic: orders-requests, backend_url: \"http://orders:8080\" }
";

#[tokio::test]
async fn mode_and_configuration_file_may_come_from_the_environment() {
    let dir = TempDir::new();
    let file = dir.write("processor.yaml", PROCESSOR_YAML);
    let path = file.to_str().expect("a temporary path is UTF-8");
    let ended = run_with(&["check"], "", &[("MODE", "processor"), ("CONFIG_PATH", path)]).await;
    ended.assert_accepted();
    ended.assert_shows(&["orders-requests"]);
    let ended = run_with(
        &["check"],
        "",
        &[("MODE", "processor"), ("CONFIG_PATH", path), ("CONFIG_SOURCE", "env")],
    )
    .await;
    assert!(
        !ended.text().contains("orders-requests"),
        "CONFIG_SOURCE=env ignores the file:\n{}",
        ended.text()
    );
    // The flag wins over the environment, and the environment over the file.
    let ended = run_with(
        &["check", "--mode", "proxy"],
        PROXY_YAML,
        &[("MODE", "processor"), ("PROXY_PORT", "9999")],
    )
    .await;
    ended.assert_accepted();
    ended.assert_shows(&["9999"]);
}

#[tokio::test]
async fn the_environments_of_the_compose_file_are_accepted() {
    let read = |text| {
        let file = config::File::from_str(text, config::FileFormat::Yaml);
        config::Config::builder().add_source(file).build().expect("YAML")
    };
    let compose = read(include_str!("../../docker/compose.yaml"));
    let login = read(include_str!("../../docker/compose.sasl.yaml"));
    let dir = TempDir::new();
    let password = dir.write("password", "s3cret");
    let password = password.to_str().expect("a temporary path is UTF-8");
    for (service, login, shows) in [
        ("proxy", None, "users-responses"),
        ("processor", None, "http://users-backend:8080"),
        ("proxy", Some(&login), "sasl.mechanism: PLAIN"),
        ("processor", Some(&login), "sasl.mechanism: PLAIN"),
    ] {
        let lines = |file: &config::Config| {
            let lines = file.get_array(&format!("services.{service}.environment"));
            let lines = lines.expect("a list").into_iter().map(|line| line.to_string());
            // As compose and the secret's mount do.
            let replaced = lines.map(|line| line.replace("$$", "$").replace("/run/secrets/kafka-password", password));
            replaced.collect::<Vec<String>>()
        };
        let lines: Vec<String> = lines(&compose)
            .into_iter()
            .chain(login.map(lines).unwrap_or_default())
            .collect();
        let env: Vec<_> = lines
            .iter()
            .map(|line| line.split_once('=').expect("NAME=value"))
            .collect();
        let ended = run_with(&["check"], "", &env).await;
        ended.assert_accepted();
        ended.assert_shows(&["kafka:29092", shows]);
    }
}

#[tokio::test]
async fn every_fault_is_reported_at_once_with_its_key_its_value_and_the_nearest_known_key() {
    let faulty = "\
kafka:
  bootstrap_servers: kafka:9092
  properties:
    group.id: mine
    enable.auto.commit: true
port: eighty
default_timeout: -3
warmup_topic: [a]
max_body_size: 7 bananas
topics:
  - request_topic: orders-requests
    backend_url: ftp://orders
  - response_topic: users-responses
    backend_url: http://users
";
    for args in [["check", "--mode", "all"].as_slice(), &["--mode", "all"]] {
        let ended = run_with(args, faulty, &[]).await;
        assert_eq!(ended.code, Some(64), "{}", ended.text());
        ended.assert_shows(&[
            "group.id",
            "enable.auto.commit",
            "eighty",
            "default_timeout",
            "-3",
            "warmup_topic",
            "warmup_topics",
            "7 bananas",
            "ftp://",
            "request_topic",
        ]);
    }
}

#[tokio::test]
async fn faults_in_the_environment_are_reported_with_the_names_of_the_variables() {
    let env = [
        ("PROXY_PORT", "http"),
        ("DEFAULT_TIMEOUT", "soon"),
        ("MAX_CONCURRENT_REQUESTS", "many"),
        ("KAFKA_TOPICS", "orders:orders-requests"),
    ];
    let ended = check("all", "", &env).await;
    assert_eq!(ended.code, Some(64), "{}", ended.text());
    ended.assert_shows(&[
        "PROXY_PORT",
        "http",
        "DEFAULT_TIMEOUT",
        "soon",
        "MAX_CONCURRENT_REQUESTS",
        "many",
        "KAFKA_TOPICS",
    ]);
}

#[tokio::test]
async fn the_variables_that_kubernetes_sets_for_services_are_ignored_with_a_warning() {
    let ended = check(
        "proxy",
        PROXY_YAML,
        &[
            ("PROXY_PORT", "tcp://10.0.0.7:8080"),
            ("MANAGEMENT_PORT", "tcp://10.0.0.8:8081"),
        ],
    )
    .await;
    ended.assert_accepted();
    ended.assert_shows(&["PROXY_PORT", "tcp://10.0.0.7:8080", "MANAGEMENT_PORT"]);
}

#[tokio::test]
async fn secrets_are_read_from_files_and_never_shown() {
    let dir = TempDir::new();
    let file = dir.write("token", "t0p-s3cret-t0ken\n");
    let config = format!(
        "{PROXY_YAML}\nmanagement_token: ${{file:{}}}\n",
        file.to_str().expect("a temporary path is UTF-8")
    );
    let password = [
        ("KHP__KAFKA__PROPERTIES__SASL_PASSWORD", "pa55word"),
        ("KHP__KAFKA__PROPERTIES__SECURITY_PROTOCOL", "sasl_ssl"),
    ];
    let ended = check("proxy", &config, &password).await;
    ended.assert_accepted();
    ended.assert_shows(&["management_token", "sasl.password", "sasl_ssl"]);
    assert!(
        !ended.text().contains("t0p-s3cret") && !ended.text().contains("pa55word"),
        "{}",
        ended.text()
    );
}

#[tokio::test]
async fn durations_and_sizes_may_carry_their_units() {
    let config = "default_timeout: 1500ms\nmax_body_size: 64KiB\npre_stop: 0.5\ndrain_timeout: \"2m\"\n";
    check("proxy", config, &[]).await.assert_accepted();
}
