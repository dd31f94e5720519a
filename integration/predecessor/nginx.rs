//! nginx in front of the proxies, as the predecessor's users run it: its location blocks choose the topics.

use std::time::Duration;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{self, Body, Request};
use crate::harness::load::{Load, OnClose};
use crate::harness::names::Topics;
use crate::harness::nginx::Nginx;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};

/// The predecessor's README, "Nginx Configuration", unchanged.
const PREDECESSOR: &str = r#"
upstream proxy_backend {
    server proxy:8080;
    keepalive 100;
}

server {
    listen 80;

    location /api/orders/ {
        proxy_pass http://proxy_backend;
        proxy_set_header X-Kafka-Topic "orders-requests";
        proxy_set_header X-Kafka-Reply-Topic "orders-responses";
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_read_timeout 35s;
    }

    location /api/users/ {
        proxy_pass http://proxy_backend;
        proxy_set_header X-Kafka-Topic "users-requests";
        proxy_set_header X-Kafka-Reply-Topic "users-responses";
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_read_timeout 35s;
    }

    location / {
        proxy_pass http://proxy_backend;
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_read_timeout 35s;
    }
}
"#;

/// The file that docker/compose.yaml mounts.
const OURS: &str = include_str!("../../docker/nginx.conf");

/// The blocks with this test's topics and proxies in the place of the names that they hold.
fn fill(blocks: &str, orders: &Topics, users: &Topics, proxies: &[&Service]) -> String {
    let servers: Vec<String> = proxies
        .iter()
        .map(|proxy| format!("server {};", proxy.address()))
        .collect();
    assert!(blocks.contains("server proxy:8080;"), "{blocks}");
    blocks
        .replace("server proxy:8080;", &servers.join(" "))
        .replace("\"orders-requests\"", &orders.request)
        .replace("\"orders-responses\"", &orders.response)
        .replace("\"users-requests\"", &users.request)
        .replace("\"users-responses\"", &users.response)
}

async fn assert_each_location_reaches_its_backend(blocks: &str) {
    let (orders, users, common) = (
        Topics::unique("orders"),
        Topics::unique("users"),
        Topics::unique("common"),
    );
    let named = |name: &'static str| Backend::start(move |received| Answer::echo(received).header("X-Backend", name));
    let backends = (named("orders").await, named("users").await, named("common").await);
    let processor = processor(&[
        (&orders, &backends.0.url()),
        (&users, &backends.1.url()),
        (&common, &backends.2.url()),
    ]);
    let _processor = processor.start().await;
    let proxy = proxy(&common).start().await;
    let nginx = Nginx::start(&fill(blocks, &orders, &users, &[&proxy])).await;
    for (path, backend) in [
        ("/api/orders/7?x=1", "orders"),
        ("/api/users/8", "users"),
        ("/elsewhere", "common"),
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let mut request = Request::new(method, path).header("X-Many", "1").header("X-Many", "2");
            if method == "POST" {
                request = request.body(Body::Sized(b"through nginx".to_vec()));
            }
            let answer = client::request(&nginx.address(), request).await;
            assert_eq!(
                (answer.status, answer.header("x-backend").as_deref()),
                (200, Some(backend)),
                "{}",
                answer.text()
            );
            assert_eq!(answer.json()["target"], path);
        }
    }
    let received = backends.0.last();
    assert_eq!(received.all("x-many"), ["1", "2"]);
    assert_eq!(received.all("x-real-ip"), ["127.0.0.1"]);
    assert!(
        received
            .headers
            .iter()
            .all(|(name, _)| !name.to_lowercase().starts_with("x-kafka-")),
        "{:?}",
        received.headers
    );
}

#[tokio::test]
async fn the_predecessors_location_blocks_reach_their_own_backends() {
    assert_each_location_reaches_its_backend(PREDECESSOR).await;
}

#[tokio::test]
async fn the_location_blocks_that_we_ship_reach_their_own_backends() {
    assert_each_location_reaches_its_backend(OURS).await;
}

#[tokio::test]
async fn a_proxy_that_stops_behind_nginx_fails_no_request() {
    let (orders, users) = (Topics::unique("orders"), Topics::unique("users"));
    let backend = Backend::start(|received| Answer::same_body(received).after(Duration::from_millis(20))).await;
    let _processor = processor(&[(&orders, &backend.url())]).start().await;
    let (leaving, staying) = (
        proxy(&orders).set("pre_stop", 6).start().await,
        proxy(&orders).start().await,
    );
    let nginx = Nginx::start(&fill(OURS, &orders, &users, &[&leaving, &staying])).await;
    let load = Load::start(&nginx.address(), 16, OnClose::Reconnect, |body| {
        Request::post("/api/orders/", body)
    });
    load.wait_for_more(200).await;
    leaving.stop().await;
    load.wait_for_more(200).await;
    let report = load.finish().await;
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!(backend.received().len(), report.answered, "each was executed once");
}
