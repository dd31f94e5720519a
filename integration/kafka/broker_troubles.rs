//! What a broker or the network says against us stands in the log at its default level: once for each broker and cause.

use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509Name};
use serde_json::json;

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::kafka::{Node, brokers, free_port};
use crate::harness::names::{Topics, unique};
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::topics::{create_topic, set_topic};
use crate::harness::wait::{eventually, within};

/// Long enough for each of a process's clients to try again several times.
const A_WHILE: Duration = Duration::from_secs(6);
const NOTICED: Duration = Duration::from_secs(40);

/// Waits until the log has `text`, and a while longer; then it must be there once.
async fn said_once(app: &Service, text: &str) {
    within(NOTICED, text, async || match app.logged(text) {
        0 => Err("not logged".to_owned()),
        _ => Ok(()),
    })
    .await;
    tokio::time::sleep(A_WHILE).await;
    let lines: Vec<String> = app
        .log()
        .lines()
        .filter(|line| line.contains(text))
        .map(str::to_owned)
        .collect();
    println!("{}", lines.join("\n"));
    assert_eq!(lines.len(), 1, "{text}\n{}", app.log());
}

async fn node(settings: &[String]) -> Node {
    let settings = settings.to_vec();
    let start = move || Node::try_start(&settings.iter().map(String::as_str).collect::<Vec<_>>());
    let started = tokio::task::spawn_blocking(start).await.expect("no panic");
    started.unwrap_or_else(|error| panic!("{error}"))
}

fn at(address: &str) -> Spec {
    proxy(&Topics::unique("orders")).set("kafka.bootstrap_servers", address)
}

#[tokio::test]
async fn a_port_that_refuses_connections_is_named() {
    let address = format!("127.0.0.1:{}", free_port());
    let proxy = at(&address).launch().await;
    said_once(&proxy, "a Kafka broker takes no connection").await;
    assert!(
        proxy.log().contains(&format!("broker=\"{address}\"")) || proxy.log().contains(&format!("broker={address}"))
    );
}

#[tokio::test]
async fn an_advertised_name_that_does_not_resolve_is_named() {
    let kafka = node(&["advertised.listeners=PLAINTEXT://no-such-broker.invalid:9092".to_owned()]).await;
    let proxy = at(&kafka.brokers()).launch().await;
    said_once(&proxy, "the name of a Kafka broker does not resolve").await;
    assert!(proxy.log().contains("no-such-broker.invalid:9092"));
}

#[tokio::test]
async fn tls_to_a_plain_port_is_named() {
    let proxy = at(brokers())
        .set("kafka.properties", json!({"security.protocol": "ssl"}))
        .launch()
        .await;
    said_once(&proxy, "no TLS with a Kafka broker").await;
}

#[tokio::test]
async fn a_plain_connection_to_a_tls_port_is_named() {
    let (port, (certificate, key)) = (free_port(), certificate());
    let kafka = node(&[
        format!("listener=SSL://127.0.0.1:{port}"),
        "ssl.keystore.type=PEM".to_owned(),
        format!("ssl.keystore.certificate.chain={certificate}"),
        format!("ssl.keystore.key={key}"),
    ])
    .await;
    let proxy = at(&format!("127.0.0.1:{port}")).launch().await;
    said_once(&proxy, "a Kafka broker closes each connection").await;
    drop(kafka);
}

#[tokio::test]
async fn a_refused_login_is_named_in_the_brokers_words() {
    let port = free_port();
    let kafka = node(&[
        format!("listener=SASL_PLAINTEXT://127.0.0.1:{port}"),
        "sasl.enabled.mechanisms=PLAIN".to_owned(),
        "listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"right\";".to_owned(),
    ])
    .await;
    let properties = json!({
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "alice",
        "sasl.password": "wr0ng",
    });
    let proxy = at(&format!("127.0.0.1:{port}"))
        .set("kafka.properties", properties)
        .launch()
        .await;
    said_once(&proxy, "a Kafka broker refuses the login").await;
    assert!(proxy.log().contains("Invalid username or password") && !proxy.log().contains("wr0ng"));
    drop(kafka);
}

#[tokio::test]
async fn a_topic_whose_name_collides_is_named_in_the_brokers_words() {
    let mut topics = Topics::unique("orders");
    let name = unique("collides");
    create_topic(&format!("{name}.requests"), 1).await;
    topics.request = format!("{name}_requests");
    let proxy = proxy(&topics).start().await;
    said_once(&proxy, "collides with existing topic").await;
}

