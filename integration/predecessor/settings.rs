//! The predecessor's configuration files and environments work unchanged.

use crate::harness::command::check;

/// The predecessor's README, "Proxy config".
const PROXY_YAML: &str = include_str!("proxy.yaml");

/// The predecessor's README, "Processor config".
const PROCESSOR_YAML: &str = include_str!("processor.yaml");

#[tokio::test]
async fn the_proxy_file_works_unchanged() {
    let ended = check("proxy", PROXY_YAML, &[]).await;
    ended.assert_accepted();
    ended.assert_shows(&[
        "kafka:9092",
        "8080",
        "orders-responses",
        "users-responses",
        "common-responses",
    ]);
}

#[tokio::test]
async fn the_processor_file_works_unchanged() {
    let ended = check("processor", PROCESSOR_YAML, &[]).await;
    ended.assert_accepted();
    ended.assert_shows(&[
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
        check(mode, &both, &[]).await.assert_accepted();
    }
}

#[tokio::test]
async fn the_environments_work_unchanged() {
    let proxy = [
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092"),
        ("WARMUP_TOPICS", "common-responses,orders-responses"),
        ("PROXY_PORT", "8099"),
    ];
    let ended = check("proxy", "", &proxy).await;
    ended.assert_accepted();
    ended.assert_shows(&["kafka:9092", "orders-responses", "8099"]);

    let processor = [
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092"),
        (
            "KAFKA_TOPICS",
            "orders:orders-requests,orders-responses,http://backend:8080",
        ),
        ("DEAD_LETTER_TOPIC", "failed-requests"),
        ("MANAGEMENT_PORT", "8081"),
    ];
    let ended = check("processor", "", &processor).await;
    ended.assert_accepted();
    ended.assert_shows(&[
        "orders-requests",
        "http://backend:8080",
        "processor-orders-requests",
        "failed-requests",
    ]);

    let two = "orders:orders-requests,orders-responses,http://orders:8080,30,3;users:users-requests,users-responses,http://users:8080,25,2";
    let ended = check(
        "processor",
        "",
        &[("KAFKA_TOPICS", two), ("CONSUMER_GROUP_USERS", "those-users")],
    )
    .await;
    ended.assert_accepted();
    ended.assert_shows(&[
        "http://orders:8080",
        "http://users:8080",
        "processor-orders-requests",
        "those-users",
    ]);
}
