//! The table of errors in `docs/responses.md`, row by row: each status, code and document. No answer shows an address, a topic or a library.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use serde_json::json;

use crate::harness::backend::{Answer, Backend, unreachable_url};
use crate::harness::client::{Request, Response};
use crate::harness::exchange::exchange;
use crate::harness::kafka::{brokers, free_port};
use crate::harness::names::Topics;
use crate::harness::records::{Header, Reader, produce};
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::topics::{create_topic, partitions};
use crate::harness::wait::eventually;

/// Codes that have a test of their own, in the file beside them.
const ELSEWHERE: [(&str, &str); 15] = [
    ("breaker-open", include_str!("../delivery/breaker.rs")),
    ("no-consumers", include_str!("../kafka/no_consumers.rs")),
    ("rate-limited", include_str!("client_rate_limit.rs")),
    ("unauthenticated", include_str!("../trust/auth/keys.rs")),
    ("forbidden", include_str!("../trust/auth/tokens.rs")),
    ("keys-unavailable", include_str!("../trust/auth/tokens.rs")),
    ("tls-required", include_str!("../trust/tls/handshakes.rs")),
    ("no-result", include_str!("../later/ends.rs")),
    ("result-gone", include_str!("../later/ends.rs")),
    ("idempotency-key-missing", include_str!("../idempotency/keys.rs")),
    ("idempotency-key-invalid", include_str!("../idempotency/keys.rs")),
    ("idempotency-key-in-use", include_str!("../idempotency/repeats.rs")),
    ("idempotency-key-reused", include_str!("../idempotency/repeats.rs")),
    ("outcome-unknown", include_str!("../idempotency/repeats.rs")),
    ("idempotency-unavailable", include_str!("../idempotency/memory.rs")),
];

/// The code after a panic inside the processor. No record and no backend is known to cause one, so no test does.
const UNTESTED: &str = "processor-failed";

/// The codes that were seen, and the texts that no answer may show.
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
        let retryable = [429, 503].contains(&status);
        assert_eq!(answer.header("retry-after").is_some(), retryable, "{answer:?}");
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

#[tokio::test]
async fn every_row_of_the_error_table_is_true() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let unreachable = unreachable_url();
    let mut table = Table {
        seen: Vec::new(),
        secrets: [
            brokers(),
            backend.url().trim_start_matches("http://"),
            unreachable.trim_start_matches("http://"),
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
    backends(&mut table, &topics, &backend, &unreachable).await;
    repliers(&mut table).await;
    kafka(&mut table).await;
    draining(&mut table).await;

    let page = include_str!("../../docs/responses.md");
    let (_, section) = page
        .split_once("## Errors of this service")
        .expect("the page has this section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section
        .lines()
        .filter(|line| line.starts_with("| 4") || line.starts_with("| 5"));
    let codes = rows.flat_map(|row| row.split('|').nth(2).unwrap_or_default().split('`').skip(1).step_by(2));
    let mut codes: Vec<&str> = codes.collect();
    assert!(codes.len() > 20, "{codes:?}");
    for (code, file) in ELSEWHERE {
        assert!(file.contains(&format!("\"{code}\")")), "that file does not test {code}");
    }
    let mut known = [table.seen, ELSEWHERE.map(|(code, _)| code).into(), vec![UNTESTED]].concat();
    known.sort_unstable();
    known.dedup();
    codes.sort_unstable();
    assert_eq!(codes, known, "the codes of the page, and those that were seen");
}

/// Requests that the proxy refuses without sending them.
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
        &exchange(&proxy, b"GET orders HTTP/1.1\r\nHost: x\r\n\r\n").await.0,
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
        &exchange(
            &proxy,
            b"POST /orders/7 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        )
        .await
        .0,
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
    // No processor serves these topics.
    table.check(&proxy.request(orders()).await, 504, "reply-timeout");
}

/// Errors whose cause is the backend.
async fn backends(table: &mut Table, topics: &Topics, backend: &Backend, unreachable_url: &str) {
    let (unreachable, hanging, unserved) = (
        Topics::unique("unreachable"),
        Topics::unique("hanging"),
        Topics::unique("unserved"),
    );
    let hangs = Backend::start(|_| Answer::Hang).await;
    let _processor = processor(&[
        (topics, &backend.url()),
        (&unreachable, unreachable_url),
        (&hanging, &hangs.url()),
    ])
    .set_topics("max_retries", 0)
    // The other two have the default, which is long enough for a busy machine.
    .set_topic(2, "timeout", 1)
    .start()
    .await;
    // An answer that is larger than a record would be streamed.
    let proxy = proxy(topics)
        .set("max_pending_per_topic", 1)
        .set("streaming", "off")
        .start()
        .await;
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
}

/// Errors whose cause is a record that cannot be read.
async fn repliers(table: &mut Table) {
    let (inbox, topics) = (Topics::unique("inbox"), Topics::unique("orders"));
    create_topic(&inbox.request, 1).await;
    create_topic(&topics.request, 1).await;
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&inbox).start().await;
    let requests = Reader::open(&inbox.request);

    // The processor gets the request's record without its method.
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
    let partition = record.reply_partition().expect("the proxy reads one partition");
    let headers: [Header<'_>; 2] = [("kafka_correlationId", record.correlation_id()), (":status", b"99")];
    produce(&inbox.response, partition, b"", &headers).await;
    table.check(
        &waiting.read_response(false).await.expect("an answer"),
        502,
        "reply-lost",
    );
}

/// Errors whose cause is Kafka: there is no broker, or no such topic.
async fn kafka(table: &mut Table) {
    let topics = Topics::unique("orders");
    let without = proxy(&topics).set("create_topics.allow", json!([])).start().await;
    let absent = Topics::unique("never-created");
    for (requests, replies) in [(&absent.request, &topics.response), (&topics.request, &absent.response)] {
        let request = Request::get("/").via(requests, replies);
        table.check(&without.request(request).await, 503, "kafka-unavailable");
    }

    let without_broker = Spec::new("proxy")
        .set("kafka.bootstrap_servers", format!("127.0.0.1:{}", free_port()))
        .launch()
        .await;
    table.check(&without_broker.request(Request::get("/")).await, 503, "starting");
    let unavailable = eventually("three probes fail", async || {
        let answer = without_broker.request(Request::get("/")).await;
        match answer.json()["code"].as_str() {
            Some("kafka-unavailable") => Ok(answer),
            code => Err(format!("{code:?}")),
        }
    });
    table.check(&unavailable.await, 503, "kafka-unavailable");
    // The broker creates a topic for a client that asks for that, and has had the time to do so.
    let created = partitions(&absent.request) + partitions(&absent.response);
    assert_eq!(created, 0, "no client asked for a topic to be created");
}

/// A proxy stops while a request waits for its topic to open. This topic has no leader, so it never opens.
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
    proxy.signal("TERM");
    table.check(&waiting.read_response(false).await.expect("an answer"), 503, "draining");
    assert_eq!(proxy.wait_exit().await, Some(75), "a request was cut off");
}
