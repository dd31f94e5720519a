//! Settings are the characters that were written, and the environment of Kubernetes is no setting.

use crate::harness::binary::command;
use crate::harness::temp_dir::TempDir;
use crate::harness::wait::PATIENCE;

/// The exit code, and both outputs.
async fn check(mode: &str, file: (&str, &str), env: &[(&str, &str)]) -> (Option<i32>, String) {
    let dir = TempDir::new();
    let (extension, content) = file;
    let file = dir.write(&format!("config.{extension}"), content);
    let mut command = command();
    command
        .args(["check", "--mode", mode, "--config"])
        .arg(file)
        .envs(env.iter().copied())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .expect("it ends")
        .expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// Asserts that a file is accepted, and that `check` prints these lines.
async fn assert_prints(mode: &str, file: (&str, &str), env: &[(&str, &str)], lines: &[&str]) {
    let (code, text) = check(mode, file, env).await;
    assert_eq!(code, Some(0), "{}: {text}", file.1);
    for line in lines {
        assert!(
            text.lines().any(|found| found.trim() == *line),
            "{line:?} of {:?} in:\n{text}",
            file.1
        );
    }
}

#[tokio::test]
async fn yaml_text_that_looks_like_something_else_stays_as_it_is_written() {
    for text in [
        "2024.10",
        "007",
        "1e3",
        "1.10",
        "0x10",
        "0o17",
        "1_000",
        "true",
        "False",
        "yes",
        "2024-01-01",
        ".5",
        "-0",
        "1.",
        "00123",
        "12345678901234567890123",
    ] {
        let topic = text.trim_start_matches('.');
        let file = format!(
            "request_topic: {topic}\ninstance_id: {text}\nallowed_topics: [{topic}, other]\nkafka:\n  properties:\n    client.rack: {text}\n"
        );
        let (code, output) = check("proxy", ("yaml", &file), &[]).await;
        assert_eq!(code, Some(0), "{file}: {output}");
        // A number that reads back as itself needs no quotes.
        let printed = output.replace('"', "");
        for line in [
            format!("request_topic: {topic}\n"),
            format!("instance_id: {text}\n"),
            format!("allowed_topics: [{topic}, other]\n"),
            format!("{{client.rack: {text}}}\n"),
        ] {
            assert!(printed.contains(&line), "{line:?} in:\n{output}");
        }
    }
}

#[tokio::test]
async fn numbers_of_json_and_toml_are_texts_as_written_too() {
    assert_prints(
        "proxy",
        ("json", r#"{"request_topic": 1.10}"#),
        &[],
        &["request_topic: \"1.10\""],
    )
    .await;
    assert_prints(
        "proxy",
        ("json", r#"{"request_topic": 2024.10, "port": 81}"#),
        &[],
        &["request_topic: \"2024.10\"", "port: 81"],
    )
    .await;
    assert_prints(
        "proxy",
        ("toml", "request_topic = 2024.10\nport = 81"),
        &[],
        &["request_topic: \"2024.10\"", "port: 81"],
    )
    .await;
}

#[tokio::test]
async fn numbers_are_understood_however_they_are_written_in_files_and_in_the_environment() {
    for (text, number) in [
        ("1e+04", 10_000),
        ("1e4", 10_000),
        ("0x2710", 10_000),
        ("+10000", 10_000),
        ("10000.0", 10_000),
    ] {
        for (file, env) in [
            (
                format!("max_pending: {text}\nmax_pending_per_topic: {number}\n"),
                vec![],
            ),
            (
                format!("max_pending_per_topic: {number}\n"),
                vec![("KHP__MAX_PENDING", text)],
            ),
            (String::new(), vec![("MAX_CONCURRENT_REQUESTS", text)]),
        ] {
            let (code, output) = check("proxy", ("yaml", &file), &env).await;
            assert_eq!(code, Some(0), "{file}{env:?}: {output}");
        }
    }
    let (code, output) = check(
        "proxy",
        ("yaml", "max_pending: 1.5\n"),
        &[("KHP__MAX_BODY_SIZE", "1e5")],
    )
    .await;
    assert_eq!(code, Some(64), "{output}");
    assert!(
        output.contains("max_pending: \"1.5\" is not a whole number") && !output.contains("max_body_size"),
        "{output}"
    );
}

#[tokio::test]
async fn merge_keys_and_x_keys_work_as_in_compose_files() {
    let file = "
x-defaults: &defaults
  timeout: 7
  max_retries: 1
  x-note: for people
x-slow: &slow {timeout: 60, retry: {on: [], x-why: slow}}
topics:
  - <<: *defaults
    request_topic: a
    backend_url: http://a
  - <<: [*slow, *defaults]
    request_topic: b
    backend_url: http://b
    max_retries: 9
log:
  x-owner: me
  level: warn
";
    let (code, output) = check("processor", ("yaml", file), &[]).await;
    assert_eq!(code, Some(0), "{output}");
    let (first, second) = output.split_once("- request_topic: b").expect("two topics");
    assert!(
        first.contains("timeout: 7\n") && first.contains("max_retries: 1\n"),
        "{output}"
    );
    assert!(
        second.contains("timeout: 60\n") && second.contains("max_retries: 9\n") && second.contains("on: []"),
        "{output}"
    );
    let (code, output) = check("proxy", ("yaml", "<<: 5\n"), &[]).await;
    assert_eq!(code, Some(64), "{output}");
    let (code, output) = check("proxy", ("yaml", "port: 1\nport: 2\n"), &[]).await;
    assert_eq!(code, Some(64), "{output}");
    assert!(output.contains("duplicate"), "{output}");
}

#[tokio::test]
async fn service_links_of_kubernetes_are_no_settings() {
    let links = [
        ("PROXY_PORT", "udp://10.0.0.1:80"),
        ("MANAGEMENT_PORT", "sctp://10.0.0.1:80"),
        ("CONSUMER_GROUP_PORT", "tcp://10.0.0.1:80"),
        ("CONSUMER_GROUP_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("CONSUMER_GROUP_PORT_80_TCP_PROTO", "tcp"),
        ("CONSUMER_GROUP_PORT_80_TCP_PORT", "80"),
        ("CONSUMER_GROUP_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("CONSUMER_GROUP_SERVICE_HOST", "10.0.0.1"),
        ("CONSUMER_GROUP_SERVICE_PORT", "80"),
        ("CONSUMER_GROUP_SERVICE_PORT_HTTP", "80"),
        ("CONSUMER_GROUP_ORDERS_PORT", "udp://10.0.0.2:80"),
        ("CONSUMER_GROUP_ORDERS_PORT_80_UDP", "udp://10.0.0.2:80"),
        ("CONSUMER_GROUP_ORDERS_SERVICE_HOST", "10.0.0.2"),
        ("CONSUMER_GROUP_ORDERS", "mine"),
    ];
    let file = "topics: [{name: port, request_topic: a, backend_url: 'http://a'}, {name: orders, request_topic: b, backend_url: 'http://b'}]";
    let (code, output) = check("all", ("yaml", file), &links).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(
        output.contains("consumer_group: processor-a\n") && output.contains("consumer_group: mine\n"),
        "{output}"
    );
    assert!(
        output.contains("\nport: 8080\n") && output.contains("\nmanagement_port: 0\n"),
        "{output}"
    );
    let warnings: Vec<&str> = output.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert!(
        warnings.iter().all(|warning| !warning.contains("CONSUMER_GROUP")),
        "{output}"
    );
    assert_eq!(
        warnings
            .iter()
            .filter(|warning| warning.contains("service link"))
            .count(),
        2,
        "{output}"
    );
}
