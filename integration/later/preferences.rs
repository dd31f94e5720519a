//! What clients prefer (RFC 7240), and what routes say.

use std::time::Duration;

use serde_json::json;

use super::{accepted, accepting, job, location, result};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::exchange::connect;
use crate::harness::names::Topics;
use crate::harness::records::Reader;
use crate::harness::spec::{processor, proxy};

#[tokio::test]
async fn a_client_gets_202_where_it_prefers_that_and_its_answer_otherwise() {
    let topics = Topics::unique("jobs");
    let backend = Backend::start(Answer::same_body).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = accepting(&topics).start().await;
    for (prefer, status, applied) in [
        (None, 200, None),
        (Some("respond-async"), 202, Some("respond-async")),
        (Some("Respond-Async; x=1, return=minimal"), 202, Some("respond-async")),
        (Some("wait=20"), 200, None),
        (Some("return=minimal"), 200, None),
        (Some("foo=\"respond-async\""), 200, None),
        (Some("respond-async, wait=20"), 200, Some("wait=20")),
        (Some("wait=20, respond-async, wait=0"), 200, Some("wait=20")),
        (Some("respond-async, wait=0"), 202, Some("respond-async, wait=0")),
    ] {
        let body = format!("{prefer:?}");
        let mut request = Request::post("/jobs", body.clone());
        if let Some(prefer) = prefer {
            request = request.header("Prefer", prefer);
        }
        let answer = proxy.request(request).await;
        assert_eq!(answer.status, status, "{prefer:?}: {answer:?}");
        assert_eq!(answer.header("preference-applied").as_deref(), applied, "{prefer:?}");
        match status {
            202 => {
                assert!(answer.header("retry-after").is_some() && answer.header("khp-correlation-id").is_some());
                assert_eq!(result(&proxy, &location(&answer)).await.text(), body);
            }
            _ => assert_eq!(answer.text(), body),
        }
    }
    // A backend that applied them, too, would answer that it will answer.
    let prefers = |body: &str| {
        let received = backend.received();
        let received = received.iter().find(|received| received.text() == body).unwrap();
        received.header("prefer")
    };
    let minimal = prefers("Some(\"Respond-Async; x=1, return=minimal\")");
    assert_eq!(minimal.as_deref(), Some("return=minimal"));
    assert_eq!(prefers("Some(\"respond-async\")"), None);
}

#[tokio::test]
async fn a_body_that_comes_slowly_keeps_nobody_out() {
    let topics = Topics::unique("jobs");
    let proxy = accepting(&topics).set("max_pending", 1).start().await;
    let mut slow = connect(&proxy).await;
    let beginning = "POST /jobs HTTP/1.1\r\nHost: shop\r\nPrefer: respond-async\r\nContent-Length: 5\r\n\r\ns";
    slow.send_raw(beginning.as_bytes()).await.expect("the proxy reads");
    proxy.wait_for_metric("proxy_pending_bytes", &[], 1.0).await;
    accepted(&proxy, job("fast")).await;
    slow.send_raw(b"low!").await.expect("the proxy reads on");
    let answer = slow.read_response(false).await.expect("an answer");
    assert_eq!(answer.status, 202, "{answer:?}");
}

#[tokio::test]
async fn an_answer_that_takes_longer_than_its_client_waits_is_fetched() {
    let topics = Topics::unique("jobs");
    let backend = Backend::start(|received| Answer::same_body(received).after(Duration::from_secs(3))).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = accepting(&topics).start().await;
    let request = Request::post("/jobs", "slow").header("Prefer", "respond-async, wait=1");
    let answer = proxy.request(request).await;
    assert_eq!(answer.status, 202);
    assert_eq!(
        answer.header("preference-applied").as_deref(),
        Some("respond-async, wait=1")
    );
    assert_eq!(result(&proxy, &location(&answer)).await.text(), "slow");
    assert_eq!(backend.count(), 1);
}

#[tokio::test]
async fn a_route_accepts_always_or_never() {
    let topics = Topics::unique("jobs");
    let backend = Backend::start(Answer::same_body).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let routes = json!([
        { "path": "/jobs", "async": "required", "async_timeout": "2m" },
        { "path": "/{tail}*", "async": "off" },
    ]);
    let proxy = proxy(&topics).set("routes", routes).start().await;
    let at = accepted(&proxy, Request::post("/jobs", "always")).await;
    assert_eq!(result(&proxy, &at).await.text(), "always");
    let now = Request::post("/now", "never").header("Prefer", "respond-async");
    let answer = proxy.request(now).await;
    assert_eq!((answer.status, answer.text()), (200, "never".into()));
    let refused = proxy.request(Request::post(&at, "x")).await;
    refused.assert_problem(405, "method-not-allowed");
    assert_eq!(refused.header("allow").as_deref(), Some("GET, HEAD, DELETE"));
}

#[tokio::test]
async fn the_record_of_an_accepted_request_names_where_its_result_is_awaited() {
    let topics = Topics::unique("jobs");
    let proxy = accepting(&topics).set("results_topic", "jobs-done").start().await;
    accepted(&proxy, job("a job")).await;
    let record = Reader::open(&topics.request).next().await;
    assert_eq!(record.header_text("kafka_replyTopic"), "jobs-done");
    assert_eq!(record.reply_partition(), None, "any will do");
    assert_eq!(record.header_text("khp-accept"), "stored");
    assert_eq!(record.key.as_deref(), Some(record.correlation_id()));
    let timeout: u64 = record.header_text("khp-timeout").parse().unwrap();
    assert!((3_590_000..=3_600_000).contains(&timeout), "{timeout}");
}
