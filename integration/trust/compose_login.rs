//! The login of `docker/compose.sasl.yaml`: a broker with the settings of that file starts, and lets in each role with its password alone.

use config::{Config, File, FileFormat};
use serde_json::json;

use crate::harness::command::run;
use crate::harness::kafka::{Node, free_port};
use crate::harness::names::Topics;
use crate::harness::spec::proxy;

/// The environment of its Kafka, with passwords put in as Compose does.
fn environment() -> Vec<(String, String)> {
    let file = File::from_str(include_str!("../../docker/compose.sasl.yaml"), FileFormat::Yaml);
    let compose = Config::builder().add_source(file).build().expect("YAML");
    let lines = compose.get_array("services.kafka.environment").expect("a list");
    let pair = |line: config::Value| {
        let line = line.to_string();
        let line = line.replace("${PROXY_PASSWORD:?}", "of-proxy");
        let line = line.replace("${PROCESSOR_PASSWORD:?}", "of-processor");
        let (name, value) = line.split_once('=').expect("NAME=value");
        (name.to_owned(), value.to_owned())
    };
    lines.into_iter().map(pair).collect()
}

/// A broker's property, as the image reads it from a variable.
fn property(variable: &str) -> Option<String> {
    let name = variable.strip_prefix("KAFKA_")?.to_lowercase();
    Some(name.replace("__", "\0").replace('_', ".").replace('\0', "_"))
}

#[tokio::test]
async fn a_broker_with_the_login_of_the_compose_file_lets_in_its_roles_and_nobody_else() {
    let environment = environment();
    let value = |name: &str| {
        environment
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    };
    let listener = format!("127.0.0.1:{}", free_port());
    // Those of the tests, which a JVM option of one's own takes the place of.
    let mut settings = vec![
        "-Xmx600m".to_owned(),
        "-XX:TieredStopAtLevel=1".into(),
        "-XX:+UseSerialGC".into(),
    ];
    let options = value("KAFKA_OPTS").expect("the image does not start without it");
    settings.extend(options.split(' ').map(str::to_owned));
    settings.push(format!("listener=SASL_PLAINTEXT://{listener}"));
    for (variable, value) in &environment {
        if let Some(property) = property(variable).filter(|property| property.contains("sasl")) {
            settings.push(format!("{property}={value}"));
        }
    }
    assert!(
        settings
            .iter()
            .any(|line| line.starts_with("listener.name.sasl_plaintext.plain.sasl.jaas.config="))
    );
    let start = move || Node::try_start(&settings.iter().map(String::as_str).collect::<Vec<_>>());
    let node = tokio::task::spawn_blocking(start).await.expect("no panic");
    let _node = node.unwrap_or_else(|error| panic!("{error}"));
    for (user, password, code) in [
        ("proxy", "of-proxy", 0),
        ("processor", "of-processor", 0),
        ("proxy", "of-processor", 69),
        ("nobody", "", 69),
    ] {
        let login = json!({
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user,
            "sasl.password": password,
        });
        let spec = proxy(&Topics::unique("orders"))
            .on(&*listener)
            .set("kafka.properties", login);
        let ended = run(&spec, &["check", "--connect", "--mode", "proxy"]).await;
        assert_eq!(ended.code, Some(code), "{user}: {ended:?}");
    }
}
