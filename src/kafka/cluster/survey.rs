//! What an operator wants to know of topics and groups before there is traffic. Every call blocks: not for an Arbiter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka_sys as rdsys;
use rdsys::rd_kafka_admin_op_t as Op;

use crate::kafka::cluster::admin_call::{GRACE, TIMEOUT, ask, c_strings, items, next_event, queue};
use crate::kafka::cluster::describe::send_describe;
use crate::kafka::cluster::rights::Rights;
use crate::kafka::codes::CodeClass;

/// How long brokers may take to say who they are. The first connection is opened in this time, and a login made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a broker may take to load the groups that it coordinates. It cannot tell anything about them meanwhile.
const LOADING: Duration = Duration::from_secs(10);
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A topic that exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicState {
    pub partitions: i32,
    /// Partitions that have no leader.
    pub without_leader: i32,
    /// Replicas of the partition that has the fewest.
    pub replicas: i32,
    /// Replicas that are in sync, of the partition that has the fewest.
    pub in_sync: i32,
    pub rights: Rights,
}

/// A consumer group, whether or not it has members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupState {
    pub members: usize,
    pub rights: Rights,
}

/// What the cluster answers about a topic or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Surveyed<T> {
    Found(T),
    /// There is none of this name.
    Missing,
    /// The user may not even describe it.
    Denied,
    /// The cluster could not tell.
    Unknown(RDKafkaErrorCode),
}

/// How many brokers there are. The first question to a cluster: it waits for a connection, and for a login.
///
/// # Errors
/// No broker answered.
pub fn brokers<C: ClientContext>(client: &Client<C>, topic: &str) -> KafkaResult<usize> {
    let metadata = client.fetch_metadata(Some(topic), CONNECT_TIMEOUT)?;
    Ok(metadata.brokers().len())
}

/// Asks about all these topics. Never creates one.
///
/// # Errors
/// The cluster did not answer.
pub fn topics<'a, C: ClientContext>(
    client: &Client<C>,
    names: impl IntoIterator<Item = &'a str>,
) -> KafkaResult<BTreeMap<&'a str, Surveyed<TopicState>>> {
    // librdkafka refuses a request that names a topic twice.
    let names = Vec::from_iter(BTreeSet::from_iter(names));
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    // SAFETY: the client outlives the queue, which is not used beyond this call.
    let queue = unsafe { queue(client) };
    send_describe(client, &names, &queue)?;
    let event = next_event(&queue, TIMEOUT + GRACE)?;
    // SAFETY: the event answers DescribeTopics, in the order of the question, and what is read from it lives as long as it does.
    unsafe {
        let result = rdsys::rd_kafka_event_DescribeTopics_result(event.pointer);
        let described = items(|count| rdsys::rd_kafka_DescribeTopics_result_topics(result, count));
        let described = described.iter().map(|topic| topic_of(*topic));
        Ok(names.into_iter().zip(described).collect())
    }
}

/// Asks about all these groups, again while their coordinators are not ready.
///
/// # Errors
/// The cluster did not answer.
pub fn groups<'a, C: ClientContext>(
    client: &Client<C>,
    names: impl IntoIterator<Item = &'a str>,
) -> KafkaResult<BTreeMap<&'a str, Surveyed<GroupState>>> {
    let names = Vec::from_iter(BTreeSet::from_iter(names));
    let began = Instant::now();
    loop {
        let answers = describe_groups(client, &names)?;
        let all_told = !answers.iter().any(|answer| matches!(answer, Surveyed::Unknown(_)));
        if all_told || began.elapsed() >= LOADING {
            return Ok(names.into_iter().zip(answers).collect());
        }
        std::thread::sleep(AGAIN_AFTER);
    }
}

