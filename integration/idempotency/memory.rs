//! What is remembered, where, and what happens when it cannot be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{Once, honours, is_replay, memory_of, numbering, payment, remembers};
use crate::harness::backend::{Answer, Backend};
use crate::harness::names::Topics;
use crate::harness::records::{produce, produce_with_key, read_all, request_headers};
use crate::harness::spec::processor;
use crate::harness::topics::{add_partitions, create_topic, delete_topic, partitions, topic_setting, wait_for_commit};
use crate::harness::wait::{eventually, within};

#[tokio::test]
async fn a_restart_restores_what_was_remembered() {
    let once = Once::start(numbering().await).await;
    for number in 0..20 {
        assert_eq!(once.pay(&format!("k{number}"), "ten").await.status, 201);
    }
    once.processor.signal("KILL");
    let next = remembers(&once.topics, &once.backend).start().await;
    for number in 0..20 {
        let again = once.pay(&format!("k{number}"), "ten").await;
        assert_eq!((again.text(), is_replay(&again)), (format!("{number} ten"), true));
    }
    assert_eq!(once.backend.count(), 20);
    let metrics = next.metrics().await;
    assert_eq!(metrics.sum("processor_idempotency_restored_keys_total", &[]), 20.0);
    assert!(metrics.sum("processor_idempotency_restore_seconds_count", &[]) >= 1.0);
    let topic = &next.topic_status(&once.topics.request).await["idempotency"];
    assert_eq!((&topic["keys"], &topic["replayed"]), (&json!(20), &json!(20)));
}

#[tokio::test]
async fn the_topic_is_made_for_it() {
    let once = Once::start(numbering().await).await;
    assert_eq!(once.pay("k", "ten").await.status, 201);
    let memory = once.memory();
    assert_eq!(partitions(&memory), partitions(&once.topics.request));
    assert_eq!(topic_setting(&memory, "cleanup.policy").await, "compact,delete");
    assert_eq!(topic_setting(&memory, "retention.ms").await, "86400000");
    let remembered = read_all(&memory).await;
    assert_eq!(remembered.len(), 1);
    let of_request = read_all(&once.topics.request).await;
    assert_eq!(
        (&remembered[0].key, remembered[0].partition),
        (&of_request[0].key, of_request[0].partition)
    );
    assert_eq!(remembered[0].header_text("khp-idempotency-state"), "answered");
    assert_eq!(remembered[0].value.as_deref(), Some(&b"0 ten"[..]));
    let log = once.processor.log();
    assert!(!log.contains("ERROR"), "a new topic is no fault: {log}");
}

/// It comes back as it was made, and not with the partitions of other topics.
#[tokio::test]
async fn a_memory_that_was_deleted_is_created_with_as_many_partitions() {
    let topics = Topics::unique("payments");
    // One partition: it is restored with the first key, and the second is only written.
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let backend = numbering().await;
    let processor = remembers(&topics, &backend).start().await;
    let proxy = honours(&topics).start().await;
    let memory = memory_of(&topics);
    for key in ["a", "b"] {
        assert_eq!(proxy.request(payment(key, "ten")).await.status, 201);
        assert_eq!(partitions(&memory), 1);
        delete_topic(&memory).await;
    }
    assert_eq!(processor.logged("ERROR"), 0, "{}", processor.log());
}

/// Keys move with partitions that are added. What is known of them is read from where it lies.
#[tokio::test]
async fn partitions_that_are_added_forget_nothing() {
    let topics = Topics::unique("payments");
    create_topic(&topics.request, 2).await;
    create_topic(&topics.response, 2).await;
    let backend = numbering().await;
    let first = remembers(&topics, &backend).start().await;
    let proxy = honours(&topics).start().await;
    for number in 0..20 {
        assert_eq!(proxy.request(payment(&format!("k{number}"), "ten")).await.status, 201);
    }
    first.stop().await;
    add_partitions(&topics.request, 5).await;
    let next = remembers(&topics, &backend).start().await;
    // As long as the memory has fewer, nothing with a key is executed.
    eventually("it is refused", async || {
        let refused = proxy.request(payment("k0", "ten")).await;
        match (refused.status, next.logged("keys have moved")) {
            (503, 1..) => Ok(()),
            other => Err(format!("{other:?} {}", refused.text())),
        }
    })
    .await;
    assert_eq!(backend.count(), 20);
    add_partitions(&memory_of(&topics), 5).await;
    for number in 0..20 {
        let again = eventually("it is remembered", async || {
            let again = proxy.request(payment(&format!("k{number}"), "ten")).await;
            match again.status {
                503 => Err(again.text()),
                _ => Ok(again),
            }
        })
        .await;
        assert_eq!((again.text(), is_replay(&again)), (format!("{number} ten"), true));
    }
    assert_eq!(backend.count(), 20);
    assert_eq!(proxy.request(payment("new", "ten")).await.text(), "20 ten");
    assert_eq!(proxy.request(payment("new", "ten")).await.text(), "20 ten");
}

