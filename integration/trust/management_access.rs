//! Who may ask the management API, and what it costs to guess its token.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};

use crate::harness::backend::Backend;
use crate::harness::client::{self, Connection, Request, Response};
use crate::harness::management::TOKEN;
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor};

async fn spec() -> (Topics, Backend, Spec) {
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    let spec = processor(&[(&topics, &backend.url())]);
    (topics, backend, spec)
}

async fn ask(service: &Service, request: Request) -> Response {
    client::request(&service.management_address(), request).await
}

fn with_token(request: Request, token: &str) -> Request {
    request.header("Authorization", format!("Bearer {token}"))
}

/// Asks from another address of the loopback.
async fn ask_from(address: &str, service: &Service, request: &Request) -> Response {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(format!("{address}:0").parse().expect("an address"))
        .expect("it is free");
    let there: SocketAddr = service.management_address().parse().expect("an address");
    let stream = socket.connect(there).await.expect("it listens");
    let mut connection = Connection::over(stream, &service.management_address());
    connection.request(request).await.expect("an answer")
}

#[tokio::test]
async fn without_a_token_only_this_machine_can_ask() {
    let (_, _backend, spec) = spec().await;
    // Linux has the whole network 127.0.0.0/8 on the loopback: the second address is not the one that is bound.
    let other = |service: &Service| service.management_address().replace("127.0.0.1", "127.0.0.2");
    let spec = spec.unset("management_bind");
    let closed = spec.clone().start().await;
    let refused = TcpStream::connect(other(&closed))
        .await
        .map(drop)
        .map_err(|error| error.kind());
    assert_eq!(refused, Err(std::io::ErrorKind::ConnectionRefused));
    // A demo is for this machine with a token, too.
    let demo = Spec::new("demo")
        .unset("kafka")
        .unset("management_bind")
        .set("management_token", TOKEN);
    let demo = demo.start().await;
    let refused = TcpStream::connect(other(&demo))
        .await
        .map(drop)
        .map_err(|error| error.kind());
    assert_eq!(refused, Err(std::io::ErrorKind::ConnectionRefused));
    let open = spec.set("management_token", TOKEN).start().await;
    let answer = client::request(&other(&open), with_token(Request::get("/status"), TOKEN)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_web_page_whose_name_points_here_reads_nothing() {
    let (topics, _backend, spec) = spec().await;
    let service = spec.set("allowed_hosts", vec!["*.ops.example"]).start().await;
    for (host, status) in [
        ("evil.example", 421),
        ("khp.ops.example:8081", 200),
        ("localhost:8081", 200),
        ("127.0.0.1", 200),
    ] {
        for path in ["/status", "/metrics"] {
            let answer = ask(&service, Request::get(path).header("Host", host)).await;
            assert_eq!(answer.status, status, "{host} {path}");
        }
        let health = ask(&service, Request::get("/health/ready").header("Host", host)).await;
        assert_eq!(health.status, 200, "{host}");
    }
    let page = Request::get("/status").header("Host", "evil.example");
    assert!(!ask(&service, page).await.text().contains(&topics.request));
}

#[tokio::test]
async fn a_change_needs_the_token_and_the_exact_type_and_is_logged_with_its_sender() {
    let (topics, _backend, spec) = spec().await;
    let service = spec.set("management_token", TOKEN).start().await;
    let path = format!("/topics/{}/pause", topics.request);
    let typed = |kind: &str| with_token(Request::post(&path, "{}").header("Content-Type", kind), TOKEN);
    for kind in [
        "application/jsonp",
        "application/json-patch+json",
        "text/plain; application/json",
    ] {
        assert_eq!(ask(&service, typed(kind)).await.status, 415, "{kind}");
    }
    assert_eq!(service.logged("intake changed by an operator"), 0);
    let order = Request::post(&path, "{}")
        .header("Content-Type", "Application/JSON; charset=utf-8")
        .header("Authorization", format!("bearer {TOKEN}"))
        .header("User-Agent", "rollout/7");
    let answer = ask_from("127.0.0.3", &service, &order).await;
    assert_eq!(answer.json()["paused"], true, "{answer:?}");
    let log = service.log();
    let line = log.lines().find(|line| line.contains("intake changed by an operator"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    for part in ["127.0.0.3", "rollout/7", &topics.request] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[tokio::test]
async fn guessing_the_token_costs_a_second_each_and_delays_nobody_else() {
    let (_, _backend, spec) = spec().await;
    let service = spec.set("management_token", TOKEN).start().await;
    let wrong = with_token(Request::get("/status"), "wr0ng-t0ken-of-16");
    for _ in 0..10 {
        assert_eq!(ask(&service, wrong.clone()).await.status, 401);
    }
    let guess = async {
        let began = Instant::now();
        assert_eq!(ask(&service, wrong.clone()).await.status, 401);
        began.elapsed()
    };
    let elsewhere = async {
        let began = Instant::now();
        let right = with_token(Request::get("/status"), TOKEN);
        assert_eq!(ask_from("127.0.0.4", &service, &right).await.status, 200);
        assert_eq!(ask(&service, Request::get("/health/live")).await.status, 200);
        began.elapsed()
    };
    let (guess, elsewhere) = tokio::join!(guess, elsewhere);
    assert!(guess > Duration::from_millis(700), "{guess:?}");
    assert!(elsewhere < guess, "{elsewhere:?} {guess:?}");
    assert_eq!(service.logged("wrong management tokens"), 1, "{}", service.log());
}
