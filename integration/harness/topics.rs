//! Topics and offsets as the broker has them: a test creates, changes, deletes and counts them without the service.

use std::ops::Range;
use std::time::Duration;

use actix_khp::kafka::cluster::describe::{self, TopicId};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::kafka::brokers;
use super::wait::{PATIENCE, eventually, off_thread};

/// The settings of every Kafka client of the tests.
pub fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers())
        // As much as the largest topic of the tests takes.
        .set("message.max.bytes", "8000000")
        // The default of a producer is true, and then a request for a topic's metadata creates the topic.
        .set("allow.auto.create.topics", "false")
        .set("topic.metadata.refresh.interval.ms", "5000");
    config
}

fn admin() -> AdminClient<DefaultClientContext> {
    config().create().expect("an admin client")
}

fn assert_all_ok<T: std::fmt::Debug, E: std::fmt::Debug>(results: &[Result<T, E>]) {
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

/// Creates a topic and waits until the broker serves it.
pub async fn create_topic(topic: &str, partitions: i32) {
    create(topic, NewTopic::new(topic, partitions, TopicReplication::Fixed(1))).await;
}

/// Creates a topic of one partition whose records are at most this large, in bytes.
pub async fn create_limited_topic(topic: &str, max_message_bytes: usize) {
    let limit = max_message_bytes.to_string();
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1)).set("max.message.bytes", &limit);
    create(topic, new).await;
}

/// Changes the limit of a topic in use, in bytes.
pub async fn limit_topic(topic: &str, max_message_bytes: usize) {
    set_topic(topic, "max.message.bytes", &max_message_bytes.to_string()).await;
}

async fn create(topic: &str, new: NewTopic<'_>) {
    assert!(try_create(&new).await, "{topic} exists already");
    wait_for_topic(topic).await;
}

/// Creates a topic; false where it exists already.
pub async fn try_create_topic(topic: &str, partitions: i32) -> bool {
    try_create(&NewTopic::new(topic, partitions, TopicReplication::Fixed(1))).await
}

async fn try_create(new: &NewTopic<'_>) -> bool {
    let admin = admin();
    let results = admin
        .create_topics([new], &AdminOptions::new())
        .await
        .expect("the broker answers");
    match results.as_slice() {
        [Err((_, RDKafkaErrorCode::TopicAlreadyExists))] => false,
        results => {
            assert_all_ok(results);
            true
        }
    }
}

/// Gives a topic this many partitions in all.
pub async fn add_partitions(topic: &str, partitions_in_all: usize) {
    let admin = admin();
    let new = NewPartitions::new(topic, partitions_in_all);
    let results = admin
        .create_partitions([&new], &AdminOptions::new())
        .await
        .expect("the broker answers");
    assert_all_ok(&results);
    eventually(
        &format!("{partitions_in_all} partitions of {topic}"),
        async || match ask(topic, partitions).await {
            found if found == partitions_in_all => Ok(()),
            found => Err(format!("{found}")),
        },
    )
    .await;
}

/// Asks Kafka about a topic, on another thread than the test's.
pub async fn ask<T: Send + 'static>(topic: &str, question: impl FnOnce(&str) -> T + Send + 'static) -> T {
    let topic = topic.to_owned();
    off_thread(move || question(&topic)).await
}

/// Sets one of a topic's own configuration keys. The broker uses it from its answer on.
pub async fn set_topic(topic: &str, key: &str, value: &str) {
    let admin = admin();
    let set = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
    let results = admin
        .alter_configs([&set], &AdminOptions::new())
        .await
        .expect("the broker answers");
    assert_all_ok(&results);
}

/// One of a topic's configuration keys, as the broker uses it.
pub async fn topic_setting(topic: &str, key: &str) -> String {
    let admin = admin();
    let described = admin
        .describe_configs(&[ResourceSpecifier::Topic(topic)], &AdminOptions::new())
        .await
        .expect("the broker answers");
    let [Ok(found)] = described.as_slice() else {
        panic!("{described:?}");
    };
    let entry = found.entries.iter().find(|entry| entry.name == key);
    entry.and_then(|entry| entry.value.clone()).unwrap_or_default()
}

