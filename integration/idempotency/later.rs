//! Requests that run once and whose answers are fetched later.

use serde_json::json;

use super::{Once, bytes, honours, is_replay, large, numbering, payment};
use crate::harness::client::Request;
use crate::later::{accepted, result};

fn job(key: &str, body: &str) -> Request {
    payment(key, body).header("Prefer", "respond-async")
}

#[tokio::test]
async fn a_repeat_has_the_result_of_the_first_at_a_location_of_its_own() {
    let seals = json!({ "keys": [{ "id": "one", "secret": "0123456789abcdef0123456789abcdef" }], "require": true });
    for seals in [None, Some(seals)] {
        let sealed = |spec: crate::harness::spec::Spec| match &seals {
            Some(seals) => spec.set("sealing", seals.clone()),
            None => spec,
        };
        let of_proxy = |proxy| sealed(proxy).set("async", "allowed");
        let once = Once::start_with(numbering().await, of_proxy, sealed).await;
        let second = of_proxy(honours(&once.topics)).start().await;
        // Several, since they have to meet in one partition each.
        for number in 0..5 {
            let (key, text) = (format!("k{number}"), format!("{number} ten"));
            let first = accepted(&once.proxy, job(&key, "ten")).await;
            assert_eq!(result(&second, &first).await.text(), text);
            let again = accepted(&second, job(&key, "ten")).await;
            assert_ne!(again, first);
            let answer = result(&once.proxy, &again).await;
            assert_eq!(
                (answer.status, answer.text(), is_replay(&answer)),
                (201, text.clone(), true)
            );
            // A client that waits is another repeat.
            assert_eq!(once.pay(&key, "ten").await.text(), text);
            let other = accepted(&once.proxy, job(&key, "eleven")).await;
            result(&once.proxy, &other)
                .await
                .assert_problem(422, "idempotency-key-reused");
        }
        assert_eq!(once.backend.count(), 5);
    }
}

#[tokio::test]
async fn a_large_result_is_that_of_the_first_too() {
    const SIZE: usize = 3_000_000;
    let of_proxy = |proxy: crate::harness::spec::Spec| proxy.set("async", "allowed");
    let once = Once::start_with(large(SIZE).await, of_proxy, |processor| processor).await;
    for replays in [false, true, true] {
        let place = accepted(&once.proxy, job("k", "ten")).await;
        let answer = result(&once.proxy, &place).await;
        assert_eq!((answer.status, is_replay(&answer)), (200, replays));
        assert!(answer.body == bytes(0, SIZE));
    }
    let waits = once.pay("k", "ten").await;
    assert!(waits.body == bytes(0, SIZE) && is_replay(&waits));
    assert_eq!(once.backend.count(), 1);
}
