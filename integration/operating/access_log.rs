//! The access log: one line a request at each instance, and its phases in the metrics; and the level of the log.

use serde_json::{Value, json};

use crate::harness::backend::{Answer, Backend, unreachable_url};
use crate::harness::client::{self, Request};
use crate::harness::management::TOKEN;
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{all, processor, proxy};
use crate::harness::topics::create_topic;
use crate::harness::wait::eventually;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The lines of the access log so far.
fn lines(service: &Service) -> Vec<Value> {
    let log = service.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["target"] == "access")
        .map(|mut line| line["fields"].take())
        .collect()
}

/// Waits for a request's line.
async fn line_of(service: &Service, id: &str) -> Value {
    let mut found = Value::Null;
    eventually("the request has its line", async || {
        let of_request = lines(service).into_iter().filter(|line| line["correlation_id"] == id);
        let all: Vec<_> = of_request.collect();
        assert!(all.len() <= 1, "told once: {all:?}");
        found = all.into_iter().next().ok_or("none yet")?;
        Ok(())
    })
    .await;
    found
}

#[tokio::test]
async fn a_request_has_one_line_at_each_instance_and_its_phases_are_counted() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    let backend = Backend::echo().await;
    let log = json!({"access": "all", "format": "json"});
    let processor = processor(&[(&topics, &backend.url())])
        .set("log", log.clone())
        .start()
        .await;
    let proxy = proxy(&topics).set("log", log).start().await;
    let request = Request::post("/orders?token=secret", "hello")
        .header("X-Request-ID", "mine")
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let answer = proxy.request(request).await;
    answer.assert_echo("hello");
    let id = answer.header("khp-correlation-id").expect("an id");

    let (of_proxy, of_processor) = (line_of(&proxy, &id).await, line_of(&processor, &id).await);
    for (line, role) in [(&of_proxy, "proxy"), (&of_processor, "processor")] {
        assert_eq!(
            (&line["role"], &line["method"], &line["path"], &line["status"]),
            (&json!(role), &json!("POST"), &json!("/orders?***"), &json!(200)),
            "{line}"
        );
        assert_eq!(
            (&line["request_id"], &line["trace_id"], &line["client"], &line["topic"]),
            (
                &json!("mine"),
                &json!(TRACE),
                &json!("127.0.0.1"),
                &json!(topics.request)
            ),
            "{line}"
        );
        assert_eq!(
            (&line["request_bytes"], &line["code"]),
            (&json!(5), &Value::Null),
            "{line}"
        );
        assert!(
            line["reply_partition"].is_number() && line["reply_offset"].is_number(),
            "{line}"
        );
    }
    assert_eq!(of_proxy["reply_offset"], of_processor["reply_offset"]);
    assert_eq!(
        (
            &of_processor["partition"],
            &of_processor["offset"],
            &of_processor["attempts"]
        ),
        (&json!(0), &json!(0), &json!(1))
    );
    assert!(!proxy.log().contains("secret") && !processor.log().contains("secret"));

    let expected = [
        (
            &proxy,
            &of_proxy,
            "proxy_phase_seconds_count",
            ["admission", "produce", "reply", "write"],
        ),
        (
            &processor,
            &of_processor,
            "processor_phase_seconds_count",
            ["queue", "permit", "backend", "reply"],
        ),
    ];
    for (service, line, metric, phases) in expected {
        let mut sum = 0.0;
        for phase in phases {
            let labels = [("topic", topics.request.as_str()), ("phase", phase)];
            service.wait_for_metric(metric, &labels, 1.0).await;
            let took = line[format!("{phase}_ms")].as_f64();
            sum += took.filter(|_| phase != "queue").unwrap_or_else(|| match phase {
                "queue" => 0.0,
                _ => panic!("{phase} in {line}"),
            });
        }
        // They follow each other without a gap.
        let took = line["took_ms"].as_f64().expect("a number");
        assert!(sum <= took && sum > took * 0.8 - 2.0, "{sum} of {took}: {line}");
    }
}