#[tokio::test]
async fn a_compacted_topic_is_an_error_for_requests_and_a_warning_for_replies() {
    let topics = Topics::unique("orders");
    for topic in [&topics.request, &topics.response] {
        create_topic(topic, 1).await;
        set_topic(topic, "cleanup.policy", "compact").await;
    }
    let backend = Backend::echo().await;
    for app in [
        proxy(&topics).start().await,
        processor(&[(&topics, &backend.url())]).start().await,
    ] {
        said_once(&app, "this request topic is compacted").await;
        said_once(&app, "this reply topic is compacted").await;
        let line = |text: &str| {
            app.log()
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned)
                .unwrap_or_default()
        };
        assert!(
            line("this request topic is compacted").contains("ERROR"),
            "{}",
            app.log()
        );
        assert!(line("this reply topic is compacted").contains("WARN"), "{}", app.log());
    }
}

#[tokio::test]
async fn a_topic_is_said_to_be_created_once_and_only_by_its_creator() {
    let (topics, existing) = (Topics::unique("orders"), Topics::unique("existing"));
    for topic in [&existing.request, &existing.response] {
        create_topic(topic, 1).await;
    }
    let backend = Backend::echo().await;
    let (one, two) = tokio::join!(
        processor(&[(&topics, &backend.url()), (&existing, &backend.url())]).start(),
        proxy(&topics).start()
    );
    assert_eq!(two.request(Request::post("/", "hello")).await.status, 200);
    assert_eq!(
        two.request(Request::post("/", "hello").via(&existing.request, &existing.response))
            .await
            .status,
        200
    );
    let said = |topic: &str| {
        let of = |app: &Service| {
            app.log()
                .lines()
                // A control topic's name begins with that of its request topic.
                .filter(|line| line.contains("topic created") && line.split([' ', '=', '"']).any(|word| word == topic))
                .count()
        };
        of(&one) + of(&two)
    };
    let control = format!("{}-control", topics.request);
    for topic in [&topics.request, &topics.response, &control] {
        assert_eq!(said(topic), 1, "{topic}\n{}\n{}", one.log(), two.log());
    }
    for topic in [&existing.request, &existing.response] {
        assert_eq!(said(topic), 0, "{topic}\n{}\n{}", one.log(), two.log());
    }
}

/// A broker that is restarted is an everyday matter: a line for each time it was gone, and none of a wrong configuration.
#[tokio::test]
async fn a_restart_of_the_broker_is_a_line_each_time_and_no_flood() {
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    let mut kafka = node(&[]).await;
    let on = |spec: Spec| spec.set("kafka.bootstrap_servers", kafka.brokers());
    let processor = on(processor(&[(&topics, &backend.url())])).start().await;
    let proxy = on(proxy(&topics)).start().await;
    for times in 1..=2 {
        kafka.kill();
        tokio::time::sleep(A_WHILE).await;
        kafka = tokio::task::spawn_blocking(move || {
            kafka.restart();
            kafka
        })
        .await
        .expect("it comes back");
        eventually("answered again", async || {
            match proxy.request(Request::post("/", "hello")).await.status {
                200 => Ok(()),
                status => Err(status.to_string()),
            }
        })
        .await;
        for app in [&proxy, &processor] {
            let troubled: Vec<String> = app
                .log()
                .lines()
                .filter(|line| line.contains("WARN") || line.contains("ERROR"))
                .map(str::to_owned)
                .collect();
            println!("{}", troubled.join("\n"));
            assert_eq!(app.logged("a Kafka broker takes no connection"), times, "{}", app.log());
            // Beside it: that Kafka does not answer, that offsets are not committed, and that a request was not taken.
            assert!(troubled.len() <= 6 * times, "{} lines\n{}", troubled.len(), app.log());
            assert_eq!(app.logged("closes each connection"), 0, "{}", app.log());
        }
        // The probe asks each second: the broker has answered it.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// A certificate of our own and its key, in PEM, as a value of a Java properties file.
fn certificate() -> (String, String) {
    let key = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
    let mut name = X509Name::builder().expect("a name");
    name.append_entry_by_text("CN", "127.0.0.1").expect("a name");
    let name = name.build();
    let mut certificate = X509::builder().expect("a certificate");
    certificate.set_version(2).expect("version 3");
    certificate.set_subject_name(&name).expect("a subject");
    certificate.set_issuer_name(&name).expect("an issuer");
    certificate.set_pubkey(&key).expect("a key");
    certificate
        .set_not_before(&Asn1Time::days_from_now(0).expect("today"))
        .expect("a date");
    certificate
        .set_not_after(&Asn1Time::days_from_now(1).expect("tomorrow"))
        .expect("a date");
    certificate.sign(&key, MessageDigest::sha256()).expect("a signature");
    let line = |pem: Vec<u8>| String::from_utf8(pem).expect("text").replace('\n', "\\n");
    (
        line(certificate.build().to_pem().expect("PEM")),
        line(key.private_key_to_pem_pkcs8().expect("PEM")),
    )
}
