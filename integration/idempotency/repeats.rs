//! What the second request with a key gets.

use std::time::Duration;

use tokio::sync::watch;

use super::{Once, honours, is_replay, numbering, payment, remembers};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::wait::eventually;

#[tokio::test]
async fn a_repeat_gets_the_same_bytes_and_says_so() {
    let once = Once::start(numbering().await).await;
    let second = honours(&once.topics).start().await;
    let first = once.pay("k1", "ten").await;
    assert_eq!((first.status, first.text()), (201, "0 ten".to_owned()));
    assert!(!is_replay(&first));
    // Quoted, as the draft has it, is the same key.
    for (proxy, key) in [(&once.proxy, "k1"), (&second, "k1"), (&second, "\"k1\"")] {
        let again = proxy.request(payment(key, "ten")).await;
        assert_eq!((again.status, again.text()), (201, "0 ten".to_owned()), "{key}");
        assert_eq!(again.all("location"), ["/payments/0"]);
        assert!(is_replay(&again));
        assert_ne!(again.header("khp-correlation-id"), first.header("khp-correlation-id"));
    }
    assert_eq!(once.backend.count(), 1);
    assert_eq!(once.backend.last().header("idempotency-key").as_deref(), Some("k1"));
    // The opposite: without a key, and with another one, it runs.
    assert_eq!(
        once.proxy.request(Request::post("/payments", "ten")).await.text(),
        "1 ten"
    );
    assert_eq!(once.pay("k2", "ten").await.text(), "2 ten");
    let metrics = once.processor.metrics().await;
    assert_eq!(metrics.sum("processor_idempotency_keys", &[]), 2.0);
    assert_eq!(metrics.sum("processor_idempotency_replayed_total", &[]), 3.0);
    assert_eq!(metrics.sum("processor_idempotency_remembered_total", &[]), 2.0);
}

#[tokio::test]
async fn another_request_with_the_key_is_refused() {
    let once = Once::start(numbering().await).await;
    assert_eq!(once.pay("k", "ten").await.status, 201);
    for request in [
        payment("k", "eleven"),
        Request::post("/refunds", "ten").header("Idempotency-Key", "k"),
        Request::new("PUT", "/payments")
            .body(crate::harness::client::Body::Sized(b"ten".to_vec()))
            .header("Idempotency-Key", "k"),
    ] {
        once.proxy
            .request(request)
            .await
            .assert_problem(422, "idempotency-key-reused");
    }
    assert!(is_replay(&once.pay("k", "ten").await), "the first one counts as before");
    assert_eq!(once.backend.count(), 1);
}