#[tokio::test]
async fn failures_alone_have_lines_and_repeated_warnings_are_counted() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    let backend = Backend::start(|request| match request.target.as_str() {
        "/fails" => Answer::Close,
        _ => Answer::body("fine"),
    })
    .await;
    let log = json!({"access": "errors", "format": "json"});
    let processor = processor(&[(&topics, &backend.url())])
        .set("log", log.clone())
        .start()
        .await;
    let proxy = proxy(&topics).set("log", log).start().await;
    assert_eq!(proxy.request(Request::get("/")).await.status, 200);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let answer = proxy.request(Request::post("/fails", "x")).await;
        assert_eq!(answer.status, 502, "{}", answer.text());
        ids.push(answer.header("khp-correlation-id").expect("an id"));
    }
    for id in &ids {
        let (of_proxy, of_processor) = (line_of(&proxy, id).await, line_of(&processor, id).await);
        assert_eq!(
            (&of_proxy["status"], &of_proxy["code"]),
            (&json!(502), &of_processor["code"])
        );
        assert!(of_processor["code"].is_string(), "{of_processor}");
    }
    assert_eq!((lines(&proxy).len(), lines(&processor).len()), (3, 3));
    // One line has the words, and the id of the first.
    assert_eq!(processor.logged("no answer from the backend"), 1);
    eventually("the others are counted", async || {
        match processor.log().contains(r#""more":2"#) {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        }
    })
    .await;
}

#[tokio::test]
async fn the_level_changes_while_the_process_runs() {
    let topics = Topics::unique("orders");
    let service = all(&topics, &unreachable_url())
        .set("management_token", TOKEN)
        .start()
        .await;
    let put = async |token: &str, body: &str| {
        let request = Request::new("PUT", "/log/level")
            .body(client::Body::Sized(body.into()))
            .header("Content-Type", "application/json")
            .header("Authorization", format!("Bearer {token}"));
        client::request(&service.management_address(), request).await.status
    };
    // Each failed call is a line of its own, at debug.
    let fails = async || assert_eq!(service.request(Request::post("/", "x")).await.status, 502);
    let calls = || service.logged("backend call failed");
    assert_eq!(put("a-wrong-token-of-a-test", r#"{"level": "debug"}"#).await, 401);
    for body in ["", "debug", r#"{"level": "loud"}"#, r#"{"level": 3}"#] {
        assert_eq!(put(TOKEN, body).await, 400, "{body}");
    }
    fails().await;
    assert_eq!(calls(), 0);
    assert_eq!(put(TOKEN, r#"{"level": "actix_khp=debug,info"}"#).await, 200);
    fails().await;
    let said = calls();
    assert!(said > 0);
    assert_eq!(put(TOKEN, r#"{"level": "info"}"#).await, 200);
    fails().await;
    assert_eq!(calls(), said);
}

#[tokio::test]
async fn clients_that_may_know_it_are_told_where_the_time_went() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|_| Answer::status(200).header("Server-Timing", "db;dur=5")).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics)
        .set("server_timing", json!(["127.0.0.1", "192.0.2.0/24"]))
        .start()
        .await;
    let told = async |client: Option<&str>| {
        let request = client.iter().fold(Request::get("/"), |request, client| {
            request.header("X-Forwarded-For", client)
        });
        proxy.request(request).await.all("server-timing")
    };
    for client in [None, Some("192.0.2.7")] {
        let told = told(client).await;
        assert_eq!((told.len(), &*told[0]), (2, "db;dur=5"), "{told:?}");
        let phases: Vec<(&str, f64)> = told[1]
            .split(", ")
            .filter_map(|phase| {
                let (name, took) = phase.split_once(";dur=")?;
                Some((name, took.parse().ok()?))
            })
            .collect();
        let names: Vec<&str> = phases.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["admission", "produce", "reply"], "{told:?}");
        assert!(
            phases.iter().all(|(_, took)| (0.0..60_000.0).contains(took)),
            "{told:?}"
        );
    }
    assert_eq!(told(Some("198.51.100.7")).await, ["db;dur=5"]);
    // By default, nobody.
    proxy.configure(|config| config["server_timing"] = json!([]));
    proxy.reload("applied").await;
    assert_eq!(told(None).await, ["db;dur=5"]);
}
