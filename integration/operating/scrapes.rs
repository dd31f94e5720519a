//! What Prometheus gets: pages without a fault, whatever the weather, with exemplars for whoever asks, and as many series as the
//! configuration has topics.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{self, Connection, Request};
use crate::harness::kafka::{Node, free_port};
use crate::harness::load::{Load, OnClose};
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::all;
use crate::harness::temp_dir::TempDir;
use crate::harness::wait::{eventually, off_thread, within};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The page as text, and promtool's verdict on it: nothing.
async fn checked(service: &Service) -> String {
    let page = service.manage("/metrics").await.text();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there: integration/install");
    let mut input = promtool.stdin.take().expect("its input");
    input.write_all(page.as_bytes()).await.expect("it reads");
    drop(input);
    let verdict = promtool.wait_with_output().await.expect("it ends");
    let words = [verdict.stdout, verdict.stderr].concat();
    assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&words));
    assert_eq!(String::from_utf8_lossy(&words), "");
    page
}

/// Every series of the page, without its value.
fn series(page: &str) -> BTreeSet<String> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
        .collect()
}

#[tokio::test]
async fn promtool_finds_nothing_under_load_in_an_outage_and_after_it() {
    let kafka = off_thread(Node::start).await;
    // The load takes the body that it sent for an answer, and no other.
    let (topics, backend) = (Topics::unique("orders"), Backend::start(Answer::same_body).await);
    let service = all(&topics, &backend.url())
        .on(kafka.brokers())
        .set("default_timeout", 5)
        .start()
        .await;
    assert_eq!(service.request(Request::post("/", "warm")).await.status, 200);
    let load = Load::start(&service.address(), 4, OnClose::Persist, |body| Request::post("/", body));
    load.wait_for_more(50).await;
    let page = checked(&service).await;
    assert!(page.contains("build_info{librdkafka=\"2."), "{page}");
    // librdkafka speaks after its first interval.
    for client in ["producer", "consumer"] {
        within(
            Duration::from_secs(40),
            "librdkafka tells its round trips",
            async || {
                let labels = [("client", client), ("broker", "1")];
                let time = service.metrics().await.sum("librdkafka_round_trip_seconds", &labels);
                (time > 0.0).then_some(()).ok_or_else(|| format!("{client}: {time}"))
            },
        )
        .await;
    }
    // Each client speaks for itself: another consumer may have been first.
    within(Duration::from_secs(40), "the group was joined", async || {
        let rebalances = service.metrics().await.sum("librdkafka_rebalances_total", &[]);
        (rebalances >= 1.0).then_some(()).ok_or_else(|| rebalances.to_string())
    })
    .await;
    let before = series(&checked(&service).await);

    kafka.freeze();
    within(
        Duration::from_secs(60),
        "requests to the broker get no answer",
        async || {
            let errors = service.metrics().await.sum("librdkafka_errors_total", &[]);
            (errors > 0.0).then_some(()).ok_or_else(|| errors.to_string())
        },
    )
    .await;
    checked(&service).await;
    kafka.thaw();
    load.wait_for_more(50).await;
    let after = series(&checked(&service).await);
    let new: Vec<_> = after.difference(&before).collect();
    let is_of_outage = |line: &&&String| {
        ["status=", "reason=", "proxy_timeouts", "proxy_request_latency"]
            .iter()
            .any(|word| line.contains(word))
    };
    let others: Vec<_> = new.iter().filter(|line| !is_of_outage(line)).collect();
    assert!(
        others.is_empty(),
        "an outage makes no series but those of its errors: {others:?}"
    );
    drop(load.finish().await);
}

