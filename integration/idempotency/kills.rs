//! Many keys, each sent many times over several proxies, while processors are killed, stopped and joined: each request runs once, but for
//! calls that were cut off, and all its clients get the same bytes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rand::RngExt;
use serde_json::json;

use super::{honours, payment, remembers};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::try_request;
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::topics::create_topic;
use crate::harness::wait::long;

/// Calls of the backend take so long at most.
const CALL_MS: u64 = 40;

/// What one client heard in the end.
struct Heard {
    key: usize,
    text: String,
    /// Answers of 5xx before it, by their codes.
    before: Vec<String>,
}

/// Sends a request until it is answered by the backend.
async fn insist(address: String, key: usize) -> Heard {
    let mut before = Vec::new();
    loop {
        let request = payment(&format!("key-{key}"), &key.to_string());
        if let Ok(answer) = try_request(&address, request).await {
            match answer.status {
                200 => {
                    let text = answer.text();
                    return Heard { key, text, before };
                }
                // Documented: not executed, or not known; the key makes it safe to ask again.
                409 | 502 | 503 | 504 => before.push(answer.json()["code"].as_str().unwrap_or("none").to_owned()),
                other => panic!("{other}: {}", answer.text()),
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn each_key_runs_once_whatever_is_killed() {
    let (keys, kills, every) = match long() {
        true => (2000, 12, Duration::from_secs(5)),
        false => (250, 3, Duration::from_secs(2)),
    };
    let topics = Topics::unique("payments");
    create_topic(&topics.request, 6).await;
    create_topic(&topics.response, 3).await;
    // Each answer is another one: what is the same was remembered.
    let backend = Backend::start(|received| {
        let delay = rand::rng().random_range(1..CALL_MS);
        let body = format!("{} {:x}", received.text(), rand::random::<u64>());
        Answer::body(body).after(Duration::from_millis(delay))
    })
    .await;
    let spec = remembers(&topics, &backend).set_topics("concurrency", 16).set(
        "kafka.properties",
        json!({ "session.timeout.ms": "6000", "heartbeat.interval.ms": "1000" }),
    );
    let mut processors = vec![spec.clone().start().await, spec.clone().start().await];
    let mut proxies = Vec::new();
    for _ in 0..3 {
        proxies.push(honours(&topics).set("default_timeout", 8).start().await);
    }
    let mut random = rand::rng();
    let began = Instant::now();
    let sending = every * (kills + 1);
    let mut clients = Vec::new();
    for key in 0..keys {
        for _ in 0..random.random_range(1..=if long() { 20 } else { 6 }) {
            let address = proxies[random.random_range(0..proxies.len())].address();
            let at = began + sending.mul_f64(random.random::<f64>());
            clients.push(tokio::spawn(async move {
                tokio::time::sleep_until(at.into()).await;
                insist(address, key).await
            }));
        }
    }
    for round in 0..kills {
        tokio::time::sleep_until((began + every * (round + 1)).into()).await;
        let mut leaving: Service = processors.remove(0);
        // Not waited for: it joins while the other one works.
        processors.push(spec.launch().await);
        leaving.signal(if round % 3 == 2 { "TERM" } else { "KILL" });
        leaving.wait_exit().await;
    }
    let (mut answers, mut before, sent) = (
        HashMap::<usize, String>::new(),
        HashMap::<String, usize>::new(),
        clients.len(),
    );
    for client in clients {
        let heard = client.await.expect("it ends");
        for code in heard.before {
            *before.entry(code).or_default() += 1;
        }
        let first = answers.entry(heard.key).or_insert_with(|| heard.text.clone());
        assert_eq!(*first, heard.text, "all clients of key {} get the same", heard.key);
    }
    let mut calls = HashMap::<String, usize>::new();
    for received in backend.received() {
        *calls.entry(received.text()).or_default() += 1;
    }
    assert_eq!(calls.len(), keys);
    let twice: Vec<_> = calls.iter().filter(|(_, calls)| **calls > 1).collect();
    println!(
        "{keys} keys, {sent} requests, {kills} kills in {:?}: {} keys ran twice (cut off between call and record); errors before the answer: {before:?}",
        began.elapsed(),
        twice.len(),
    );
    // A kill cuts off what is between its call and the record of it: never more than runs at once.
    assert!(twice.len() <= kills as usize * 16, "{twice:?}");
    for code in before.keys() {
        let documented = [
            "reply-timeout",
            "idempotency-unavailable",
            "idempotency-key-in-use",
            "reply-lost",
            "kafka-unavailable",
            "overloaded",
        ];
        assert!(documented.contains(&code.as_str()), "{code}");
    }
}