#[tokio::test]
async fn a_repeat_waits_for_the_first_one_and_then_gives_up() {
    let (open, gate) = watch::channel(false);
    let backend = Backend::start(move |received| Answer::same_body(received).until(&gate)).await;
    let once = Once::start(backend).await;
    let quick = honours(&once.topics).set("default_timeout", 2).start().await;
    let first = tokio::spawn({
        let address = once.proxy.address();
        async move { crate::harness::client::request(&address, payment("k", "ten")).await }
    });
    once.backend.wait_for_calls(1).await;
    quick
        .request(payment("k", "ten"))
        .await
        .assert_problem(409, "idempotency-key-in-use");
    quick
        .request(payment("k", "other"))
        .await
        .assert_problem(422, "idempotency-key-reused");
    let second = tokio::spawn({
        let address = once.proxy.address();
        async move { crate::harness::client::request(&address, payment("k", "ten")).await }
    });
    once.processor
        .wait_for_metric("processor_idempotency_waiting", &[], 1.0)
        .await;
    open.send_replace(true);
    let (first, second) = (first.await.expect("it ends"), second.await.expect("it ends"));
    assert_eq!(
        (first.status, first.text(), is_replay(&first)),
        (200, "ten".to_owned(), false)
    );
    assert_eq!(
        (second.status, second.text(), is_replay(&second)),
        (200, "ten".to_owned(), true)
    );
    assert_eq!(once.backend.count(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_what_runs_once() {
    let (open, gate) = watch::channel(false);
    let backend = Backend::start(move |received| Answer::same_body(received).until(&gate)).await;
    let once = Once::start(backend).await;
    let client = once.proxy.leave_waiting(&payment("k", "ten")).await;
    once.backend.wait_for_calls(1).await;
    drop(client);
    once.proxy
        .wait_for_metric("proxy_client_disconnects_total", &[], 1.0)
        .await;
    open.send_replace(true);
    once.processor
        .wait_for_metric("processor_idempotency_remembered_total", &[], 1.0)
        .await;
    let again = once.pay("k", "ten").await;
    assert_eq!((again.text(), is_replay(&again)), ("ten".to_owned(), true));
    assert!(once.backend.left().is_empty());
    assert_eq!(once.backend.count(), 1);
}

#[tokio::test]
async fn which_answers_are_remembered() {
    let backend = Backend::start(|received| Answer::status(received.text().parse().unwrap_or(200))).await;
    let topics = Topics::unique("payments");
    let processor = remembers(&topics, &backend).set_topics("max_retries", 0).start().await;
    for (store, status, kept) in [
        ("all", "200", true),
        ("all", "302", true),
        ("all", "404", true),
        ("all", "500", false),
        ("all", "503", false),
        ("success", "201", true),
        ("success", "404", false),
    ] {
        let proxy = honours(&topics).set("idempotency_store", store).start().await;
        let key = format!("{store} {status}");
        let calls = backend.count();
        for _ in 0..2 {
            let answer = proxy.request(payment(&format!("\"{key}\""), status)).await;
            assert_eq!(answer.status.to_string(), status);
        }
        assert_eq!(backend.count() - calls, if kept { 1 } else { 2 }, "{key}");
    }
    assert_eq!(processor.metrics().await.sum("processor_idempotency_keys", &[]), 4.0);
}

/// The backend may have done what was asked for: with a key that is ours to keep, it is not asked again by itself, but the client may.
#[tokio::test]
async fn a_backend_that_breaks_off_is_not_called_again_by_itself() {
    let backend = Backend::start(|_| Answer::Close).await;
    let once = Once::start(backend).await;
    once.pay("k", "ten").await.assert_problem(502, "backend-reset");
    assert_eq!(once.backend.count(), 1);
    once.backend.answer_with(Answer::same_body);
    let again = once.pay("k", "ten").await;
    assert_eq!((again.text(), is_replay(&again)), ("ten".to_owned(), false));
}

#[tokio::test]
async fn at_most_once_it_is_not_run_again_where_its_end_is_not_known() {
    let backend = Backend::start(|_| Answer::Close).await;
    let once = Once::start_with(
        backend,
        |proxy| proxy,
        |processor| processor.set_topics("delivery", "at-most-once"),
    )
    .await;
    once.pay("k", "ten").await.assert_problem(502, "backend-reset");
    for _ in 0..2 {
        once.pay("k", "ten").await.assert_problem(502, "outcome-unknown");
    }
    once.pay("k", "other")
        .await
        .assert_problem(422, "idempotency-key-reused");
    assert_eq!(once.backend.count(), 1);
    once.backend.answer_with(|_| Answer::status(500));
    assert_eq!(once.pay("failed", "ten").await.status, 500);
    once.backend.answer_with(Answer::same_body);
    assert_eq!(
        once.pay("failed", "ten").await.status,
        200,
        "an answer of 500 is an end that is known"
    );
}

/// A processor that stops cuts its calls off: the backend may have done what was asked for.
#[tokio::test]
async fn at_most_once_a_call_that_is_cut_off_is_not_run_again() {
    let mut once = Once::start_with(
        Backend::start(|_| Answer::Hang).await,
        |proxy| proxy.set("default_timeout", 20),
        |processor| processor.set("drain_timeout", 3).set_topics("delivery", "at-most-once"),
    )
    .await;
    let client = once.proxy.leave_waiting(&payment("k", "ten")).await;
    once.backend.wait_for_calls(1).await;
    once.processor.signal("TERM");
    once.processor.wait_exit().await;
    drop(client);
    once.backend.answer_with(Answer::same_body);
    let _next = remembers(&once.topics, &once.backend)
        .set_topics("delivery", "at-most-once")
        .start()
        .await;
    once.pay("k", "ten").await.assert_problem(502, "outcome-unknown");
    assert_eq!(once.backend.count(), 1);
}

#[tokio::test]
async fn a_large_body_has_its_digest() {
    let once = Once::start(Backend::start(|received| Answer::body(received.text().len().to_string())).await).await;
    let (body, other) = ("a".repeat(2_000_000), format!("{}b", "a".repeat(1_999_999)));
    for replays in [false, true] {
        let answer = once.pay("large", &body).await;
        assert_eq!((answer.text(), is_replay(&answer)), ("2000000".to_owned(), replays));
    }
    once.pay("large", &other)
        .await
        .assert_problem(422, "idempotency-key-reused");
    assert_eq!(once.backend.count(), 1);
}

#[tokio::test]
async fn a_key_is_forgotten_after_its_time() {
    let once = Once::start_with(
        numbering().await,
        |proxy| proxy.set("idempotency_ttl", 2),
        |processor| processor,
    )
    .await;
    assert_eq!(once.pay("k", "ten").await.text(), "0 ten");
    eventually("it runs again", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        match once.pay("k", "ten").await.text() {
            text if text == "1 ten" => Ok(()),
            text => Err(text),
        }
    })
    .await;
}
