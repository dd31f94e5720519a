//! Health, metrics and status: what operators see, and who may see it.

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{self, Request, Response};
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{all, processor, proxy};
use crate::harness::wait::eventually;

async fn ask(app: &Service, request: Request) -> Response {
    client::request(&app.management_address(), request).await
}

#[tokio::test]
async fn the_metrics_of_dashboards_keep_their_names_and_labels() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    assert_eq!(proxy.request(Request::post("/", "x")).await.status, 200);
    proxy.wait_until_idle().await;
    processor.wait_until_idle().await;

    let seen = proxy.metrics().await;
    let request: &[(&str, &str)] = &[("method", "POST"), ("topic", &topics.request)];
    assert_eq!(
        seen.sum("proxy_requests_total", &[request, &[("status", "200")]].concat()),
        1.0
    );
    assert_eq!(seen.sum("proxy_request_latency_seconds_count", request), 1.0);
    assert_eq!(
        seen.sum("proxy_kafka_latency_seconds_count", &[("topic", &topics.request)]),
        1.0
    );
    let families: [(&str, &[&str]); 3] = [
        ("proxy_requests_total", &["method", "topic", "status"]),
        ("proxy_request_latency_seconds", &["method", "topic"]),
        ("proxy_kafka_latency_seconds", &["topic"]),
    ];
    for (name, labels) in families {
        assert!(seen.has_labels(name, labels), "{name} has the labels {labels:?}");
    }
    for name in [
        "proxy_pending_requests",
        "proxy_active_consumers",
        "proxy_late_replies_total",
        "proxy_unmatched_replies_total",
        "proxy_foreign_replies_total",
    ] {
        assert!(seen.has(name), "{name}");
    }

    let seen = processor.metrics().await;
    assert_eq!(seen.sum("processor_messages_total", &[("topic", &topics.request)]), 1.0);
    let families: [(&str, &[&str]); 3] = [
        ("processor_messages_total", &["topic", "status"]),
        ("processor_latency_seconds", &["topic"]),
        ("processor_backend_latency_seconds", &["topic", "backend"]),
    ];
    for (name, labels) in families {
        assert!(seen.has_labels(name, labels), "{name} has the labels {labels:?}");
    }
    for name in ["processor_active_consumers", "processor_messages_in_flight"] {
        assert!(seen.has(name), "{name}");
    }
    assert_eq!(seen.sum("processor_active_consumers", &[]), 1.0);
}

#[tokio::test]
async fn labels_come_from_bounded_sets_only() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    for number in 0..3 {
        assert_eq!(
            proxy
                .request(Request::new(&format!("VERB{number}"), &format!("/{number}")))
                .await
                .status,
            200
        );
    }
    let page = proxy.manage("/metrics").await.text();
    assert!(!page.contains("VERB"), "{page}");
    assert_eq!(
        proxy
            .metrics()
            .await
            .sum("proxy_requests_total", &[("method", "other")]),
        3.0
    );
}

#[tokio::test]
async fn status_shows_a_processors_topics_and_backends() {
    let (orders, users) = (Topics::unique("orders"), Topics::unique("users"));
    let backend = Backend::echo().await;
    let processor = processor(&[(&orders, &backend.url()), (&users, &backend.url())])
        .start()
        .await;
    let answer = processor.manage("/status").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let status = answer.json();
    assert_eq!(status["running"], true, "{status}");
    assert_eq!(status["configured_topics"], 2, "{status}");
    assert_eq!(status["active_consumers"], 2, "{status}");
    let topics = status["topics"]
        .as_object()
        .unwrap_or_else(|| panic!("a map by topic name: {status}"));
    assert_eq!(topics.len(), 2, "{status}");
    for name in [&orders, &users] {
        let topic = &topics[&name.request];
        assert_eq!(topic["backend_url"], backend.url(), "{status}");
        assert_eq!(topic["response_topic"], name.response, "{status}");
    }
}

#[tokio::test]
async fn backends_are_checked_and_status_shows_their_state() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("health_check_interval", 1)
        .start()
        .await;
    backend.wait_for_calls(2).await;
    assert!(
        backend
            .received()
            .iter()
            .all(|check| check.method == "GET" && check.target == "/health")
    );
    let topic_status = async || processor.manage("/status").await.json()["topics"][&topics.request].to_string();
    let healthy = eventually("a healthy backend shows", async || match topic_status().await {
        status if status.contains("\"unknown\"") => Err(status),
        status => Ok(status),
    })
    .await;
    backend.answer_with(|_| Answer::status(503));
    eventually("a failing backend shows in /status", async || {
        match topic_status().await {
            status if status == healthy => Err(status),
            _ => Ok(()),
        }
    })
    .await;
    assert_eq!(
        processor.health("/health/ready").await,
        Some(200),
        "a failing backend does not make the processor unready"
    );
}

#[tokio::test]
async fn every_health_page_answers() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    for app in [
        proxy(&topics).start().await,
        processor(&[(&topics, &backend.url())]).start().await,
    ] {
        for path in ["/health", "/health/live", "/health/ready"] {
            assert_eq!(app.health(path).await, Some(200), "{path}");
        }
    }
}

#[tokio::test]
async fn without_a_token_nothing_can_be_changed() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    assert_eq!(processor.manage("/status").await.status, 200);
    for action in ["pause", "resume"] {
        let path = format!("/topics/{}/{action}", topics.request);
        let post = Request::post(&path, "{}").header("Content-Type", "application/json");
        assert_eq!(ask(&processor, post.clone()).await.status, 403, "{path}");
        let guessed = post.header("Authorization", "Bearer guess");
        assert_eq!(ask(&processor, guessed).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn with_a_token_only_health_is_open() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("management_token", "s3cret-token-0123456789")
        .start()
        .await;
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(ask(&processor, Request::get(path)).await.status, 200, "{path}");
    }
    let action = format!("/topics/{}/pause", topics.request);
    for path in ["/status", "/metrics"] {
        assert_eq!(ask(&processor, Request::get(path)).await.status, 401, "{path}");
        let wrong = Request::get(path).header("Authorization", "Bearer s3cret-token-0123456788");
        assert_eq!(ask(&processor, wrong).await.status, 401, "{path}");
        let right = Request::get(path).header("Authorization", "Bearer s3cret-token-0123456789");
        assert_eq!(ask(&processor, right).await.status, 200, "{path}");
    }
    let unauthorised = Request::post(&action, "{}").header("Content-Type", "application/json");
    assert_eq!(ask(&processor, unauthorised).await.status, 401);
    // The request that a form on another site would make a browser send.
    let form = Request::post(&action, "x=1").header("Content-Type", "application/x-www-form-urlencoded");
    let form = ask(
        &processor,
        form.header("Authorization", "Bearer s3cret-token-0123456789"),
    )
    .await;
    assert!((400..500).contains(&form.status), "{form:?}");
    assert!(
        !processor.log().contains("s3cret-token-0123456789"),
        "the log shows no token"
    );
}

#[tokio::test]
async fn a_proxy_with_a_management_port_carries_every_path_on_its_own_port() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let all = all(&topics, &backend.url()).start().await;
    assert_ne!(all.address(), all.management_address());
    for path in ["/metrics", "/health", "/health/ready", "/status"] {
        let answer = all.request(Request::get(path)).await;
        assert_eq!(
            (answer.status, answer.json()["target"].as_str()),
            (200, Some(path)),
            "the backend's {path}"
        );
        assert_eq!(all.manage(path).await.status, 200, "{path}");
    }
}