/// Deletes a topic and waits until it is gone. A service may create a topic of the same name at once; that is another topic.
pub async fn delete_topic(topic: &str) {
    let before = topic_id(topic).expect("the broker answers");
    assert!(before.is_some(), "{topic} does not exist");
    let admin = admin();
    let results = admin
        .delete_topics(&[topic], &AdminOptions::new())
        .await
        .expect("the broker answers");
    assert_all_ok(&results);
    eventually(&format!("topic {topic} gone"), async || match topic_id(topic)? {
        now if now == before => Err("still there".into()),
        _ => Ok(()),
    })
    .await;
}

/// The id of a topic, which another topic of the same name does not have; `None` where there is no topic of this name.
fn topic_id(topic: &str) -> Result<Option<TopicId>, String> {
    let client: BaseConsumer = config().create().expect("a client");
    let found = describe::topics(client.client(), [topic])
        .and_then(|mut found| found.remove(topic).transpose())
        .map_err(|error| error.to_string())?;
    Ok(found.flatten().and_then(|found| found.id))
}

/// Waits until a topic exists.
pub async fn wait_for_topic(topic: &str) {
    eventually(&format!("topic {topic}"), async || {
        if ask(topic, partitions).await > 0 {
            Ok(())
        } else {
            Err("absent".into())
        }
    })
    .await;
}

/// The number of partitions; 0 where there is no such topic.
pub fn partitions(topic: &str) -> usize {
    let client: BaseConsumer = config().create().expect("a client");
    let metadata = client
        .fetch_metadata(Some(topic), PATIENCE)
        .expect("the broker answers");
    metadata
        .topics()
        .iter()
        .filter(|found| found.error().is_none())
        .map(|found| found.partitions().len())
        .sum()
}

/// How many records a topic holds.
pub fn count(topic: &str) -> i64 {
    count_of(topic, 0..partitions(topic))
}

/// How many records these partitions of a topic hold.
pub fn count_of(topic: &str, partitions: Range<usize>) -> i64 {
    let client: BaseConsumer = config().create().expect("a client");
    let records = |partition| {
        let answered = client.fetch_watermarks(topic, partition as i32, PATIENCE);
        match answered.map_err(|error| (error.rdkafka_error_code(), error)) {
            Ok((low, high)) => high - low,
            // A partition that was just created has no leader yet, and so no record.
            Err((Some(RDKafkaErrorCode::NotLeaderForPartition | RDKafkaErrorCode::LeaderNotAvailable), _)) => 0,
            Err((_, error)) => panic!("the broker does not answer: {error}"),
        }
    };
    partitions.map(records).sum()
}

/// Waits until a topic holds this many records.
pub async fn wait_for_count(topic: &str, records: i64) {
    eventually(&format!("{records} records on {topic}"), async || {
        match ask(topic, count).await {
            found if found == records => Ok(()),
            found => Err(format!("{found}")),
        }
    })
    .await;
}

/// The sum of a group's committed offsets over a topic's partitions.
pub fn committed(group: &str, topic: &str) -> i64 {
    committed_by_partition(group, topic).iter().sum()
}

/// A group's committed offset on each partition; 0 where there is none.
pub fn committed_by_partition(group: &str, topic: &str) -> Vec<i64> {
    let client: BaseConsumer = config().set("group.id", group).create().expect("a client");
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range(topic, 0, partitions(topic) as i32 - 1);
    let offsets = client
        .committed_offsets(asked, Duration::from_secs(10))
        .expect("the broker answers");
    offsets
        .elements()
        .iter()
        .map(|element| match element.offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        })
        .collect()
}

/// Waits until a group has committed this many records.
pub async fn wait_for_commit(group: &str, topic: &str, records: i64) {
    eventually(&format!("{group} commits {records}"), async || {
        let group = group.to_owned();
        match ask(topic, move |topic| committed(&group, topic)).await {
            found if found == records => Ok(()),
            found => Err(format!("{found}")),
        }
    })
    .await;
}
