//! Settings: the predecessor's files and environment work as they stand, and every fault is told at once.

use std::process::Output;

use crate::harness::TempDir;
use crate::harness::app::command;

/// The predecessor's README, "Proxy config".
const PROXY_YAML: &str = "\
kafka:
  bootstrap_servers: kafka:9092

port: 8080
default_timeout: 30
warmup_topics:
  - orders-responses
  - users-responses
  - common-responses
";

/// The predecessor's README, "Processor config".
const PROCESSOR_YAML: &str = "\
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

/// What a run of the binary said, and its exit code.
struct Said {
    code: Option<i32>,
    text: String,
}

impl Said {
    #[track_caller]
    fn assert_says(&self, words: &[&str]) {
        for word in words {
            assert!(self.text.contains(word), "{word:?} in:\n{}", self.text);
        }
    }
}

/// Runs the binary with these arguments, a configuration file (unless it is empty) and this environment, to its end.
async fn run(args: &[&str], config: &str, env: &[(&str, &str)]) -> Said {
    let dir = TempDir::new();
    let mut command = command();
    command.args(args).envs(env.iter().copied()).kill_on_drop(true);
    if !config.is_empty() {
        command.arg("--config").arg(dir.write("config.yaml", config));
    }
    let ended = tokio::time::timeout(crate::harness::wait::PATIENCE, command.output()).await;
    let Output { status, stdout, stderr } = ended.expect("it ends by itself").expect("the binary runs");
    Said {
        code: status.code(),
        text: format!(
            "{}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        ),
    }
}

async fn check(mode: &str, config: &str, env: &[(&str, &str)]) -> Said {
    run(&["check", "--mode", mode], config, env).await
}

#[track_caller]
fn assert_accepted(said: &Said) {
    assert_eq!(said.code, Some(0), "{}", said.text);
}

#[tokio::test]
async fn the_predecessors_proxy_file_works_as_it_stands() {
    let said = check("proxy", PROXY_YAML, &[]).await;
    assert_accepted(&said);
    said.assert_says(&[
        "kafka:9092",
        "8080",
        "orders-responses",
        "users-responses",
        "common-responses",
    ]);
}

#[tokio::test]
async fn the_predecessors_processor_file_works_as_it_stands() {
    let said = check("processor", PROCESSOR_YAML, &[]).await;
    assert_accepted(&said);
    said.assert_says(&[
        "orders-requests",
        "users-responses",
        "http://orders-backend:8080",
        "users-processors",
        "failed-requests",
        "8081",
    ]);
}

#[tokio::test]
async fn one_file_serves_both_roles() {
    let both = format!(
        "{PROXY_YAML}{}",
        PROCESSOR_YAML.split_once("\n\n").expect("a blank line after kafka").1
    );
    for mode in ["proxy", "processor", "all"] {
        assert_accepted(&check(mode, &both, &[]).await);
    }
}

#[tokio::test]
async fn the_predecessors_environments_work_as_they_stand() {
    let proxy = [
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092"),
        ("WARMUP_TOPICS", "common-responses,orders-responses"),
        ("PROXY_PORT", "8099"),
    ];
    let said = check("proxy", "", &proxy).await;
    assert_accepted(&said);
    said.assert_says(&["kafka:9092", "orders-responses", "8099"]);

    let processor = [
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092"),
        (
            "KAFKA_TOPICS",
            "orders:orders-requests,orders-responses,http://backend:8080",
        ),
        ("DEAD_LETTER_TOPIC", "failed-requests"),
        ("MANAGEMENT_PORT", "8081"),
    ];
    let said = check("processor", "", &processor).await;
    assert_accepted(&said);
    said.assert_says(&[
        "orders-requests",
        "http://backend:8080",
        "processor-orders-requests",
        "failed-requests",
    ]);

    let two = "orders:orders-requests,orders-responses,http://orders:8080,30,3;users:users-requests,users-responses,http://users:8080,25,2";
    let said = check(
        "processor",
        "",
        &[("KAFKA_TOPICS", two), ("CONSUMER_GROUP_USERS", "those-users")],
    )
    .await;
    assert_accepted(&said);
    said.assert_says(&[
        "http://orders:8080",
        "http://users:8080",
        "processor-orders-requests",
        "those-users",
    ]);
}

#[tokio::test]
async fn mode_and_configuration_file_may_come_from_the_environment() {
    let dir = TempDir::new();
    let file = dir.write("processor.yaml", PROCESSOR_YAML);
    let path = file.to_str().expect("a temporary path is UTF-8");
    let said = run(&["check"], "", &[("MODE", "processor"), ("CONFIG_PATH", path)]).await;
    assert_accepted(&said);
    said.assert_says(&["orders-requests"]);
    let said = run(
        &["check"],
        "",
        &[("MODE", "processor"), ("CONFIG_PATH", path), ("CONFIG_SOURCE", "env")],
    )
    .await;
    assert!(
        !said.text.contains("orders-requests"),
        "CONFIG_SOURCE=env ignores the file:\n{}",
        said.text
    );
    // The flag wins over the environment, and the environment over the file.
    let said = run(
        &["check", "--mode", "proxy"],
        PROXY_YAML,
        &[("MODE", "processor"), ("PROXY_PORT", "9999")],
    )
    .await;
    assert_accepted(&said);
    said.assert_says(&["9999"]);
}

#[tokio::test]
async fn the_environments_of_the_compose_file_are_accepted() {
    let compose = config::File::from_str(include_str!("../../docker/compose.yaml"), config::FileFormat::Yaml);
    let compose = config::Config::builder().add_source(compose).build().expect("YAML");
    for (service, shows) in [("proxy", "users-responses"), ("processor", "http://users-backend:8080")] {
        let lines = compose
            .get_array(&format!("services.{service}.environment"))
            .expect("a list");
        let lines: Vec<String> = lines.into_iter().map(|line| line.to_string()).collect();
        let env: Vec<_> = lines
            .iter()
            .map(|line| line.split_once('=').expect("NAME=value"))
            .collect();
        let said = run(&["check"], "", &env).await;
        assert_accepted(&said);
        said.assert_says(&["kafka:29092", shows]);
    }
}

#[tokio::test]
async fn every_fault_is_told_at_once_with_its_key_its_value_and_the_nearest_known_one() {
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
        let said = run(args, faulty, &[]).await;
        assert_eq!(said.code, Some(64), "{}", said.text);
        said.assert_says(&[
            "group.id",
            "enable.auto.commit",
            "eighty",
            "default_timeout",
            "-3",
            "warmup_topic",
            "warmup_topics",
            "7 bananas",
            "ftp://orders",
            "request_topic",
        ]);
    }
}

