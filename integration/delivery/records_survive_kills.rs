//! kill -9, as records see it: processors that are killed at work lose no record, and no record is committed before it is answered.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use rand::RngExt;
use serde_json::json;

use crate::harness::backend::{Answer, Backend};
use crate::harness::names::Topics;
use crate::harness::records::{Follower, job, produce_all};
use crate::harness::service::Service;
use crate::harness::spec::processor;
use crate::harness::topics::{committed_by_partition, create_topic, wait_for_commit};
use crate::harness::wait::long;

const PARTITIONS: usize = 12;

/// Number `n` is on partition `n % PARTITIONS` at offset `n / PARTITIONS`.
async fn produce_numbers(topic: &str, records: usize) {
    for partition in 0..PARTITIONS {
        let numbers = (partition..records).step_by(PARTITIONS);
        let records = numbers.map(|number| job(number.to_string()));
        produce_all(topic, partition as i32, records).await;
    }
}

/// The records that were answered.
struct Answered {
    replies: Follower,
    /// How often each number was answered.
    numbers: HashMap<usize, usize>,
}

impl Answered {
    /// Reads the commits, and then the replies: each record below a commit must have a reply by then. Returns the sum of the commits.
    async fn check(&mut self, topics: &Topics) -> i64 {
        let commits = committed_by_partition(&topics.group, &topics.request);
        for reply in self.replies.up_to_now().await {
            assert_eq!(reply.header_text(":status"), "200", "{reply:?}");
            let number = reply.header_text("kafka_correlationId").parse().expect("a number");
            *self.numbers.entry(number).or_default() += 1;
        }
        for (partition, &commit) in commits.iter().enumerate() {
            let unanswered = (0..commit as usize)
                .map(|offset| offset * PARTITIONS + partition)
                .find(|number| !self.numbers.contains_key(number));
            assert_eq!(unanswered, None, "partition {partition} is committed up to {commit}");
        }
        commits.iter().sum()
    }
}

#[tokio::test]
async fn killed_processors_lose_no_record_and_commit_none_that_is_unanswered() {
    let (records, kills, every) = match long() {
        true => (20_000, 12, Duration::from_secs(4)),
        false => (3000, 3, Duration::from_millis(700)),
    };
    let topics = Topics::unique("numbers");
    create_topic(&topics.request, PARTITIONS as i32).await;
    create_topic(&topics.response, 4).await;
    produce_numbers(&topics.request, records).await;
    let backend = Backend::start(|received| {
        let delay = rand::rng().random_range(10..60);
        Answer::same_body(received).after(Duration::from_millis(delay))
    })
    .await;
    let spec = processor(&[(&topics, &backend.url())])
        .set_topics("concurrency", 8)
        // The shortest session that a broker takes, so that the partitions of a killed processor move soon.
        .set(
            "kafka.properties",
            json!({ "session.timeout.ms": "6000", "heartbeat.interval.ms": "1000" }),
        );
    let mut processors: Vec<Service> = Vec::new();
    for _ in 0..3 {
        processors.push(spec.clone().start().await);
    }
    let mut answered = Answered {
        replies: Follower::open(&topics.response),
        numbers: HashMap::new(),
    };
    let (mut killed, mut checks, mut last) = (0, 0, Instant::now());
    let (started, patience) = (Instant::now(), Duration::from_secs(120).max(every * 60));
    loop {
        let committed = answered.check(&topics).await;
        checks += 1;
        if committed == records as i64 {
            break;
        }
        assert!(started.elapsed() < patience, "{committed} of {records} committed");
        if killed < kills && last.elapsed() > every {
            let dying = processors.remove(0);
            dying.signal("KILL");
            // Not waited for: it joins while the others work.
            processors.push(spec.clone().launch().await);
            (killed, last) = (killed + 1, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut calls: BTreeMap<usize, usize> = BTreeMap::new();
    for received in backend.received() {
        *calls.entry(received.text().parse().expect("a number")).or_default() += 1;
    }
    let all: Vec<usize> = (0..records).collect();
    assert_eq!(
        calls.keys().copied().collect::<Vec<_>>(),
        all,
        "the backend saw every number"
    );
    assert_eq!(answered.numbers.len(), records, "every reply was published");
    assert_eq!(killed, kills, "the run was long enough");
    println!(
        "{records} records, {killed} kills, {:?}: {} doubled calls, {} doubled replies; {checks} checks of the commits, none beyond an unanswered record",
        started.elapsed(),
        backend.count() - records,
        answered.numbers.values().sum::<usize>() - records,
    );
    wait_for_commit(&topics.group, &topics.request, records as i64).await;
}
