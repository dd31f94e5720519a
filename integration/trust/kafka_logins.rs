//! Logins to Kafka over TLS, with the rights that the page about access to Kafka gives each role, and what a user sees that is refused.

use std::time::Duration;

use config::{Config, File, FileFormat};
use serde_json::{Value, json};

use crate::harness::acls::{Rule, operation, resource, rules_of};
use crate::harness::backend::{Answer, Backend, unreachable_url};
use crate::harness::binary::signal;
use crate::harness::certificates::Identity;
use crate::harness::client::Request;
use crate::harness::command::run;
use crate::harness::names::Topics;
use crate::harness::secured_kafka::SecuredKafka;
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::temp_dir::TempDir;
use crate::harness::token_provider::{LIFE_SECONDS, TokenProvider};
use crate::harness::wait::{eventually, within};

const PAGE: &str = include_str!("../../docs/kafka-access.md");
pub(super) const NOTICED: Duration = Duration::from_secs(40);
pub(super) const DEAD_LETTERS: &str = "dead-letters";
/// Those of the page that exist from the start.
pub(super) const TOPICS: [&str; 5] = [
    "orders-requests",
    "orders-requests-bodies",
    "orders-requests-control",
    "orders-responses",
    DEAD_LETTERS,
];

/// The names of the page. Each test has a Kafka of its own.
pub(super) fn topics() -> Topics {
    Topics {
        request: "orders-requests".into(),
        response: "orders-responses".into(),
        group: "processor-orders-requests".into(),
    }
}

/// The rules that the commands of the page create, with `roles` in the place of the users that it names.
pub(super) fn rules(roles: &[(&str, &str)]) -> Vec<Rule> {
    let fences = PAGE.split("```sh\n").skip(1);
    let commands: String = fences.filter_map(|rest| rest.split("```").next()).collect();
    let commands = roles.iter().fold(commands.replace("\\\n", " "), |text, (role, user)| {
        text.replace(role, user)
    });
    let rules: Vec<Rule> = commands.lines().flat_map(rules_of).collect();
    assert!(rules.len() > 10, "{rules:?}");
    rules
}

/// A Kafka that has the page's topics and rights.
async fn prepare(kafka: &SecuredKafka, roles: &[(&str, &str)]) {
    kafka.create_topics(&TOPICS).await;
    kafka.allow(rules(roles)).await;
}

pub(super) fn proxy_at(kafka: &SecuredKafka, properties: Value) -> Spec {
    proxy(&topics())
        .on(kafka.brokers())
        .set("consumer_group", topics().group)
        .set("kafka.properties", properties)
}

pub(super) fn processor_at(kafka: &SecuredKafka, backend_url: &str, properties: Value) -> Spec {
    processor(&[(&topics(), backend_url)])
        .on(kafka.brokers())
        .set_topics("max_retries", 0)
        .set("dead_letter_topic", DEAD_LETTERS)
        .set("kafka.properties", properties)
}

pub(super) async fn answers(proxy: &Service, status: u16) {
    within(NOTICED, &status.to_string(), async || {
        match proxy.request(Request::post("/", "hello")).await {
            answer if answer.status == status => Ok(()),
            answer => Err(format!("{}: {}", answer.status, answer.text())),
        }
    })
    .await;
}

/// Waits until the log has a line with all of these.
pub(super) async fn says(service: &Service, parts: &[&str]) {
    within(NOTICED, &format!("{parts:?}"), async || {
        let log = service.log();
        match log.lines().any(|line| parts.iter().all(|part| line.contains(part))) {
            true => Ok(()),
            false => Err(log),
        }
    })
    .await;
}

/// No line at warn or error speaks of a right that is missing.
fn lacks_nothing(service: &Service) {
    let log = service.log();
    let lines = log
        .lines()
        .filter(|line| line.contains(" WARN ") || line.contains("ERROR"));
    let denied: Vec<&str> = lines
        .filter(|line| line.to_lowercase().contains("authoriz") || line.contains("grant") || line.contains("refuses"))
        .collect();
    assert!(denied.is_empty(), "{denied:?}");
}