/// The answers, in the order of the names.
fn describe_groups<C: ClientContext>(client: &Client<C>, names: &[&str]) -> KafkaResult<Vec<Surveyed<GroupState>>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let c_names = c_strings(names)?;
    let mut pointers: Vec<_> = c_names.iter().map(|name| name.as_ptr()).collect();
    let event = ask(
        client,
        Op::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
        // SAFETY: all of them live through the calls, which copy what they need later.
        |options, queue| unsafe {
            let refused = rdsys::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
            rdsys::rd_kafka_error_destroy(refused);
            rdsys::rd_kafka_DescribeConsumerGroups(
                client.native_ptr(),
                pointers.as_mut_ptr(),
                pointers.len(),
                options,
                queue,
            )
        },
    )?;
    // SAFETY: the event answers DescribeConsumerGroups, in the order of the question, and what is read from it lives as long as it does.
    unsafe {
        let result = rdsys::rd_kafka_event_DescribeConsumerGroups_result(event.pointer);
        let described = items(|count| rdsys::rd_kafka_DescribeConsumerGroups_result_groups(result, count));
        Ok(described.iter().map(|group| group_of(*group)).collect())
    }
}

/// # Safety
/// `topic` points to a description that is alive.
unsafe fn topic_of(topic: *const rdsys::rd_kafka_TopicDescription_t) -> Surveyed<TopicState> {
    // SAFETY: the caller's promise; each pointer belongs to the description.
    unsafe {
        let code = rdsys::rd_kafka_error_code(rdsys::rd_kafka_TopicDescription_error(topic)).into();
        if code != RDKafkaErrorCode::NoError {
            return absent(code);
        }
        let partitions = items(|count| rdsys::rd_kafka_TopicDescription_partitions(topic, count));
        if partitions.is_empty() {
            return Surveyed::Missing;
        }
        let replicas = partitions
            .iter()
            .map(|partition| items(|count| rdsys::rd_kafka_TopicPartitionInfo_replicas(*partition, count)).len());
        let in_sync = partitions
            .iter()
            .map(|partition| items(|count| rdsys::rd_kafka_TopicPartitionInfo_isr(*partition, count)).len());
        let has_leader = |partition: &*const rdsys::rd_kafka_TopicPartitionInfo_t| {
            let leader = rdsys::rd_kafka_TopicPartitionInfo_leader(*partition);
            !leader.is_null() && rdsys::rd_kafka_Node_id(leader) >= 0
        };
        Surveyed::Found(TopicState {
            partitions: partitions.len() as i32,
            without_leader: partitions.iter().filter(|partition| !has_leader(partition)).count() as i32,
            replicas: replicas.min().unwrap_or_default() as i32,
            in_sync: in_sync.min().unwrap_or_default() as i32,
            rights: Rights::of(|count| rdsys::rd_kafka_TopicDescription_authorized_operations(topic, count)),
        })
    }
}

/// # Safety
/// `group` points to a description that is alive.
unsafe fn group_of(group: *const rdsys::rd_kafka_ConsumerGroupDescription_t) -> Surveyed<GroupState> {
    // SAFETY: the caller's promise; each pointer belongs to the description.
    unsafe {
        let code = rdsys::rd_kafka_error_code(rdsys::rd_kafka_ConsumerGroupDescription_error(group)).into();
        if code != RDKafkaErrorCode::NoError {
            return absent(code);
        }
        Surveyed::Found(GroupState {
            members: rdsys::rd_kafka_ConsumerGroupDescription_member_count(group),
            rights: Rights::of(|count| rdsys::rd_kafka_ConsumerGroupDescription_authorized_operations(group, count)),
        })
    }
}

fn absent<T>(code: RDKafkaErrorCode) -> Surveyed<T> {
    match CodeClass::from(code) {
        CodeClass::Denied => Surveyed::Denied,
        CodeClass::NoSuchTopic => Surveyed::Missing,
        _ if code == RDKafkaErrorCode::GroupIdNotFound => Surveyed::Missing,
        _ => Surveyed::Unknown(code),
    }
}
