//! Routes: the path and the method choose a request's topics, without headers and without nginx.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::names::{Topics, unique};
use crate::harness::records::Reader;
use crate::harness::spec::{Spec, processor};
use crate::harness::topics::{count, partitions, wait_for_count};

/// A route to these topics, with the keys of `more`.
fn route(path: &str, topics: &Topics, more: Value) -> Value {
    let mut route = json!({
        "path": path,
        "request_topic": topics.request,
        "response_topic": topics.response,
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        route[key] = value.clone();
    }
    route
}

/// A proxy with these routes. No processor serves its default topics.
fn routed(routes: Value) -> Spec {
    Spec::new("proxy").set("warmup_topics", json!([])).set("routes", routes)
}

#[tokio::test]
async fn two_routes_reach_two_backends_without_nginx_or_headers() {
    let (orders, files) = (Topics::unique("orders"), Topics::unique("files"));
    let (orders_backend, files_backend) = (Backend::echo().await, Backend::echo().await);
    let _processor = processor(&[(&orders, &orders_backend.url()), (&files, &files_backend.url())])
        .start()
        .await;
    let proxy = routed(json!([
        route("/orders/{id}", &orders, json!({ "methods": ["GET", "POST"] })),
        route("/files/{tail}*", &files, json!({})),
    ]))
    .start()
    .await;
    // A proxy is ready only once it reads the reply topics of all routes.
    assert_eq!(proxy.metrics().await.sum("proxy_active_consumers", &[]), 2.0);

    for target in ["/orders/7", "/orders/a%2Fb?x=%20&&x", "/orders/..7"] {
        let answer = proxy.request(Request::post(target, "order")).await;
        assert_eq!((answer.status, answer.json()["target"].as_str()), (200, Some(target)));
    }
    proxy
        .request(Request::post("/orders/..", "elsewhere"))
        .await
        .assert_problem(400, "bad-request");
    for target in ["/files/", "/files/a//b/../c%2e", "/files/%7Eme?q"] {
        let answer = proxy.request(Request::new("PURGE", target)).await;
        assert_eq!((answer.status, answer.json()["target"].as_str()), (200, Some(target)));
    }
    assert_eq!(
        (orders_backend.received().len(), files_backend.received().len()),
        (3, 3)
    );
    let metrics = proxy.metrics().await;
    for topics in [&orders, &files] {
        let labels = [("topic", topics.request.as_str()), ("status", "200")];
        assert_eq!(metrics.sum("proxy_requests_total", &labels), 3.0);
    }
}

#[tokio::test]
async fn a_path_without_a_route_is_a_404_and_a_method_without_one_a_405() {
    let topics = Topics::unique("orders");
    let proxy = routed(json!([
        route("/orders/{id}", &topics, json!({ "methods": ["GET", "HEAD"] })),
        route("/orders/{id}", &topics, json!({ "methods": ["PUT"] })),
    ]))
    .start()
    .await;
    for target in [
        "/",
        "/orders",
        "/orders/",
        "/orders/7/lines",
        "/%6Frders/7",
        "//orders/7",
        "/Orders/7",
    ] {
        let answer = proxy.request(Request::post(target, "no route")).await;
        answer.assert_problem(404, "no-route");
        assert_eq!(answer.header("allow"), None);
    }
    for method in ["POST", "DELETE", "PURGE", "get"] {
        let answer = proxy.request(Request::new(method, "/orders/7?a=b")).await;
        answer.assert_problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow").as_deref(), Some("GET, HEAD, PUT"));
    }
    // The rules for every path are checked before the routes.
    let upgrade = Request::get("/nowhere")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket");
    proxy.request(upgrade).await.assert_problem(501, "upgrade-unsupported");

    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("proxy_rejected_total", &[("reason", "no-route")]), 7.0);
    assert_eq!(
        metrics.sum("proxy_rejected_total", &[("reason", "method-not-allowed")]),
        4.0
    );
    assert_eq!(metrics.sum("proxy_requests_total", &[("topic", "other")]), 12.0);
    assert_eq!(count(&topics.request), 0);
}