#[tokio::test]
async fn the_rights_of_the_page_are_all_that_each_role_needs() {
    let kafka = SecuredKafka::with_scram().await;
    prepare(&kafka, &[]).await;
    for user in ["orders-proxy", "orders-processor", "orders-operator"] {
        kafka.set_user(user, &format!("s3cret-of-{user}")).await;
    }
    let login = |user: &str| kafka.scram(user, &format!("s3cret-of-{user}"));
    let backend = Backend::echo().await;
    let processor = processor_at(&kafka, &backend.url(), login("orders-processor"))
        .start()
        .await;
    let proxy = proxy_at(&kafka, login("orders-proxy")).start().await;
    let answer = proxy.request(Request::post("/", "hello")).await;
    answer.assert_echo("hello");
    backend.answer_with(|received| Answer::body(received.body.len().to_string()));
    let answer = proxy.request(Request::post("/", vec![b'x'; 2_000_000])).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "2000000"));
    lacks_nothing(&proxy);
    lacks_nothing(&processor);

    // A dead letter, which the operator shows and sends back.
    backend.answer_with(|_| Answer::Close);
    proxy
        .request(Request::post("/lost", "x"))
        .await
        .assert_problem(502, "backend-reset");
    let operator = processor_at(&kafka, &unreachable_url(), login("orders-operator"));
    within(NOTICED, "a letter", async || {
        match run(&operator, &["dlq", "list"]).await {
            ended if ended.out.contains("backend-reset") => Ok(()),
            ended => Err(ended.text()),
        }
    })
    .await;
    backend.answer_with(Answer::echo);
    let redriven = run(&operator, &["dlq", "redrive"]).await;
    assert_eq!(
        (redriven.code, redriven.out.as_str()),
        (Some(0), "redriven: 1\n"),
        "{redriven:?}"
    );
    eventually("the redriven request is executed", async || {
        match backend.received().len() {
            count if count >= 3 => Ok(()),
            count => Err(count.to_string()),
        }
    })
    .await;

    // Without a right, its name is in the log and in what the client gets; granted again, nothing needs a restart.
    let of = |user: &str, kind: &str, name: &str, right: &str| {
        let wanted = (resource(kind, name), operation(right));
        let found = rules(&[]).into_iter().find(|rule| {
            rule.principal == format!("User:{user}") && ((rule.resource, rule.name.clone()), rule.operation) == wanted
        });
        found.expect("a right of the page")
    };
    let write = of("orders-proxy", "topic", "orders-requests", "Write");
    kafka.disallow(write.clone()).await;
    answers(&proxy, 503).await;
    says(&proxy, &["orders-requests", "uthorization"]).await;
    kafka.allow(vec![write]).await;
    answers(&proxy, 200).await;
    let read = of("orders-processor", "group", "processor-orders-requests", "Read");
    kafka.disallow(read.clone()).await;
    let second = processor_at(&kafka, &backend.url(), login("orders-processor"))
        .launch()
        .await;
    says(&second, &["ERROR", "Kafka refuses to let this service consume"]).await;
    kafka.allow(vec![read]).await;
    within(NOTICED, "ready", async || {
        second.expect_health("/health/ready", 200).await
    })
    .await;
    assert!(!proxy.log().contains("s3cret-of") && !processor.log().contains("s3cret-of"));
}

