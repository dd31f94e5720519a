//! kill -9 of proxies and processors while thousands of requests are accepted: in the end every Location has the right answer, from a proxy
//! that did not take its request.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use rand::RngExt;

use super::{accepting, job};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Request, try_request};
use crate::harness::killable::Killable;
use crate::harness::names::Topics;
use crate::harness::spec::processor;
use crate::harness::topics::create_topic;
use crate::harness::wait::{PATIENCE, long};

/// Clients at once.
const CLIENTS: usize = 16;

/// An accepted request: its number, and its Location.
type Accepted = (usize, String);

/// Sends a request to one proxy after the other until it is accepted, as a client with a retry does.
async fn accept(addresses: &[String], number: usize) -> (Accepted, usize) {
    let began = Instant::now();
    for attempt in 0.. {
        let address = &addresses[(number + attempt) % addresses.len()];
        let answer = try_request(address, job(number.to_string())).await;
        if let Ok(answer) = answer
            && answer.status == 202
        {
            let at = answer.header("location").expect("a Location");
            return ((number, at), attempt);
        }
        assert!(began.elapsed() < PATIENCE, "request {number} is not accepted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    unreachable!("it goes on until it is accepted")
}

/// The result, from a proxy that is asked until it has it.
async fn fetch(address: &str, (number, at): Accepted) {
    let began = Instant::now();
    loop {
        let answer = try_request(address, Request::get(&at).header("Prefer", "wait=5")).await;
        let seen = match answer {
            Ok(answer) if answer.status == 200 => {
                assert_eq!(answer.text(), format!("done: {number}"));
                return;
            }
            Ok(answer) if [202, 503].contains(&answer.status) => answer.text(),
            Ok(answer) => panic!("{number}: {} {}", answer.status, answer.text()),
            Err(error) => error.to_string(),
        };
        assert!(began.elapsed() < PATIENCE, "no result of {number}: {seen}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn no_accepted_request_is_lost_while_proxies_and_processors_are_killed() {
    let (requests, every) = match long() {
        true => (10_000, Duration::from_secs(10)),
        false => (1500, Duration::from_secs(3)),
    };
    let topics = Topics::unique("jobs");
    create_topic(&topics.request, 12).await;
    let backend = Backend::start(|received| {
        let delay = rand::rng().random_range(1..20);
        Answer::body(format!("done: {}", received.text())).after(Duration::from_millis(delay))
    })
    .await;
    let of_proxy = accepting(&topics);
    let of_processor = processor(&[(&topics, &backend.url())]).set(
        "kafka.properties",
        serde_json::json!({ "session.timeout.ms": "6000", "heartbeat.interval.ms": "1000" }),
    );
    let (mut all, addresses) = Killable::proxies(&of_proxy, 3).await;
    for _ in 0..2 {
        all.push(Killable::start(of_processor.clone()).await);
    }
    let began = Instant::now();
    let pace = every * 8 / requests as u32 * CLIENTS as u32;
    let is_over = Cell::new(false);
    let accepting = async {
        let accepted = stream::iter(0..requests).map(|number| {
            let addresses = &addresses;
            async move {
                let done = accept(addresses, number).await;
                tokio::time::sleep(pace).await;
                done
            }
        });
        let accepted: Vec<_> = accepted.buffer_unordered(CLIENTS).collect().await;
        is_over.set(true);
        accepted
    };
    let killing = async {
        let mut kills = 0;
        while !is_over.get() {
            tokio::time::sleep(every).await;
            let dying = kills % all.len();
            all[dying].replace("KILL").await;
            kills += 1;
        }
        kills
    };
    let (accepted, kills) = tokio::join!(accepting, killing);
    let took = began.elapsed();
    let repeats: usize = accepted.iter().map(|(_, attempts)| attempts).sum();
    // All proxies are replaced: none that took a request is left.
    for proxy in &mut all[..3] {
        proxy.replace("KILL").await;
    }
    let fetched = stream::iter(accepted.into_iter().enumerate()).map(|(index, (accepted, _))| {
        let address = &addresses[index % addresses.len()];
        fetch(address, accepted)
    });
    let fetching = Instant::now();
    fetched.buffer_unordered(CLIENTS).collect::<Vec<()>>().await;
    println!(
        "{requests} requests accepted within {took:?} by 3 proxies and 2 processors, {kills} kills; {repeats} attempts of clients were repeated; all results fetched within {:?}; the backend was called {} times",
        fetching.elapsed(),
        backend.count()
    );
    assert!(kills >= 5, "each of the five was killed: {kills}");
    drop(all);
}