#[tokio::test]
async fn records_with_the_same_key_take_the_same_partition() {
    let topics = Topics::unique("orders");
    let proxy = routed(json!([
        route("/segment/{id}", &topics, json!({ "key": "segment:id" })),
        route("/query", &topics, json!({ "key": "query:id" })),
        route("/header", &topics, json!({ "key": "header:X-Id" })),
    ]))
    .start()
    .await;
    let mut waiting = Vec::new();
    for id in 0..12 {
        // The same value gives the same key in any encoding.
        let first = char::from(b'a' + id);
        let encoded = format!("%{:02x}", first as u32);
        for request in [
            Request::get(&format!("/segment/{first}-key")),
            Request::get(&format!("/segment/{encoded}-key?id=other")),
            Request::get(&format!("/query?x=1&id={encoded}-key&id=other")),
            Request::get("/header?id=other").header("x-id", format!("{first}-key")),
        ] {
            waiting.push(proxy.leave_waiting(&request).await);
        }
    }
    for keyless in ["/query", "/query?id=", "/header"] {
        waiting.push(proxy.leave_waiting(&Request::get(keyless)).await);
    }
    wait_for_count(&topics.request, 12 * 4 + 3).await;
    let reader = Reader::open(&topics.request);
    let mut seen: BTreeMap<Option<Vec<u8>>, Vec<i32>> = BTreeMap::new();
    for _ in 0..12 * 4 + 3 {
        let record = reader.next().await;
        seen.entry(record.key).or_default().push(record.partition);
    }
    assert_eq!(
        seen.remove(&None).map(|partitions| partitions.len()),
        Some(3),
        "{seen:?}"
    );
    assert_eq!(seen.len(), 12, "{seen:?}");
    for (key, partitions) in &seen {
        let key = String::from_utf8_lossy(key.as_deref().unwrap_or_default()).into_owned();
        assert!(key.ends_with("-key"), "{key}");
        assert_eq!(partitions.len(), 4, "{key}");
        assert_eq!(BTreeSet::from_iter(partitions).len(), 1, "{key}: {partitions:?}");
    }
    let used: BTreeSet<&i32> = seen.values().flatten().collect();
    assert!(used.len() > 1, "twelve keys spread over four partitions: {seen:?}");
    drop(waiting);
}

