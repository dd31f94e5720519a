//! The table of errors in the README, row by row: status, code and document of each, and nothing in them of what is behind.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use serde_json::json;

use crate::harness::Topics;
use crate::harness::app::{App, Spec, processor, proxy};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Connection, Request, Response};
use crate::harness::kafka::{brokers, free_port};
use crate::harness::records::{Header, Reader, produce};
use crate::harness::topics::{create_topic, partitions};
use crate::harness::wait::eventually;

/// Rows that have a file of their own, which brings them about.
const ELSEWHERE: [(&str, &str); 3] = [
    ("breaker-open", include_str!("breaker.rs")),
    ("no-consumers", include_str!("no_consumers.rs")),
    ("rate-limited", include_str!("client_rate_limit.rs")),
];

/// A panic inside the processor: no record and no backend is known that brings one about, and the binary has no switch for it.
const NOWHERE: &str = "processor-failed";

/// What has been seen, and what no answer may show.
struct Table {
    seen: Vec<&'static str>,
    secrets: Vec<String>,
}

impl Table {
    fn check(&mut self, answer: &Response, status: u16, code: &'static str) {
        answer.assert_problem(status, code);
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{problem}");
        for member in ["type", "title", "detail"] {
            assert!(
                problem[member].as_str().is_some_and(|text| !text.is_empty()),
                "{problem}"
            );
        }
        assert_eq!(
            problem["correlation_id"].as_str(),
            answer.header("khp-correlation-id").as_deref()
        );
        let may_come_again = [429, 503].contains(&status);
        assert_eq!(answer.header("retry-after").is_some(), may_come_again, "{answer:?}");
        let fields = answer
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)));
        let shown = fields
            .chain([answer.text()])
            .collect::<Vec<_>>()
            .join("\n")
            .to_lowercase();
        for secret in &self.secrets {
            assert!(!shown.contains(&secret.to_lowercase()), "{secret} in {shown}");
        }
        self.seen.push(code);
    }
}

async fn raw(proxy: &App, wire: &str) -> Response {
    let mut connection = Connection::open(&proxy.address()).await.expect("the proxy listens");
    connection.send_raw(wire.as_bytes()).await.expect("sent");
    connection.read_response(false).await.expect("an answer")
}

#[tokio::test]
async fn every_row_is_what_the_readme_says() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let nowhere = format!("127.0.0.1:{}", free_port());
    let mut table = Table {
        seen: Vec::new(),
        secrets: [
            brokers(),
            backend.url().trim_start_matches("http://"),
            &nowhere,
            "127.0.0.1",
            "rdkafka",
            "hyper",
            "actix_",
            "os error",
            "connection refused",
            &topics.request,
            &topics.response,
        ]
        .map(str::to_owned)
        .to_vec(),
    };
    refusals(&mut table).await;
    backends(&mut table, &topics, &backend, &nowhere).await;
    repliers(&mut table).await;
    kafka(&mut table).await;
    draining(&mut table).await;

    let readme = include_str!("../README.md");
    let rows = readme
        .lines()
        .filter(|line| line.starts_with("| 4") || line.starts_with("| 5"));
    let codes = rows.flat_map(|row| row.split('|').nth(2).unwrap_or_default().split('`').skip(1).step_by(2));
    let mut codes: Vec<&str> = codes.collect();
    assert!(codes.len() > 20, "{codes:?}");
    for (code, file) in ELSEWHERE {
        assert!(
            file.contains(&format!("\"{code}\")")),
            "no test of {code} where it should be"
        );
    }
    let mut known = [table.seen, ELSEWHERE.map(|(code, _)| code).into(), vec![NOWHERE]].concat();
    known.sort_unstable();
    known.dedup();
    codes.sort_unstable();
    assert_eq!(codes, known, "the README's, and those brought about");
}

/// What the proxy refuses by itself.
async fn refusals(table: &mut Table) {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics)
        .set(
            "routes",
            json!([{
                "path": "/orders/{id}", "methods": ["GET", "POST", "CONNECT-ish"],
                "request_topic": topics.request, "response_topic": topics.response, "timeout": 4,
            }]),
        )
        .set("topic_headers", true)
        .set("max_body_size", 1000)
        .start()
        .await;
    let orders = || Request::get("/orders/7");
    table.check(
        &raw(&proxy, "GET orders HTTP/1.1\r\nHost: x\r\n\r\n").await,
        400,
        "bad-request",
    );
    table.check(
        &proxy.request(orders().via("a/b", &topics.response)).await,
        400,
        "bad-topic",
    );
    table.check(
        &proxy
            .request(orders().via("__consumer_offsets", &topics.response))
            .await,
        403,
        "topic-not-allowed",
    );
    table.check(&proxy.request(Request::get("/orders")).await, 404, "no-route");
    let answer = proxy.request(Request::new("DELETE", "/orders/7")).await;
    assert_eq!(answer.header("allow").as_deref(), Some("GET, POST, CONNECT-ish"));
    table.check(&answer, 405, "method-not-allowed");
    table.check(
        &raw(
            &proxy,
            "POST /orders/7 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        )
        .await,
        408,
        "body-timeout",
    );
    table.check(
        &proxy.request(Request::post("/orders/7", vec![b'x'; 1001])).await,
        413,
        "body-too-large",
    );
    table.check(
        &proxy.request(orders().header("X-Large", vec![b'x'; 70_000])).await,
        431,
        "head-too-large",
    );
    table.check(
        &proxy
            .request(orders().header("Connection", "Upgrade").header("Upgrade", "websocket"))
            .await,
        501,
        "upgrade-unsupported",
    );
    // Nobody answers there.
    table.check(&proxy.request(orders()).await, 504, "reply-timeout");
    proxy.wait_until_idle().await;
}

