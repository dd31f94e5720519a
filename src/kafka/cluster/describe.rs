//! Descriptions of topics, consumer groups and brokers: the admin calls of librdkafka that rdkafka does not wrap.
//!
//! Every call blocks, for `admin_call::TIMEOUT` or a little more where none is given: not for an Arbiter.

use std::collections::{BTreeSet, HashMap};
use std::ffi::c_char;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka_sys as rdsys;
use rdsys::rd_kafka_admin_op_t as Op;

use crate::kafka::cluster::admin_call::{
    GRACE, Owned, TIMEOUT, ask, c_strings, items, next_event, options, poll, queue,
};
use crate::kafka::cluster::rights::{Right, Rights};
use crate::kafka::codes::CodeClass;

/// A topic's identity. A topic that is deleted and created again has a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicId(i64, i64);

impl TopicId {
    /// Most significant byte first.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.1.to_be_bytes());
        bytes
    }

    /// The id that `to_bytes` wrote.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(bytes);
        TopicId((number >> 64) as i64, number as i64)
    }
}

#[cfg(test)]
impl TopicId {
    pub fn of(number: i64) -> Self {
        TopicId(0, number)
    }
}

/// A topic that exists.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// `None`: brokers before 2.8 have none.
    pub id: Option<TopicId>,
    pub partitions: i32,
    /// This client's user may read it, as far as the brokers tell.
    pub readable: bool,
    /// It may write to it, as far as the brokers tell.
    pub writable: bool,
}

/// The cluster's answer about one topic. `Ok(None)`: it does not exist. `Err`: nothing is known of it.
pub type Answer = KafkaResult<Option<Found>>;

/// Asks about all these topics in one request. Never creates one.
///
/// # Errors
/// The cluster did not answer: nothing is known of any.
pub fn topics<'a, C: ClientContext>(
    client: &Client<C>,
    names: impl IntoIterator<Item = &'a str>,
) -> KafkaResult<HashMap<&'a str, Answer>> {
    // librdkafka refuses a request that names a topic twice.
    let names = Vec::from_iter(BTreeSet::from_iter(names));
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    // SAFETY: the client outlives the queue, which is not used beyond this call.
    let queue = unsafe { queue(client) };
    send_describe(client, &names, &queue)?;
    let event = next_event(&queue, TIMEOUT + GRACE)?;
    Ok(names.into_iter().zip(described(&event)).collect())
}

/// A question about one topic. Its answer is polled for, so nothing waits.
pub struct TopicQuestion<C: ConsumerContext + 'static> {
    // Dropped first: the queue is the client's.
    queue: Owned<rdsys::rd_kafka_queue_t>,
    _consumer: Arc<BaseConsumer<C>>,
}

impl<C: ConsumerContext + 'static> TopicQuestion<C> {
    /// Sends the question. Never creates the topic.
    ///
    /// # Errors
    /// The name is none.
    pub fn ask(consumer: &Arc<BaseConsumer<C>>, name: &str) -> KafkaResult<Self> {
        // SAFETY: the consumer outlives the queue.
        let queue = unsafe { queue(consumer.client()) };
        send_describe(consumer.client(), &[name], &queue)?;
        Ok(TopicQuestion {
            queue,
            _consumer: consumer.clone(),
        })
    }

    /// The answer, once; `None`: it has not come yet. An error comes when the time for an answer is over, at the latest.
    pub fn answer(&self) -> Option<Answer> {
        let event = poll(&self.queue, Duration::ZERO)?;
        Some(event.and_then(|event| described(&event).pop().unwrap_or(Ok(None))))
    }
}

/// Asks about these topics; the answer comes to `queue`.
pub(super) fn send_describe<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
    queue: &Owned<rdsys::rd_kafka_queue_t>,
) -> KafkaResult<()> {
    let c_names = c_strings(names)?;
    let mut pointers: Vec<*const c_char> = c_names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: all of it lives through the calls; librdkafka copies the names, and what it needs later.
    unsafe {
        let collection = Owned {
            pointer: rdsys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            destroy: rdsys::rd_kafka_TopicCollection_destroy,
        };
        let options = options(client, Op::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, TIMEOUT);
        let refused = rdsys::rd_kafka_AdminOptions_set_include_authorized_operations(options.pointer, 1);
        rdsys::rd_kafka_error_destroy(refused);
        rdsys::rd_kafka_DescribeTopics(client.native_ptr(), collection.pointer, options.pointer, queue.pointer);
    }
    Ok(())
}

/// The topics in an answer, in the order of the question.
fn described(event: &Owned<rdsys::rd_kafka_event_t>) -> Vec<Answer> {
    // SAFETY: the event answers DescribeTopics, and what is read from it lives as long as it does.
    unsafe {
        let result = rdsys::rd_kafka_event_DescribeTopics_result(event.pointer);
        let described = items(|count| rdsys::rd_kafka_DescribeTopics_result_topics(result, count));
        described.iter().map(|topic| topic_of(*topic)).collect()
    }
}

