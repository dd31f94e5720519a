//! Only what stands in front says who the client is.

use serde_json::json;

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::exchange::exchange;
use crate::harness::names::Topics;
use crate::harness::records::Reader;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};

/// Everything that claims something about the client.
const CLAIMS: [(&str, &str); 8] = [
    ("X-Forwarded-For", "198.51.100.7, 10.9.9.9"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "front.example"),
    ("X-Forwarded-Port", "444"),
    ("X_Forwarded_User", "root"),
    ("X-Forwarded-Client-Cert", "Subject=\"CN=root\""),
    ("Forwarded", "for=198.51.100.7"),
    ("X-Real-IP", "198.51.100.7"),
];

fn claiming(request: Request) -> Request {
    let request = request.header("Host", "shop.example");
    CLAIMS
        .iter()
        .fold(request, |request, (name, value)| request.header(name, value))
}

async fn client_ip(proxy: &Service, topics: &Topics) -> String {
    let records = Reader::open(&topics.request);
    assert_eq!(proxy.request(claiming(Request::get("/"))).await.status, 200);
    records.next().await.header_text("khp-client-ip")
}

#[tokio::test]
async fn what_a_stranger_says_about_the_client_is_dropped() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics)
        .set("trusted_proxies", json!([]))
        .set("management_port", 0)
        .start()
        .await;
    assert_eq!(client_ip(&proxy, &topics).await, "127.0.0.1");
    let received = backend.last();
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "shop.example"),
        ("x-real-ip", "127.0.0.1"),
    ] {
        assert_eq!(received.all(name), [value], "{name}");
    }
    for name in [
        "x-forwarded-port",
        "x_forwarded_user",
        "x-forwarded-client-cert",
        "forwarded",
    ] {
        assert_eq!(received.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_kept_and_appended_to() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    // By default, the loopback and the private networks are trusted.
    let proxy = proxy(&topics).start().await;
    assert_eq!(client_ip(&proxy, &topics).await, "198.51.100.7");
    let received = backend.last();
    assert_eq!(received.all("x-forwarded-for"), ["198.51.100.7, 10.9.9.9, 127.0.0.1"]);
    assert_eq!(received.all("forwarded"), ["for=198.51.100.7", "for=127.0.0.1"]);
    for (name, value) in &CLAIMS[1..6] {
        assert_eq!(received.all(&name.to_ascii_lowercase()), [*value], "{name}");
    }
    assert_eq!(received.all("x-real-ip"), ["198.51.100.7"]);
}

#[tokio::test]
async fn a_rate_limit_counts_the_client_behind_a_trusted_proxy() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let limited = || proxy(&topics).set("rate_limit", 0.01).set("rate_limit_burst", 1);
    let behind = limited().start().await;
    let ask = |client: &str| Request::get("/").header("X-Forwarded-For", client);
    for client in ["198.51.100.1", "198.51.100.2", "6.6.6.6, 198.51.100.3"] {
        assert_eq!(behind.request(ask(client)).await.status, 200, "{client}");
    }
    behind
        .request(ask("7.7.7.7, 198.51.100.3"))
        .await
        .assert_problem(429, "rate-limited");
    let open = limited()
        .set("trusted_proxies", json!(["192.0.2.0/24"]))
        .set("management_port", 0)
        .start()
        .await;
    assert_eq!(open.request(ask("198.51.100.1")).await.status, 200);
    open.request(ask("198.51.100.2"))
        .await
        .assert_problem(429, "rate-limited");
}

#[tokio::test]
async fn a_client_cannot_have_dropped_what_a_gateway_added() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    let listed =
        "x-forwarded-for, X-Real-IP, authorization, cookie, x-request-id, traceparent, x-forwarded-proto, x-hop";
    let request = Request::get("/")
        .header("Connection", listed)
        .header("X-Forwarded-For", "198.51.100.7")
        .header("X-Forwarded-Proto", "https")
        .header("X-Real-IP", "198.51.100.7")
        .header("Authorization", "Bearer a")
        .header("Cookie", "a=b")
        .header("X-Request-ID", "one")
        .header("Traceparent", "00-1-2-01")
        .header("X-Hop", "gone");
    assert_eq!(proxy.request(request).await.status, 200);
    let received = backend.last();
    for (name, value) in [
        ("x-forwarded-for", "198.51.100.7, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "198.51.100.7"),
        ("authorization", "Bearer a"),
        ("cookie", "a=b"),
        ("x-request-id", "one"),
        ("traceparent", "00-1-2-01"),
    ] {
        assert_eq!(received.all(name), [value], "{name}");
    }
    assert_eq!(received.header("x-hop"), None);
}

#[tokio::test]
async fn metrics_on_the_proxys_own_port_are_for_trusted_proxies() {
    let topics = Topics::unique("orders");
    for (trusted, header, status) in [
        (json!(["private_ranges"]), None, 200),
        (json!(["private_ranges"]), Some("198.51.100.7"), 403),
        (json!([]), None, 403),
    ] {
        let proxy = proxy(&topics).set("trusted_proxies", trusted.clone()).start().await;
        let request = match header {
            Some(client) => format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Real-IP: {client}\r\n\r\n"),
            None => "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".into(),
        };
        let (answer, _) = exchange(&proxy, request.as_bytes()).await;
        assert_eq!(answer.status, status, "{trusted} {header:?}: {}", answer.text());
        let (answer, _) = exchange(&proxy, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(answer.status, 200);
        // The harness would ask for its metrics.
        proxy.stop().await;
    }
}
