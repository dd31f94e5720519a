//! Many keys, each sent many times over three proxies, while one of the five processes is killed all the time: each request runs once, but
//! for calls that were cut off, and all its clients get the same bytes.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use rand::RngExt;
use serde_json::json;

use super::{honours, payment, remembers};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::try_request;
use crate::harness::killable::Killable;
use crate::harness::names::Topics;
use crate::harness::topics::create_topic;
use crate::harness::wait::long;

/// Calls of the backend take so long at most.
const CALL_MS: u64 = 40;
/// Calls that a processor has under way at most.
const CONCURRENCY: usize = 16;
const PROXIES: usize = 3;

/// What a client may hear until its request is answered: not executed, or not known; the key makes it safe to ask again.
const DOCUMENTED: [&str; 9] = [
    "reply-timeout",
    "idempotency-unavailable",
    "idempotency-key-in-use",
    "reply-lost",
    "kafka-unavailable",
    "overloaded",
    "starting",
    "draining",
    "no-consumers",
];

/// What one client heard in the end.
struct Heard {
    key: usize,
    text: String,
    /// What it heard before: codes of errors, or that its connection was gone.
    before: Vec<String>,
}

/// Sends a request, to one proxy after the other, until it is answered by the backend.
async fn insist(addresses: Vec<String>, first: usize, key: usize) -> Heard {
    let mut before = Vec::new();
    for turn in first.. {
        let request = payment(&format!("key-{key}"), &key.to_string());
        match try_request(&addresses[turn % addresses.len()], request).await {
            Ok(answer) if answer.status == 200 => {
                let text = answer.text();
                return Heard { key, text, before };
            }
            Ok(answer) => {
                let code = answer.json()["code"].as_str().unwrap_or("none").to_owned();
                before.push(format!("{} {code}", answer.status));
            }
            Err(_) => before.push("no connection".to_owned()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    unreachable!("it goes on until it is answered")
}

/// How many keys have each number.
fn histogram(numbers: impl Iterator<Item = usize>) -> BTreeMap<usize, usize> {
    let mut histogram = BTreeMap::new();
    numbers.for_each(|number| *histogram.entry(number).or_default() += 1);
    histogram
}

#[tokio::test]
async fn each_key_runs_once_whatever_is_killed() {
    let (keys, most, kills, every) = match long() {
        true => (2000, 20, 15, Duration::from_secs(10)),
        false => (250, 6, 5, Duration::from_secs(2)),
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
    let of_processor = remembers(&topics, &backend).set_topics("concurrency", CONCURRENCY).set(
        "kafka.properties",
        json!({ "session.timeout.ms": "6000", "heartbeat.interval.ms": "1000" }),
    );
    let of_proxy = honours(&topics).set("default_timeout", 8);
    let (mut all, addresses) = Killable::proxies(&of_proxy, PROXIES).await;
    for _ in 0..2 {
        all.push(Killable::start(of_processor.clone()).await);
    }
    let mut random = rand::rng();
    let began = Instant::now();
    let sending = every * (kills + 1);
    let mut clients = Vec::new();
    for key in 0..keys {
        for _ in 0..random.random_range(1..=most) {
            let (addresses, first) = (addresses.clone(), random.random_range(0..PROXIES));
            let at = began + sending.mul_f64(random.random::<f64>());
            clients.push(tokio::spawn(async move {
                tokio::time::sleep_until(at.into()).await;
                insist(addresses, first, key).await
            }));
        }
    }
    let mut killed_processors = 0;
    for round in 0..kills {
        tokio::time::sleep_until((began + every * (round + 1)).into()).await;
        let dying = round as usize % all.len();
        killed_processors += usize::from(dying >= PROXIES);
        all[dying].replace("KILL").await;
    }
    let (mut answers, mut before, sent) = (
        HashMap::<usize, Vec<String>>::new(),
        BTreeMap::<String, usize>::new(),
        clients.len(),
    );
    for client in clients {
        let heard = client.await.expect("it ends");
        for error in heard.before {
            *before.entry(error).or_default() += 1;
        }
        let of_key = answers.entry(heard.key).or_default();
        if !of_key.contains(&heard.text) {
            of_key.push(heard.text);
        }
    }
    let mut calls = HashMap::<String, usize>::new();
    for received in backend.received() {
        *calls.entry(received.text()).or_default() += 1;
    }
    let undocumented: BTreeMap<_, _> = before
        .iter()
        .filter(|(error, _)| !error.ends_with("no connection") && !DOCUMENTED.iter().any(|code| error.ends_with(code)))
        .collect();
    let executions = histogram(calls.values().copied());
    println!(
        "{keys} keys in {sent} requests over {PROXIES} proxies and 2 processors, kill -9 of one of the five each {every:?}, {kills} times ({killed_processors} of them processors), in {:?}",
        began.elapsed(),
    );
    println!("executions at the backend: number of keys {executions:?}");
    println!(
        "different answers: number of keys {:?}",
        histogram(answers.values().map(Vec::len))
    );
    println!("heard before the answer: {before:?}; not documented: {undocumented:?}");
    assert_eq!((calls.len(), answers.len()), (keys, keys));
    assert!(
        answers.values().all(|texts| texts.len() == 1),
        "all clients of a key get the same"
    );
    assert!(undocumented.is_empty(), "{undocumented:?}");
    // A kill cuts off what is between its call and the record of it: never more than runs at once.
    let again: usize = executions.iter().map(|(times, keys)| (times - 1) * keys).sum();
    assert!(again <= killed_processors * CONCURRENCY, "{executions:?}");
}
