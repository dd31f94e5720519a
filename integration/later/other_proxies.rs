//! A result comes from any proxy: from one that did not take the request, from one that was started since, and after all of them were
//! killed.

use std::time::Duration;

use tokio::sync::watch;

use super::{accepted, accepting, ask, job, result};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::spec::processor;
use crate::harness::wait::eventually;

#[tokio::test]
async fn a_result_comes_from_proxies_that_did_not_take_the_request() {
    let topics = Topics::unique("jobs");
    let backend = Backend::start(|received| {
        Answer::same_body(received)
            .header("X-Made-By", "the backend")
            .header("Content-Type", "text/x-job")
    })
    .await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let (taker, other) = (
        accepting(&topics).start().await,
        // It has a management port of its own.
        accepting(&topics).set("management_port", 1).start().await,
    );
    let at = accepted(&taker, job("a job")).await;
    let found = result(&other, &at).await;
    assert_eq!((found.status, found.text()), (200, "a job".into()));
    assert_eq!(found.header("x-made-by").as_deref(), Some("the backend"));
    assert_eq!(found.header("content-type").as_deref(), Some("text/x-job"));
    let since = accepting(&topics).start().await;
    assert_eq!(result(&since, &at).await.text(), "a job");
    let head = ask(&since, Request::new("HEAD", &at)).await;
    assert_eq!(
        (head.status, head.header("content-length").as_deref()),
        (200, Some("5"))
    );
    assert_eq!(result(&taker, &at).await.text(), "a job", "as often as it is asked for");
    assert_eq!(backend.count(), 1);
    let metrics = other.metrics().await;
    metrics.expect_sum("proxy_results_indexed", &[], 1.0).unwrap();
    metrics
        .expect_sum("proxy_results_fetched_total", &[("outcome", "found")], 1.0)
        .unwrap();
    // A result is found before all are known.
    eventually("all results are known", async || {
        let status = other.manage("/status").await.json();
        let topic = &status["results"]["topics"][format!("{}-results", topics.response)];
        let is_whole = topic["state"] == "indexed" && status["results"]["indexed"] == 1;
        is_whole.then_some(()).ok_or(status.to_string())
    })
    .await;
    let accepted = taker.metrics().await;
    accepted.expect_sum("proxy_async_accepted_total", &[], 1.0).unwrap();
    accepted.expect_sum("proxy_results_pending", &[], 0.0).unwrap();
}

#[tokio::test]
async fn every_proxy_may_be_killed_between_a_request_and_its_result() {
    let topics = Topics::unique("jobs");
    let (open, gate) = watch::channel(false);
    let backend = Backend::start(move |received| Answer::same_body(received).until(&gate)).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let (one, two) = (accepting(&topics).start().await, accepting(&topics).start().await);
    let at = [accepted(&one, job("first")).await, accepted(&two, job("second")).await];
    backend.wait_for_calls(2).await;
    for proxy in [one, two] {
        proxy.signal("KILL");
    }
    let proxy = accepting(&topics).start().await;
    for at in &at {
        let early = ask(&proxy, Request::get(at)).await;
        assert_eq!(early.status, 202, "{}", early.text());
        assert_eq!(early.json()["state"], "pending");
        assert!(early.json()["since"].as_str().is_some_and(|since| since.ends_with('Z')));
        let seconds = early
            .header("retry-after")
            .and_then(|seconds| seconds.parse::<u32>().ok());
        assert!(seconds.is_some_and(|seconds| seconds >= 1), "{early:?}");
    }
    open.send_replace(true);
    for (at, body) in at.iter().zip(["first", "second"]) {
        assert_eq!(result(&proxy, at).await.text(), body);
    }
    assert_eq!(backend.count(), 2, "each ran once");
}

#[tokio::test]
async fn a_request_waits_in_kafka_until_a_processor_starts() {
    let topics = Topics::unique("jobs");
    let backend = Backend::start(Answer::same_body).await;
    let proxy = accepting(&topics).start().await;
    let at = accepted(&proxy, job("patient")).await;
    let waiting = ask(&proxy, Request::get(&at).header("Prefer", "wait=1")).await;
    assert_eq!(waiting.status, 202);
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    assert_eq!(result(&proxy, &at).await.text(), "patient");
    // What is asked for before it is there comes at once when it is.
    backend.answer_with(|received| Answer::same_body(received).after(Duration::from_millis(300)));
    let at = accepted(&proxy, job("awaited")).await;
    let found = ask(&proxy, Request::get(&at).header("Prefer", "wait=40")).await;
    assert_eq!((found.status, found.text()), (200, "awaited".into()));
    assert_eq!(found.header("preference-applied").as_deref(), Some("wait=40"));
}