/// What backends bring about.
async fn backends(table: &mut Table, topics: &Topics, backend: &Backend, nowhere: &str) {
    let (unreachable, hanging, unserved) = (
        Topics::unique("unreachable"),
        Topics::unique("hanging"),
        Topics::unique("unserved"),
    );
    let hangs = Backend::start(|_| Answer::Hang).await;
    let processor = processor(&[
        (topics, &backend.url()),
        (&unreachable, &format!("http://{nowhere}")),
        (&hanging, &hangs.url()),
    ])
    .set_topics("max_retries", 0)
    // The others may take as long as the machine does.
    .set_topic(2, "timeout", 1)
    .start()
    .await;
    let proxy = proxy(topics).set("max_pending_per_topic", 1).start().await;
    let via = |topics: &Topics| Request::get("/").via(&topics.request, &topics.response);
    table.check(&proxy.request(via(&unreachable)).await, 502, "backend-unreachable");
    backend.answer_with(|_| Answer::Close);
    table.check(&proxy.request(Request::post("/", "x")).await, 502, "backend-reset");
    backend.answer_with(|_| Answer::body(vec![b'x'; 2_000_000]));
    table.check(&proxy.request(Request::get("/")).await, 502, "response-too-large");
    let waiting = proxy.leave_waiting(&via(&unserved)).await;
    proxy.wait_for_pending(1).await;
    table.check(&proxy.request(via(&unserved)).await, 503, "overloaded");
    drop(waiting);
    proxy.wait_until_idle().await;
    table.check(&proxy.request(via(&hanging)).await, 504, "backend-timeout");
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

/// What becomes of a request whose record or reply makes no sense.
async fn repliers(table: &mut Table) {
    let (inbox, topics) = (Topics::unique("inbox"), Topics::unique("orders"));
    create_topic(&inbox.request, 1).await;
    create_topic(&topics.request, 1).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&inbox).start().await;
    let requests = Reader::open(&inbox.request);

    // The record comes to the processor without its method.
    let mut waiting = proxy.leave_waiting(&Request::get("/")).await;
    let record = requests.next().await;
    let rest = record.headers.iter().filter(|(name, _)| name != ":method");
    let rest: Vec<Header<'_>> = rest.map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    produce(&topics.request, 0, b"", &rest).await;
    table.check(
        &waiting.read_response(false).await.expect("an answer"),
        500,
        "bad-message",
    );

    let mut waiting = proxy.leave_waiting(&Request::get("/")).await;
    let record = requests.next().await;
    let partition = record.header("kafka_replyPartition").expect("named");
    let partition = i32::from_be_bytes(partition.try_into().expect("four bytes"));
    let id = record.header("kafka_correlationId").expect("ours");
    produce(
        &inbox.response,
        partition,
        b"",
        &[("kafka_correlationId", id), (":status", b"99")],
    )
    .await;
    table.check(
        &waiting.read_response(false).await.expect("an answer"),
        502,
        "reply-lost",
    );
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;
}

/// Kafka is not there, or has not what is asked for.
async fn kafka(table: &mut Table) {
    let topics = Topics::unique("orders");
    let without = proxy(&topics).set("create_topics.allow", json!([])).start().await;
    let absent = Topics::unique("never-created");
    for (requests, replies) in [(&absent.request, &topics.response), (&topics.request, &absent.response)] {
        let request = Request::get("/").via(requests, replies);
        table.check(&without.request(request).await, 503, "kafka-unavailable");
    }
    without.wait_until_idle().await;

    let nobody = Spec::new("proxy")
        .set("kafka.bootstrap_servers", format!("127.0.0.1:{}", free_port()))
        .launch()
        .await;
    table.check(&nobody.request(Request::get("/")).await, 503, "starting");
    let unavailable = eventually("three probes fail", async || {
        let answer = nobody.request(Request::get("/")).await;
        match answer.json()["code"].as_str() {
            Some("kafka-unavailable") => Ok(answer),
            code => Err(format!("{code:?}")),
        }
    });
    table.check(&unavailable.await, 503, "kafka-unavailable");
    // The broker, which creates what a client asks for with such a wish, has had its time.
    let created = partitions(&absent.request) + partitions(&absent.response);
    assert_eq!(created, 0, "asking for a topic creates it");
}

/// A proxy stops while a request of its waits for a topic to open: for one that no broker leads, it would wait on and on.
async fn draining(table: &mut Table) {
    const LEADERLESS: &str = "leaderless-responses";
    let broker: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).expect("a mock broker");
    let topics = Topics::unique("orders");
    for topic in [topics.request.as_str(), &topics.response, LEADERLESS] {
        broker.create_topic(topic, 1, 1).expect("created");
    }
    broker.partition_leader(LEADERLESS, 0, None).expect("set");
    let mut proxy = proxy(&topics)
        .set("kafka.bootstrap_servers", broker.bootstrap_servers())
        .set("create_topics.enabled", false)
        .set("drain_timeout", 2)
        .start()
        .await;
    let mut waiting = proxy
        .leave_waiting(&Request::get("/").via(&topics.request, LEADERLESS))
        .await;
    proxy.wait_for_pending(1).await;
    proxy.signal("TERM").await;
    table.check(&waiting.read_response(false).await.expect("an answer"), 503, "draining");
    assert_eq!(proxy.wait_exit().await, Some(75), "something was cut off");
}
