//! A request topic that was deleted and created again: every record of the new one is executed, whatever was committed of the old one.

use std::collections::HashMap;
use std::time::Duration;

use crate::harness::backend::{Answer, Backend};
use crate::harness::names::Topics;
use crate::harness::records::{job, produce_all};
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor};
use crate::harness::topics::{create_topic, delete_topic, wait_for_commit};
use crate::harness::wait::within;

/// The change is noticed within seconds; the rest is the new consumer's start, and the broker's.
const NOTICED: Duration = Duration::from_secs(60);

/// What happens to the processor while its topic is recreated.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meanwhile {
    Runs,
    /// Stands still (SIGSTOP) for six seconds.
    Sleeps,
    /// Ends, and is started again afterwards.
    Ends,
}

/// A topic before and after.
struct Case {
    old: Shape,
    new: Shape,
    meanwhile: Meanwhile,
}

/// Partitions, and records in each.
type Shape = (i32, usize);

impl Case {
    fn new(old: Shape, new: Shape, meanwhile: Meanwhile) -> Self {
        Case { old, new, meanwhile }
    }

    /// Returns how often each new record was executed.
    async fn run(&self, change: impl Fn(Spec) -> Spec) -> HashMap<String, usize> {
        let topics = Topics::unique("orders");
        create_topic(&topics.request, self.old.0).await;
        create_topic(&topics.response, 1).await;
        let backend = Backend::echo().await;
        let spec = change(processor(&[(&topics, &backend.url())]).set("create_topics.enabled", false));
        let mut processor = spec.clone().start().await;
        fill(&topics.request, self.old, "old").await;
        let (partitions, records) = self.old;
        wait_for_commit(&topics.group, &topics.request, partitions as i64 * records as i64).await;
        match self.meanwhile {
            Meanwhile::Runs => {}
            Meanwhile::Sleeps => processor.signal("STOP"),
            Meanwhile::Ends => end(&mut processor).await,
        }
        delete_topic(&topics.request).await;
        create_topic(&topics.request, self.new.0).await;
        fill(&topics.request, self.new, "new").await;
        match self.meanwhile {
            Meanwhile::Runs => {}
            Meanwhile::Sleeps => {
                tokio::time::sleep(Duration::from_secs(6)).await;
                processor.signal("CONT");
            }
            Meanwhile::Ends => processor = spec.start().await,
        }
        let expected = self.new.0 as usize * self.new.1;
        let calls = all_executed(&backend, expected).await;
        // Its own commits count again: a restart repeats nothing.
        wait_for_commit(&topics.group, &topics.request, expected as i64).await;
        processor.assert_running();
        calls
    }
}

async fn end(processor: &mut Service) {
    processor.signal("TERM");
    assert_eq!(processor.wait_exit().await, Some(0));
}

async fn fill(topic: &str, (partitions, records): Shape, what: &str) {
    for partition in 0..partitions {
        let records = (0..records).map(|number| job(format!("{what} {partition}-{number}")));
        produce_all(topic, partition, records).await;
    }
}

/// Waits until so many different new records were executed; how often each was.
async fn all_executed(backend: &Backend, expected: usize) -> HashMap<String, usize> {
    let (calls, took) = within(NOTICED, &format!("{expected} new records executed"), async || {
        let mut calls = HashMap::new();
        for received in backend.received() {
            if received.text().starts_with("new") {
                *calls.entry(received.text()).or_default() += 1;
            }
        }
        match calls.len() {
            found if found == expected => Ok(calls),
            found => Err(format!("{found} of {expected}")),
        }
    })
    .await;
    println!("{expected} of {expected} new records executed after {took:?}");
    calls
}

fn unchanged(spec: Spec) -> Spec {
    spec
}

#[tokio::test]
async fn a_longer_new_topic_is_read_from_its_beginning() {
    Case::new((1, 5), (1, 20), Meanwhile::Runs).run(unchanged).await;
}

#[tokio::test]
async fn a_new_topic_of_the_same_length_is_read_from_its_beginning() {
    Case::new((1, 5), (1, 5), Meanwhile::Runs).run(unchanged).await;
}

#[tokio::test]
async fn a_processor_that_stood_still_meanwhile_reads_the_new_topic_from_its_beginning() {
    Case::new((1, 60), (1, 100), Meanwhile::Sleeps).run(unchanged).await;
}

#[tokio::test]
async fn a_processor_that_was_down_meanwhile_reads_the_new_topic_from_its_beginning() {
    for (old, new) in [(60, 100), (60, 20), (60, 60)] {
        Case::new((1, old), (1, new), Meanwhile::Ends).run(unchanged).await;
    }
}

#[tokio::test]
async fn a_new_topic_may_have_more_or_fewer_partitions() {
    for (old, new) in [(4, 2), (2, 6)] {
        for meanwhile in [Meanwhile::Runs, Meanwhile::Ends] {
            Case::new((old, 5), (new, 20), meanwhile).run(unchanged).await;
        }
    }
}

#[tokio::test]
async fn a_static_member_reads_the_new_topic_from_its_beginning() {
    for meanwhile in [Meanwhile::Runs, Meanwhile::Ends] {
        let fixed = |spec: Spec| spec.set_topics("group_instance_id", "a");
        Case::new((1, 5), (1, 20), meanwhile).run(fixed).await;
    }
}

#[tokio::test]
async fn a_group_that_started_at_the_end_reads_the_new_topic_from_its_beginning() {
    let latest = |spec: Spec| spec.set_topics("start", "latest");
    Case::new((1, 5), (1, 20), Meanwhile::Runs).run(latest).await;
}

#[tokio::test]
async fn at_most_once_a_new_topic_is_read_from_its_beginning_and_nothing_twice() {
    for meanwhile in [Meanwhile::Runs, Meanwhile::Ends] {
        let at_most_once = |spec: Spec| spec.set_topics("delivery", "at-most-once");
        for new in [50, 100] {
            let calls = Case::new((1, 60), (1, new), meanwhile).run(at_most_once).await;
            assert!(calls.values().all(|&calls| calls == 1), "{calls:?}");
        }
    }
}

#[tokio::test]
async fn a_topic_that_is_recreated_under_load_loses_no_new_record() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 2).await;
    create_topic(&topics.response, 1).await;
    let backend = Backend::start(|received| Answer::echo(received).after(Duration::from_millis(20))).await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set("create_topics.enabled", false)
        .start()
        .await;
    fill(&topics.request, (2, 2000), "old").await;
    backend.wait_for_calls(500).await;
    delete_topic(&topics.request).await;
    create_topic(&topics.request, 2).await;
    fill(&topics.request, (2, 3000), "new").await;
    all_executed(&backend, 6000).await;
    wait_for_commit(&topics.group, &topics.request, 6000).await;
}