#[tokio::test]
async fn faults_in_the_environment_are_told_by_the_names_users_typed() {
    let env = [
        ("PROXY_PORT", "http"),
        ("DEFAULT_TIMEOUT", "soon"),
        ("MAX_CONCURRENT_REQUESTS", "many"),
        ("KAFKA_TOPICS", "orders:orders-requests"),
    ];
    let said = check("all", "", &env).await;
    assert_eq!(said.code, Some(64), "{}", said.text);
    said.assert_says(&[
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
async fn the_links_that_kubernetes_sets_for_services_are_ignored_with_a_warning() {
    let said = check(
        "proxy",
        PROXY_YAML,
        &[
            ("PROXY_PORT", "tcp://10.0.0.7:8080"),
            ("MANAGEMENT_PORT", "tcp://10.0.0.8:8081"),
        ],
    )
    .await;
    assert_accepted(&said);
    said.assert_says(&["PROXY_PORT", "tcp://10.0.0.7:8080", "MANAGEMENT_PORT"]);
}

#[tokio::test]
async fn secrets_are_read_from_files_and_never_shown() {
    let dir = TempDir::new();
    let file = dir.write("token", "t0p-s3cret\n");
    let config = format!(
        "{PROXY_YAML}\nmanagement_token: ${{file:{}}}\n",
        file.to_str().expect("a temporary path is UTF-8")
    );
    let password = [
        ("KHP__KAFKA__PROPERTIES__SASL_PASSWORD", "pa55word"),
        ("KHP__KAFKA__PROPERTIES__SECURITY_PROTOCOL", "sasl_ssl"),
    ];
    let said = check("proxy", &config, &password).await;
    assert_accepted(&said);
    said.assert_says(&["management_token", "sasl.password", "sasl_ssl"]);
    assert!(
        !said.text.contains("t0p-s3cret") && !said.text.contains("pa55word"),
        "{}",
        said.text
    );
}

#[tokio::test]
async fn durations_and_sizes_may_carry_their_units() {
    let config = "default_timeout: 1500ms\nmax_body_size: 64KiB\npre_stop: 0.5\ndrain_timeout: \"2m\"\n";
    assert_accepted(&check("proxy", config, &[]).await);
}
