//! The folders of `examples`, each as its own page says.

use std::fs::File;
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::{Renamed, commands, document, root};
use crate::harness::backend::{Answer, Backend};
use crate::harness::kafka::brokers;
use crate::harness::names::unique;
use crate::harness::nginx::Nginx;
use crate::harness::temp_dir::TempDir;

/// The addresses of the backends in the examples.
const BACKENDS: [&str; 2] = ["http://localhost:9001", "http://localhost:9002"];

/// Runs the example's requests one after the other and returns their answers.
async fn requests(folder: &str, renamed: Renamed, shown: &str, own: String) -> Vec<String> {
    let renamed = renamed.and(shown, own);
    let mut answers = Vec::new();
    for command in commands(&document(&format!("examples/{folder}/README.md")), "curl") {
        answers.push(renamed.run(&command).await);
    }
    answers
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn routes_reach_their_services() {
    let (orders, reports) = (Backend::echo().await, Backend::echo().await);
    let topics = [
        "orders-requests",
        "orders-responses",
        "reports-requests",
        "reports-responses",
        "dead-letters",
    ];
    let renamed = Renamed::topics(&topics)
        .and(BACKENDS[0], orders.url())
        .and(BACKENDS[1], reports.url());
    let _processor = renamed
        .process("processor", &document("examples/routes/processor.yaml"))
        .start()
        .await;
    let proxy = renamed
        .process("proxy", &document("examples/routes/proxy.yaml"))
        .start()
        .await;

    let answers = requests("routes", renamed, "localhost:8080", proxy.address()).await;
    let statuses: Vec<&str> = answers.iter().map(|answer| status(answer)).collect();
    assert_eq!(statuses, ["200", "200", "404"]);
    assert!(answers[2].contains("\"code\":\"no-route\""), "{}", answers[2]);
    assert_eq!((orders.count(), reports.count()), (1, 1));
    assert_eq!(orders.last().target, "/orders/7");
    assert_eq!(reports.last().target, "/reports/2026/november");
}

#[tokio::test]
async fn nginx_chooses_the_topics() {
    let (orders, users) = (Backend::echo().await, Backend::echo().await);
    let topics = [
        "orders-requests",
        "orders-responses",
        "users-requests",
        "users-responses",
        "common-requests",
        "common-responses",
        "dead-letters",
    ];
    let renamed = Renamed::topics(&topics)
        .and(BACKENDS[0], orders.url())
        .and(BACKENDS[1], users.url());
    let _processor = renamed
        .process("processor", &document("examples/nginx/processor.yaml"))
        .start()
        .await;
    let proxy = renamed.process("proxy", &document("examples/nginx/proxy.yaml"));
    // The defaults are another test's topics, too.
    let proxy = proxy.set("request_topic", renamed.apply("common-requests"));
    let proxy = proxy
        .set("response_topic", renamed.apply("common-responses"))
        .start()
        .await;
    let blocks = renamed.apply(&document("examples/nginx/nginx.conf"));
    assert!(blocks.contains("server localhost:8080;"), "{blocks}");
    let nginx = Nginx::start(&blocks.replace("localhost:8080", &proxy.address())).await;

    let answers = requests(
        "nginx",
        renamed,
        "http://localhost",
        format!("http://{}", nginx.address()),
    )
    .await;
    assert_eq!(
        answers.iter().map(|answer| status(answer)).collect::<Vec<_>>(),
        ["200"; 3]
    );
    let targets =
        |backend: &Backend| -> Vec<String> { backend.received().into_iter().map(|received| received.target).collect() };
    assert_eq!(targets(&orders), ["/api/orders/7", "/api/orders/7"]);
    assert_eq!(targets(&users), ["/api/users/"]);
    // What a client names is taken for nothing where no location names a topic.
    orders.answer_with(|_| Answer::body("common"));
    let elsewhere = format!(
        "curl -s -H 'X-Kafka-Topic: secret-requests' http://{}/",
        nginx.address()
    );
    assert_eq!(Renamed::topics(&[]).run(&elsewhere).await, "common");
}

/// A Java process. Dropped, it is killed; when the test fails, its log is printed.
struct Java {
    _child: Child,
    dir: TempDir,
}

impl Java {
    fn start(jar: &str, env: &[(&str, &str)]) -> Self {
        let dir = TempDir::new();
        let log = File::create(dir.path().join("log")).expect("the log file is created");
        let child = Command::new("java")
            .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-jar"])
            .arg(root().join(jar))
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle to the log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("Java is installed; integration/install installs it");
        Java { _child: child, dir }
    }
}

impl Drop for Java {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            eprintln!("---- log of the Java process ----\n{log}");
        }
    }
}

#[tokio::test]
async fn a_spring_service_answers_from_kafka() {
    let built = Command::new(root().join("integration/spring-build")).status().await;
    assert!(built.as_ref().is_ok_and(|status| status.success()), "{built:?}");
    let renamed = Renamed::topics(&["greetings-requests", "greetings-responses"]);
    let proxy = renamed
        .process("proxy", &document("examples/spring-replier/proxy.yaml"))
        .start()
        .await;
    let replier = Java::start(
        "integration/.spring/target/spring-replier.jar",
        &[
            ("KAFKA_BOOTSTRAP_SERVERS", brokers()),
            ("GREETINGS_REQUEST_TOPIC", &renamed.apply("greetings-requests")),
            ("SPRING_KAFKA_CONSUMER_GROUP_ID", &unique("greetings-replier")),
        ],
    );
    let answers = requests("spring-replier", renamed, "localhost:8080", proxy.address()).await;
    let [get, post, verses] = &answers[..] else {
        panic!("three requests: {answers:?}")
    };
    assert_eq!((status(get), status(post)), ("200", "201"));
    assert!(get.ends_with("\r\n\r\nHello, Ada!\n"), "{get}");
    assert!(post.ends_with("\r\n\r\nGood evening, Ada!\n"), "{post}");
    assert!(get.contains("content-type: text/plain; charset=utf-8\r\n"), "{get}");
    // In several records: no length is told.
    assert_eq!(status(verses), "200");
    assert!(verses.contains("transfer-encoding: chunked\r\n"), "{verses}");
    let poem = "Roses are red,\nviolets are blue,\nKafka is streaming\nAda, to you.\n";
    assert!(verses.ends_with(&format!("\r\n\r\n{poem}")), "{verses}");
    drop(replier);
}
