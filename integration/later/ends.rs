//! How results end: they are cancelled, too late, kept no longer, or too many.

use std::time::Duration;

use super::{accepted, accepting, ask, job, result};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::spec::processor;
use crate::harness::wait::eventually;

#[tokio::test]
async fn who_deletes_a_result_ends_its_call_wherever_it_is() {
    let topics = Topics::unique("jobs");
    let backend = Backend::start(|_| Answer::Hang).await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set_topics("concurrency", 1)
        .start()
        .await;
    let (taker, other) = (accepting(&topics).start().await, accepting(&topics).start().await);
    let running = accepted(&taker, job("runs")).await;
    backend.wait_for_calls(1).await;
    let waiting = accepted(&taker, job("waits")).await;
    // By a proxy that did not take them.
    for at in [&waiting, &running] {
        assert_eq!(ask(&other, Request::new("DELETE", at)).await.status, 204);
    }
    eventually("the call ends", async || match backend.left().len() {
        1 => Ok(()),
        left => Err(format!("{left} left")),
    })
    .await;
    for at in [&waiting, &running] {
        for proxy in [&taker, &other] {
            let gone = eventually("the result is gone", async || {
                match ask(proxy, Request::get(at)).await {
                    answer if answer.status == 410 => Ok(answer),
                    answer => Err(answer.text()),
                }
            })
            .await;
            gone.assert_problem(410, "result-gone");
        }
        assert_eq!(ask(&taker, Request::new("DELETE", at)).await.status, 204, "again");
    }
    backend.answer_with(Answer::same_body);
    let after = accepted(&taker, job("after")).await;
    assert_eq!(result(&other, &after).await.text(), "after");
    assert_eq!(backend.calls_with_body("waits"), 0, "it is never begun");
}

#[tokio::test]
async fn a_result_that_was_there_can_be_deleted() {
    let topics = Topics::unique("jobs");
    let backend = Backend::start(Answer::same_body).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = accepting(&topics).start().await;
    let at = accepted(&proxy, job("secret")).await;
    assert_eq!(result(&proxy, &at).await.text(), "secret");
    assert_eq!(ask(&proxy, Request::new("DELETE", &at)).await.status, 204);
    let counted = |topic| [("topic", topic), ("method", "DELETE")];
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("proxy_requests_total", &counted("results")), 1.0);
    assert_eq!(metrics.sum("proxy_requests_total", &counted("other")), 0.0);
    eventually("it is gone", async || {
        match proxy.request(Request::get(&at)).await.status {
            410 => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
    let since = accepting(&topics).start().await;
    ask(&since, Request::get(&at)).await.assert_problem(410, "result-gone");
}

#[tokio::test]
async fn a_request_without_a_result_times_out_and_is_gone_in_the_end() {
    let topics = Topics::unique("jobs");
    let proxy = accepting(&topics)
        .set("async_timeout", 2)
        .set("results_retention", 5)
        .start()
        .await;
    let at = accepted(&proxy, job("nobody does this")).await;
    assert_eq!(ask(&proxy, Request::get(&at)).await.status, 202);
    // Whoever waits longer hears of the deadline.
    let late = ask(&proxy, Request::get(&at).header("Prefer", "wait=30")).await;
    late.assert_problem(504, "reply-timeout");
    let gone = eventually("it is gone", async || match proxy.request(Request::get(&at)).await {
        answer if answer.status == 504 => Err(answer.text()),
        answer => Ok(answer),
    })
    .await;
    gone.assert_problem(410, "result-gone");
    proxy.wait_for_metric("proxy_results_pending", &[], 0.0).await;
}

#[tokio::test]
async fn a_result_is_kept_for_its_time() {
    let topics = Topics::unique("jobs");
    let backend = Backend::start(Answer::same_body).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = accepting(&topics)
        .set("async_timeout", 4)
        .set("results_retention", 4)
        .start()
        .await;
    let at = accepted(&proxy, job("short-lived")).await;
    assert_eq!(result(&proxy, &at).await.text(), "short-lived");
    proxy.wait_for_metric("proxy_results_expired_total", &[], 1.0).await;
    ask(&proxy, Request::get(&at)).await.assert_problem(410, "result-gone");
    proxy.wait_for_metric("proxy_results_indexed", &[], 0.0).await;
}

#[tokio::test]
async fn the_oldest_results_make_room() {
    let topics = Topics::unique("jobs");
    let backend = Backend::start(Answer::same_body).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = accepting(&topics).set("max_results", 3).start().await;
    let mut all = Vec::new();
    for number in 0..5 {
        let at = accepted(&proxy, job(number.to_string())).await;
        assert_eq!(result(&proxy, &at).await.text(), number.to_string());
        all.push(at);
        // Results of one second are in the order in which they come.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for at in &all[..2] {
        ask(&proxy, Request::get(at)).await.assert_problem(410, "result-gone");
    }
    for (number, at) in all.iter().enumerate().skip(2) {
        assert_eq!(result(&proxy, at).await.text(), number.to_string());
    }
}

#[tokio::test]
async fn an_id_that_nobody_wrote_is_not_found() {
    let topics = Topics::unique("jobs");
    let backend = Backend::start(Answer::same_body).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = accepting(&topics).start().await;
    let at = accepted(&proxy, job("mine")).await;
    result(&proxy, &at).await;
    let (folder, id) = at.split_at(at.len() - 5);
    for other in [
        "/.khp/results/".to_owned(),
        "/.khp/results/x".to_owned(),
        format!("{at}/"),
        format!("{at}A"),
        format!("{folder}{}", if id == "AAAAA" { "BBBBB" } else { "AAAAA" }),
    ] {
        for method in ["GET", "HEAD", "DELETE"] {
            let answer = ask(&proxy, Request::new(method, &other)).await;
            assert_eq!(answer.status, 404, "{method} {other}");
        }
    }
    ask(&proxy, Request::get("/.khp/results/x"))
        .await
        .assert_problem(404, "no-result");
    assert_eq!(ask(&proxy, Request::get(&at)).await.status, 200);
}