/// Describes one topic; `None` also where the cluster does not tell.
pub fn topic<C: ClientContext>(client: &Client<C>, name: &str) -> Option<Found> {
    topics(client, [name]).ok()?.remove(name)?.ok()?
}

/// Which of these groups have no member (state empty, or dead: no such group). A group in any other state counts as having members, and so
/// does one that is not described.
///
/// # Errors
/// The cluster did not answer: nothing is known of any.
pub fn groups_without_members<'a, C: ClientContext>(
    client: &Client<C>,
    names: impl IntoIterator<Item = &'a str>,
) -> KafkaResult<HashMap<String, bool>> {
    let names = Vec::from_iter(BTreeSet::from_iter(names));
    let c_names = c_strings(&names)?;
    let mut pointers: Vec<*const c_char> = c_names.iter().map(|name| name.as_ptr()).collect();
    let event = ask(
        client,
        Op::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
        // SAFETY: all of them live through the call, which copies what it needs later.
        |options, queue| unsafe {
            rdsys::rd_kafka_DescribeConsumerGroups(
                client.native_ptr(),
                pointers.as_mut_ptr(),
                pointers.len(),
                options,
                queue,
            )
        },
    )?;
    // SAFETY: the event answers DescribeConsumerGroups, in the order of the request, and what is read from it lives as long as it does.
    unsafe {
        let result = rdsys::rd_kafka_event_DescribeConsumerGroups_result(event.pointer);
        let described = items(|count| rdsys::rd_kafka_DescribeConsumerGroups_result_groups(result, count));
        let described = described.iter().map(|group| has_no_member(*group));
        Ok(names.into_iter().map(str::to_owned).zip(described).collect())
    }
}

/// Whether any of these brokers answers; all are asked at once, each on its own connection.
///
/// # Errors
/// None did within `timeout`.
pub fn any_broker_answers<C: ClientContext>(client: &Client<C>, brokers: &[i32], timeout: Duration) -> KafkaResult<()> {
    let until = Instant::now() + timeout;
    // SAFETY: the client outlives the queue, which is not used beyond this call.
    let queue = unsafe { queue(client) };
    for broker in brokers {
        // SAFETY: client and queue live through the calls, which copy the options, and the error text has no room on purpose.
        unsafe {
            let options = options(client, Op::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER, timeout);
            rdsys::rd_kafka_AdminOptions_set_broker(options.pointer, *broker, std::ptr::null_mut(), 0);
            rdsys::rd_kafka_DescribeCluster(client.native_ptr(), options.pointer, queue.pointer);
        }
    }
    let mut answer = Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut));
    for _ in brokers {
        match next_event(&queue, until.saturating_duration_since(Instant::now())) {
            Ok(_) => return Ok(()),
            Err(error) => answer = Err(error),
        }
    }
    answer
}

/// # Safety
/// `topic` points to a description that is alive.
unsafe fn topic_of(topic: *const rdsys::rd_kafka_TopicDescription_t) -> Answer {
    // SAFETY: the caller's promise; each pointer belongs to the description.
    let (code, id, partitions, readable, writable) = unsafe {
        let code = rdsys::rd_kafka_error_code(rdsys::rd_kafka_TopicDescription_error(topic));
        let id = rdsys::rd_kafka_TopicDescription_topic_id(topic);
        let id = TopicId(
            rdsys::rd_kafka_Uuid_most_significant_bits(id),
            rdsys::rd_kafka_Uuid_least_significant_bits(id),
        );
        let partitions = items(|count| rdsys::rd_kafka_TopicDescription_partitions(topic, count)).len();
        let rights = Rights::of(|count| rdsys::rd_kafka_TopicDescription_authorized_operations(topic, count));
        (
            RDKafkaErrorCode::from(code),
            id,
            partitions,
            rights.allow(Right::Read),
            rights.allow(Right::Write),
        )
    };
    match code {
        RDKafkaErrorCode::NoError if partitions > 0 => Ok(Some(Found {
            id: (id != TopicId(0, 0)).then_some(id),
            partitions: partitions as i32,
            readable,
            writable,
        })),
        RDKafkaErrorCode::NoError => Ok(None),
        code if CodeClass::from(code) == CodeClass::NoSuchTopic => Ok(None),
        code => Err(KafkaError::AdminOp(code)),
    }
}

/// # Safety
/// `group` points to a description that is alive.
unsafe fn has_no_member(group: *const rdsys::rd_kafka_ConsumerGroupDescription_t) -> bool {
    use rdsys::rd_kafka_consumer_group_state_t as State;
    // SAFETY: the caller's promise.
    let (code, state) = unsafe {
        (
            rdsys::rd_kafka_error_code(rdsys::rd_kafka_ConsumerGroupDescription_error(group)),
            rdsys::rd_kafka_ConsumerGroupDescription_state(group),
        )
    };
    let absent = matches!(
        state,
        State::RD_KAFKA_CONSUMER_GROUP_STATE_EMPTY | State::RD_KAFKA_CONSUMER_GROUP_STATE_DEAD
    );
    absent && RDKafkaErrorCode::from(code) == RDKafkaErrorCode::NoError
}