#[tokio::test]
async fn the_strimzi_user_has_the_rights_of_the_commands() {
    let text = PAGE.split("```yml\n").nth(1).and_then(|rest| rest.split("```").next());
    let file = File::from_str(text.expect("a KafkaUser"), FileFormat::Yaml);
    let user: Value = Config::builder()
        .add_source(file)
        .build()
        .and_then(Config::try_deserialize)
        .expect("YAML");
    let name = user["metadata"]["name"].as_str().expect("a name");
    let acls = user["spec"]["authorization"]["acls"].as_array().expect("a list");
    let mut strimzi = Vec::new();
    for acl in acls {
        let text = |key: &str| acl["resource"][key].as_str().expect("a text");
        for right in acl["operations"].as_array().expect("a list") {
            let right = right.as_str().expect("a text");
            strimzi.push(format!(
                "{:?} {:?}",
                resource(text("type"), text("name")),
                operation(right)
            ));
        }
    }
    let own = rules(&[])
        .into_iter()
        .filter(|rule| rule.principal == format!("User:{name}"));
    let mut commands: Vec<String> = own
        .map(|rule| format!("{:?} {:?}", (rule.resource, rule.name), rule.operation))
        .collect();
    strimzi.sort();
    commands.sort();
    assert_eq!(strimzi, commands);
}

#[tokio::test]
async fn a_wrong_password_is_told_in_the_brokers_words() {
    let kafka = SecuredKafka::with_scram().await;
    kafka.set_user("orders-proxy", "right").await;
    let proxy = proxy_at(&kafka, kafka.scram("orders-proxy", "wr0ng-s3cret"))
        .launch()
        .await;
    says(
        &proxy,
        &[
            "ERROR",
            "a Kafka broker refuses the login",
            &kafka.brokers(),
            "invalid credentials",
        ],
    )
    .await;
    assert!(!proxy.log().contains("wr0ng-s3cret"), "{}", proxy.log());
    assert_eq!(proxy.health("/health/ready").await, Some(503));

    // The commands tell it, too.
    let spec = processor_at(&kafka, &unreachable_url(), kafka.scram("orders-proxy", "wr0ng-s3cret"));
    for command in [&["dlq", "list"][..], &["topics", "create"]] {
        let ended = run(&spec, command).await;
        assert_eq!(ended.code, Some(69), "{ended:?}");
        ended.assert_shows(&["SASL authentication error", "invalid credentials"]);
    }

    let mut untrusting = kafka.scram("orders-proxy", "right");
    untrusting.as_object_mut().expect("a map").remove("ssl.ca.location");
    let proxy = proxy_at(&kafka, untrusting).launch().await;
    says(
        &proxy,
        &["ERROR", "no TLS with a Kafka broker", "certificate verify failed"],
    )
    .await;
}

#[tokio::test]
async fn a_certificate_is_a_login_and_an_expired_one_is_refused_by_name() {
    let kafka = SecuredKafka::start("SSL", |_| vec!["listener.name.ssl.ssl.client.auth=required".to_owned()]).await;
    prepare(
        &kafka,
        &[
            ("orders-proxy", "CN=orders-proxy"),
            ("orders-processor", "CN=orders-processor"),
        ],
    )
    .await;
    let login = |identity: &Identity| {
        json!({
            "security.protocol": "ssl",
            "ssl.ca.location": kafka.authority.file(),
            "ssl.certificate.location": identity.cert_file,
            "ssl.key.location": identity.key_file,
        })
    };
    let backend = Backend::echo().await;
    let own = kafka.authority.issue("orders-processor");
    let _processor = processor_at(&kafka, &backend.url(), login(&own)).start().await;
    let own = kafka.authority.issue("orders-proxy");
    let working = proxy_at(&kafka, login(&own)).start().await;
    working.request(Request::post("/", "hello")).await.assert_echo("hello");
    lacks_nothing(&working);

    let expired = proxy_at(&kafka, login(&kafka.authority.issue_expired("orders-proxy")))
        .launch()
        .await;
    says(
        &expired,
        &[
            "ERROR",
            "a Kafka broker refuses this client's certificate",
            &kafka.brokers(),
        ],
    )
    .await;
    let anonymous = json!({"security.protocol": "ssl", "ssl.ca.location": kafka.authority.file()});
    let anonymous = proxy_at(&kafka, anonymous).launch().await;
    says(
        &anonymous,
        &["ERROR", "a Kafka broker refuses this client's certificate"],
    )
    .await;
}