/// A request of which nothing was ever seen before.
fn random(number: usize) -> Request {
    let method = match number % 4 {
        0 => "GET".to_owned(),
        1 => "POST".to_owned(),
        2 => format!("ZQ{number}"),
        _ => "DELETE".to_owned(),
    };
    let request = Request::new(&method, &format!("/zq/{number}?zq={number}"))
        .header("Host", format!("zq-{number}.invalid"))
        .header("X-Request-ID", format!("zq-{number}"))
        .header("traceparent", format!("00-{:032x}-00f067aa0ba902b7-01", number + 1));
    match number % 100 {
        7 => request.header("X-Kafka-Topic", format!("zq-{number}")),
        8 => request.header("X-Kafka-Reply-Topic", format!("zq-{number}")),
        _ => request,
    }
}

#[tokio::test]
async fn ten_thousand_names_that_clients_make_up_add_no_series() {
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    let service = all(&topics, &backend.url()).set("default_timeout", 3).start().await;
    assert_eq!(service.request(Request::post("/", "warm")).await.status, 200);
    let address = service.address();
    let send = async |numbers: std::ops::Range<usize>| {
        let mut clients = JoinSet::new();
        for client in 0..16 {
            let (address, numbers) = (address.clone(), numbers.clone());
            clients.spawn(async move {
                for number in numbers.skip(client).step_by(16) {
                    let mut connection = Connection::open(&address).await.expect("it listens");
                    let answer = connection.request(&random(number)).await.expect("an answer");
                    assert!(answer.status >= 200, "{answer:?}");
                }
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended.expect("no panic");
        }
    };
    send(0..400).await;
    let before = series(&service.manage("/metrics").await.text());
    send(400..10_400).await;
    let page = service.manage("/metrics").await.text();
    let after = series(&page);
    // What may become known later is bounded: the table of statuses, the first scrape, Kafka's brokers.
    let is_bounded = |line: &&String| {
        let words = ["status=", "reason=", "librdkafka_", "management_http_"];
        words.iter().any(|word| line.contains(word))
    };
    let (bounded, new): (Vec<_>, Vec<_>) = after.difference(&before).partition(is_bounded);
    assert!(new.is_empty() && bounded.len() < 100, "{new:?} {bounded:?}");
    assert!(!page.to_lowercase().contains("zq"), "{page}");
    let requests = service.metrics().await.sum("proxy_requests_total", &[]);
    assert!(requests >= 10_400.0, "{requests}");
}

#[tokio::test]
async fn a_prometheus_that_asks_for_exemplars_gets_the_trace_of_a_request() {
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    let service = all(&topics, &backend.url()).start().await;
    let traced = || Request::post("/", "x").header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    assert_eq!(service.request(traced()).await.status, 200);
    let accepts = |types: &str| Request::get("/metrics").header("Accept", types);
    let text = client::request(&service.management_address(), accepts("text/plain")).await;
    assert!(
        !text.text().contains("trace_id"),
        "the text format has no place for them"
    );

    let (dir, port) = (TempDir::new(), free_port());
    let config = json!({
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "khp", "static_configs": [{"targets": [service.management_address()]}]}],
    });
    let config = dir.write("prometheus.yaml", &config.to_string());
    let address = format!("127.0.0.1:{port}");
    let prometheus = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .arg("--enable-feature=exemplar-storage")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("prometheus is there: integration/install");
    let ask = async |path: &str| -> Result<Value, String> {
        let answer = client::try_request(&address, Request::get(path)).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let is_fine = answer.status == 200;
        is_fine.then(|| answer.json()).ok_or_else(|| answer.text())
    };
    for metric in ["proxy_phase_seconds_bucket", "processor_phase_seconds_bucket"] {
        eventually("Prometheus has the trace", async || {
            // Exemplars are stored with the samples of a scrape that follows.
            assert_eq!(service.request(traced()).await.status, 200);
            let found = ask(&format!(
                "/api/v1/query_exemplars?query={metric}&start=0&end=9999999999"
            ))
            .await?;
            let text = found.to_string();
            text.contains(TRACE).then_some(()).ok_or(text)
        })
        .await;
    }
    let up = ask("/api/v1/query?query=up").await.expect("it answers");
    assert_eq!(up["data"]["result"][0]["value"][1], "1", "{up}");
    drop(prometheus);
}