#[tokio::test]
async fn only_the_prefix_is_stripped() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = routed(json!([
        route("/api/{tail}*", &topics, json!({ "strip_prefix": "/api" })),
        route("/api", &topics, json!({ "strip_prefix": "/api/" })),
        route("/plain/{tail}*", &topics, json!({})),
    ]))
    .start()
    .await;
    for (target, seen) in [
        ("/api/orders/%37?a=/api/", "/orders/%37?a=/api/"),
        ("/api/api/x", "/api/x"),
        ("/api//x/../y/", "//x/../y/"),
        ("/api/", "/"),
        ("/api", "/"),
        ("/api?x", "/?x"),
        ("/plain/api/x", "/plain/api/x"),
    ] {
        let answer = proxy.request(Request::get(target)).await;
        assert_eq!(
            (answer.status, answer.json()["target"].as_str()),
            (200, Some(seen)),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_routes_timeout_is_the_deadline_of_its_requests() {
    let (quick, slow) = (Topics::unique("quick"), Topics::unique("slow"));
    let backend = Backend::start(|received| Answer::echo(received).after(Duration::from_secs(9))).await;
    let _processor = processor(&[(&slow, &backend.url())]).start().await;
    let proxy = routed(json!([
        route("/quick", &quick, json!({ "timeout": "1500ms" })),
        route("/quick/patient", &quick, json!({ "timeout": 50 })),
        route("/slow", &slow, json!({ "timeout": 50 })),
    ]))
    .set("default_timeout", 8)
    .start()
    .await;
    proxy.wait_until_sent(&Request::get("/quick/patient")).await;
    let sent = Instant::now();
    let (quick_answer, slow_answer) = tokio::join!(
        async {
            let answer = proxy.request(Request::get("/quick")).await;
            (answer, sent.elapsed())
        },
        proxy.request(Request::get("/slow")),
    );
    let (answer, took) = quick_answer;
    answer.assert_problem(504, "reply-timeout");
    assert!(
        took >= Duration::from_millis(1500) && took < Duration::from_secs(8),
        "before default_timeout: {took:?}"
    );
    assert_eq!(
        slow_answer.status, 200,
        "its timeout is longer than default_timeout: {slow_answer:?}"
    );
    assert_eq!(
        proxy
            .metrics()
            .await
            .sum("proxy_timeouts_total", &[("topic", &quick.request)]),
        1.0
    );
}

#[tokio::test]
async fn topic_headers_are_ignored_where_there_are_routes() {
    let (topics, other) = (Topics::unique("orders"), Topics::unique("other"));
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = routed(json!([route("/{tail}*", &topics, json!({}))])).start().await;
    for (request_topic, reply_topic) in [
        (other.request.as_str(), other.response.as_str()),
        ("__consumer_offsets", "not a topic"),
    ] {
        let answer = proxy.request(Request::get("/x").via(request_topic, reply_topic)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!((backend.received().len(), count(&topics.response)), (2, 2));
    assert_eq!(partitions(&other.request) + partitions(&other.response), 0);
}

#[tokio::test]
async fn topic_headers_win_over_a_route_where_they_are_allowed() {
    let (topics, named) = (Topics::unique("orders"), Topics::unique("named"));
    let backend = Backend::start(|received| Answer::body(format!("named {}", received.target))).await;
    let _processor = processor(&[(&named, &backend.url())]).start().await;
    let proxy = routed(json!([route(
        "/api/{tail}*",
        &topics,
        json!({ "strip_prefix": "/api" })
    )]))
    .set("topic_headers", true)
    .start()
    .await;
    let answer = proxy
        .request(Request::get("/api/x").via(&named.request, &named.response))
        .await;
    assert_eq!((answer.status, answer.text()), (200, "named /x".into()));
    // The headers choose the topics. The routes decide whether the request is carried at all.
    proxy
        .request(Request::get("/x").via(&named.request, &named.response))
        .await
        .assert_problem(404, "no-route");
    assert_eq!((count(&named.request), count(&topics.request)), (1, 0));
}

#[tokio::test]
async fn names_that_clients_may_not_give_are_refused_and_nothing_is_created() {
    let topics = Topics::unique("orders");
    let allowed = unique("shop");
    let proxy = routed(json!([route("/{tail}*", &topics, json!({}))]))
        .set("topic_headers", true)
        .set("allowed_topics", json!([format!("{allowed}-*"), "__*"]))
        .start()
        .await;
    let (bank, internal) = (unique("bank-requests"), format!("__{}", unique("internal-requests")));
    let illegal = format!("{allowed}-a b");
    for (name, status, code) in [
        (&bank, 403, "topic-not-allowed"),
        // An internal topic is refused even where a pattern of `allowed_topics` matches it.
        (&internal, 403, "topic-not-allowed"),
        (&"__consumer_offsets".to_owned(), 403, "topic-not-allowed"),
        (&illegal, 400, "bad-topic"),
        (&"..".to_owned(), 400, "bad-topic"),
        (&format!("{allowed}-{}", "x".repeat(250)), 400, "bad-topic"),
    ] {
        for request in [
            Request::get("/x").header("X-Kafka-Topic", name),
            Request::get("/x").header("X-Kafka-Reply-Topic", name),
        ] {
            proxy.request(request).await.assert_problem(status, code);
        }
    }
    // The topics of a route need not be in `allowed_topics`.
    let own = proxy.leave_waiting(&Request::get("/x")).await;
    wait_for_count(&topics.request, 1).await;
    for name in [&bank, &internal] {
        assert_eq!(partitions(name), 0, "{name}");
    }
    let refused = |reason| [("reason", reason)];
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("proxy_rejected_total", &refused("topic-not-allowed")), 6.0);
    assert_eq!(metrics.sum("proxy_rejected_total", &refused("bad-topic")), 6.0);
    // The log would show a request to Kafka for these topics.
    for name in [&bank, &internal] {
        assert!(!proxy.log().contains(name.as_str()), "{}", proxy.log());
    }
    drop(own);
}