#[tokio::test]
async fn what_cannot_be_remembered_is_not_executed() {
    let backend = numbering().await;
    let topics = Topics::unique("payments");
    let off = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = honours(&topics).start().await;
    let refused = proxy.request(payment("k", "ten")).await;
    refused.assert_try_again("idempotency-unavailable");
    assert_eq!(off.logged("set the topic's idempotency to true"), 1);
    assert_eq!(
        off.metrics().await.sum(
            "processor_idempotency_refused_total",
            &[("code", "idempotency-unavailable")]
        ),
        1.0
    );
    drop(off);
    let few = remembers(&topics, &backend)
        .set_topics("max_idempotency_keys", 2)
        .start()
        .await;
    let mut statuses = Vec::new();
    for key in ["a", "b", "c", "a"] {
        statuses.push(proxy.request(payment(key, "ten")).await.status);
    }
    assert_eq!(statuses, [201, 201, 503, 201]);
    assert_eq!(few.logged("raise max_idempotency_keys"), 1);
    assert_eq!(backend.count(), 2);
}

/// Keys that have expired make room, though no key that is taken in does away with them.
#[tokio::test]
async fn a_full_memory_takes_keys_again_when_its_own_have_expired() {
    let once = Once::start_with(
        numbering().await,
        |proxy| proxy.set("idempotency_ttl", 1),
        |processor| processor.set_topics("max_idempotency_keys", 2),
    )
    .await;
    for key in ["a", "b"] {
        assert_eq!(once.pay(key, "ten").await.status, 201);
    }
    once.pay("c", "ten").await.assert_try_again("idempotency-unavailable");
    within(Duration::from_secs(60), "there is room again", async || {
        match once.pay("c", "ten").await {
            answer if answer.status == 201 => Ok(()),
            answer => Err(answer.text()),
        }
    })
    .await;
}

/// A key in a partition that is not its own might be remembered in another.
#[tokio::test]
async fn a_key_in_the_wrong_partition_is_refused() {
    let backend = Backend::echo().await;
    let topics = Topics::unique("payments");
    create_topic(&topics.request, 2).await;
    create_topic(&topics.response, 1).await;
    let processor = remembers(&topics, &backend).start().await;
    let own = [
        ("khp-idempotency-fingerprint", &b"00112233445566778899aabbccddeeff"[..]),
        ("khp-idempotency-ttl", b"60000"),
        ("kafka_replyTopic", topics.response.as_bytes()),
    ];
    // One of the two is not the key's.
    for partition in 0..2 {
        let id = format!("id{partition}");
        let headers = request_headers(&id, "POST", "/", &own);
        produce_with_key(&topics.request, partition, Some("some key"), b"ten", &headers).await;
    }
    wait_for_commit(&topics.group, &topics.request, 2).await;
    assert_eq!(backend.count(), 1);
    assert_eq!(processor.logged("is not its key's"), 1);
    let mut statuses: Vec<_> = read_all(&topics.response)
        .await
        .iter()
        .map(|reply| reply.header_text(":status"))
        .collect();
    statuses.sort();
    assert_eq!(statuses, ["200", "503"]);
}

/// A producer that is not idempotent writes a record twice, with the same id.
#[tokio::test]
async fn where_records_are_deduplicated_a_repeat_runs_once() {
    for (deduplicate, calls) in [(true, 2), (false, 3)] {
        let backend = Backend::echo().await;
        let topics = Topics::unique("orders");
        create_topic(&topics.request, 1).await;
        let first = processor(&[(&topics, &backend.url())])
            .set_topics("deduplicate", deduplicate)
            .start()
            .await;
        for id in ["one", "one", "two"] {
            produce(&topics.request, 0, b"ten", &request_headers(id, "POST", "/", &[])).await;
        }
        wait_for_commit(&topics.group, &topics.request, 3).await;
        assert_eq!(backend.count(), calls, "{deduplicate}");
        first.stop().await;
        // Also where another process had run it.
        let _second = processor(&[(&topics, &backend.url())])
            .set_topics("deduplicate", deduplicate)
            .start()
            .await;
        produce(&topics.request, 0, b"ten", &request_headers("one", "POST", "/", &[])).await;
        wait_for_commit(&topics.group, &topics.request, 4).await;
        assert_eq!(backend.count(), if deduplicate { 2 } else { 4 });
    }
}

/// With seals, neither a body nor an answer lies in the memory in clear.
#[tokio::test]
async fn what_was_sealed_is_remembered_sealed() {
    let seals = json!({ "keys": [{ "id": "one", "secret": "0123456789abcdef0123456789abcdef" }], "require": true });
    let calls = AtomicUsize::new(0);
    let backend =
        Backend::start(move |_| Answer::body(format!("in-clear {}", calls.fetch_add(1, Ordering::Relaxed)))).await;
    let once = Once::start_with(
        backend,
        |proxy| proxy.set("sealing", seals.clone()),
        |processor| processor.set("sealing", seals.clone()),
    )
    .await;
    for replays in [false, true] {
        let answer = once.pay("k", "ten").await;
        assert_eq!((answer.text(), is_replay(&answer)), ("in-clear 0".to_owned(), replays));
    }
    once.processor.signal("KILL");
    let _next = remembers(&once.topics, &once.backend)
        .set("sealing", seals.clone())
        .start()
        .await;
    assert_eq!(once.pay("k", "ten").await.text(), "in-clear 0");
    let remembered = read_all(&once.memory()).await;
    let value = remembered[0].value.clone().unwrap_or_default();
    assert!(!value.windows(8).any(|part| part == b"in-clear"));
    assert_eq!(remembered[0].header(":status"), None);
}
