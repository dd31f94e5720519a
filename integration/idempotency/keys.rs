//! Whom a key belongs to, and which requests need one.

use serde_json::json;

use super::{Once, is_replay, numbering, payment, routes};
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::digest::api_key;
use crate::harness::names::Topics;
use crate::harness::records::Reader;
use crate::harness::spec::proxy;
use crate::harness::topics::create_topic;

#[tokio::test]
async fn where_it_is_required_a_request_that_changes_something_needs_one() {
    let once = Once::start_with(
        Backend::echo().await,
        |proxy| proxy.set("idempotency", "required"),
        |processor| processor,
    )
    .await;
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let refused = once.proxy.request(Request::new(method, "/payments")).await;
        refused.assert_problem(400, "idempotency-key-missing");
    }
    for key in ["", "a, b", "a b", "\"a", &"x".repeat(256)] {
        once.pay(key, "ten")
            .await
            .assert_problem(400, "idempotency-key-invalid");
    }
    let twice = payment("a", "ten").header("Idempotency-Key", "a");
    once.proxy
        .request(twice)
        .await
        .assert_problem(400, "idempotency-key-invalid");
    assert_eq!(once.backend.count(), 0);
    assert_eq!(once.proxy.request(Request::get("/payments")).await.status, 200);
    assert_eq!(once.pay("a", "ten").await.status, 200);
    let metrics = once.proxy.metrics().await;
    assert_eq!(
        metrics.sum("proxy_rejected_total", &[("reason", "idempotency-key-missing")]),
        4.0
    );
}

#[tokio::test]
async fn a_key_belongs_to_its_principal() {
    let keys = json!([api_key("alice", "s3cret-of-alice"), api_key("bob", "s3cret-of-bob")]);
    let once = Once::start_with(
        numbering().await,
        |proxy| proxy.set("auth.api_keys", keys),
        |processor| processor,
    )
    .await;
    let pay = |secret: &str| once.proxy.request(payment("k", "ten").header("X-API-Key", secret));
    assert_eq!(pay("s3cret-of-alice").await.text(), "0 ten");
    assert_eq!(
        pay("s3cret-of-bob").await.text(),
        "1 ten",
        "his own request, which runs"
    );
    for (secret, text) in [("s3cret-of-alice", "0 ten"), ("s3cret-of-bob", "1 ten")] {
        let again = pay(secret).await;
        assert_eq!((again.text(), is_replay(&again)), (text.to_owned(), true));
    }
}

#[tokio::test]
async fn without_a_principal_it_belongs_to_its_route() {
    let backend = numbering().await;
    let once = Once::start(backend).await;
    let own = [
        json!({ "path": "/payments", "idempotency": "honour" }),
        json!({ "path": "/refunds", "idempotency": "honour" }),
        json!({ "path": "/free" }),
    ];
    let proxy = proxy(&once.topics)
        .set("routes", routes(&once.topics, &own))
        .start()
        .await;
    let ask = |path: &str| proxy.request(Request::post(path, "ten").header("Idempotency-Key", "k"));
    let texts = [
        ask("/payments").await,
        ask("/refunds").await,
        ask("/free").await,
        ask("/free").await,
    ];
    assert_eq!(texts.map(|answer| answer.text()), ["0 ten", "1 ten", "2 ten", "3 ten"]);
    let texts = [ask("/payments").await, ask("/refunds").await];
    assert_eq!(
        texts.map(|answer| (answer.text(), is_replay(&answer))),
        [("0 ten".to_owned(), true), ("1 ten".to_owned(), true)]
    );
}

#[tokio::test]
async fn neither_key_nor_owner_lies_in_a_record_key() {
    let topics = Topics::unique("payments");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let reader = Reader::open(&topics.request);
    let proxy = super::honours(&topics).start().await;
    let client = proxy.leave_waiting(&payment("very-secret", "ten")).await;
    let record = reader.next().await;
    let key = String::from_utf8(record.key.clone().expect("a key")).expect("text");
    assert!(
        key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{key}"
    );
    assert_eq!(record.header_text("khp-idempotency-ttl"), "86400000");
    assert_eq!(record.header_text("khp-idempotency-fingerprint").len(), 32);
    drop(client);
}