#[tokio::test]
async fn tokens_of_a_provider_are_a_login_and_are_renewed() {
    let provider = TokenProvider::start("orders-service", "s3cret-of-the-client").await;
    let keys = format!("file://{}", provider.keys_file());
    let kafka = SecuredKafka::start("SASL_SSL", |_| {
        vec![
            "-Xmx600m".to_owned(),
            "-XX:TieredStopAtLevel=1".to_owned(),
            "-XX:+UseSerialGC".to_owned(),
            format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={keys}"),
            format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.files={}", provider.keys_file()),
            "sasl.enabled.mechanisms=OAUTHBEARER".to_owned(),
            // A connection does not outlive its token.
            "connections.max.reauth.ms=3600000".to_owned(),
            format!("sasl.oauthbearer.jwks.endpoint.url={keys}"),
            "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;".to_owned(),
            "listener.name.sasl_ssl.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler".to_owned(),
        ]
    })
    .await;
    prepare(
        &kafka,
        &[
            ("orders-proxy", "orders-service"),
            ("orders-processor", "orders-service"),
        ],
    )
    .await;
    let dir = TempDir::new();
    let secret = dir.write("secret", "s3cret-of-the-client\n");
    let wrong = dir.write("wrong", "wr0ng-s3cret\n");
    let login = |secret: &std::path::Path| {
        json!({
            "security.protocol": "sasl_ssl",
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.token.endpoint.url": provider.url(),
            "sasl.oauthbearer.client.id": "orders-service",
            "sasl.oauthbearer.client.secret": format!("${{file:{}}}", secret.display()),
            "sasl.oauthbearer.scope": "kafka",
            "ssl.ca.location": kafka.authority.file(),
        })
    };
    let backend = Backend::echo().await;
    let processor = processor_at(&kafka, &backend.url(), login(&secret)).start().await;
    let proxy = proxy_at(&kafka, login(&secret)).start().await;
    proxy.request(Request::post("/", "hello")).await.assert_echo("hello");
    // Its body is read by a consumer of its own.
    let large = "x".repeat(2 << 20);
    proxy
        .request(Request::post("/", large.as_str()))
        .await
        .assert_echo(&large);
    let asked = provider.asked();
    assert!(asked <= 4, "one token for all connections of a process: {asked}");
    // Each of the two renews its token. The broker closes connections whose tokens have expired.
    let expired = tokio::time::sleep(Duration::from_secs(LIFE_SECONDS + 1));
    eventually("both tokens are renewed", async || match provider.asked() {
        now if now >= asked + 2 => Ok(()),
        now => Err(now.to_string()),
    })
    .await;
    expired.await;
    proxy.request(Request::post("/", "later")).await.assert_echo("later");
    lacks_nothing(&proxy);
    lacks_nothing(&processor);
    let listed = run(&processor_at(&kafka, &backend.url(), login(&secret)), &["dlq", "list"]).await;
    assert_eq!(listed.code, Some(70), "the user may not read dead letters: {listed:?}");

    let refused = processor_at(&kafka, &backend.url(), login(&wrong)).launch().await;
    let words = [
        "ERROR",
        "no OAuth token for Kafka",
        "status 401",
        "no such client, or a wrong secret",
    ];
    says(&refused, &words).await;
    assert!(!refused.log().contains("wr0ng-s3cret"), "{}", refused.log());
    assert_eq!(refused.health("/health/ready").await, Some(503));
    // The right secret in the file, and SIGHUP: no restart.
    dir.write("wrong", "s3cret-of-the-client\n");
    signal("HUP", refused.pid());
    within(NOTICED, "ready", async || {
        refused.expect_health("/health/ready", 200).await
    })
    .await;
}
