//! The request that creates a topic.

use std::ffi::{CStr, c_char};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka_sys as rdsys;
use rdsys::rd_kafka_admin_op_t as Op;

use crate::kafka::cluster::admin_call::{Owned, ask_within, c_strings, items, text};
use crate::kafka::cluster::topic_config::{
    CLEANUP_POLICY, COMPACTED_AND_DELETED, COMPRESSION_TYPE, RETENTION, SEGMENT, UNCOMPRESSED,
};
use crate::kafka::config::{CreateTopics, Purpose};

/// How long the broker may take to create a topic before it answers that it is still at it.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the cluster may take to answer. It must be longer: an answer "still at it" is better than none.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// How long the memory of keys writes to one segment.
const SHORTEST_SEGMENT: Duration = Duration::from_secs(10 * 60);
const LONGEST_SEGMENT: Duration = Duration::from_secs(24 * 3600);

/// What became of a request to create a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Creation {
    /// It was created by this request.
    Created,
    /// It exists already.
    Exists,
    /// The cluster has not finished it within `OPERATION_TIMEOUT`, and goes on.
    UnderWay,
    /// The cluster refuses it, and says why.
    Refused { code: RDKafkaErrorCode, reason: String },
}

/// What a topic of ours is configured with besides.
fn config_of(settings: &CreateTopics, purpose: Purpose) -> Vec<(&'static CStr, String)> {
    // The broker measures what a record really takes, so no small batch unpacks to a large one.
    let uncompressed = (COMPRESSION_TYPE, UNCOMPRESSED.to_owned());
    let retention = settings.retention_of(purpose);
    let retention = retention.map(|kept| (RETENTION, kept.as_millis().to_string()));
    let mut config: Vec<_> = std::iter::once(uncompressed).chain(retention).collect();
    if let Purpose::Memory { kept } = purpose {
        // Old segments are removed as a whole, and the newest never: it must not grow old.
        let segment = kept.div_f64(4.0).clamp(SHORTEST_SEGMENT, LONGEST_SEGMENT);
        config.push((CLEANUP_POLICY, COMPACTED_AND_DELETED.to_owned()));
        config.push((SEGMENT, segment.as_millis().to_string()));
    }
    config
}

/// Has the cluster create a topic, with any client's connection. Blocks.
///
/// # Errors
/// The cluster did not answer.
pub(super) fn create<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    settings: &CreateTopics,
    purpose: Purpose,
) -> KafkaResult<Creation> {
    request(client, topic, settings, purpose, false)
}

/// Has the cluster say whether it would create a topic. Nothing is created. `Ok(Some)`: the cluster would refuse it, in its own words. Blocks.
///
/// # Errors
/// The cluster did not answer.
pub fn refusal<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    settings: &CreateTopics,
    purpose: Purpose,
) -> KafkaResult<Option<String>> {
    Ok(match request(client, topic, settings, purpose, true)? {
        Creation::Refused { code, reason } if reason.is_empty() => Some(code.to_string()),
        Creation::Refused { reason, .. } => Some(reason),
        Creation::Created | Creation::Exists | Creation::UnderWay => None,
    })
}

fn request<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    settings: &CreateTopics,
    purpose: Purpose,
    validate_only: bool,
) -> KafkaResult<Creation> {
    let names = c_strings(&[topic])?;
    let mut error: [c_char; 256] = [0; 256];
    // SAFETY: name and error text live through the call, which copies the name.
    let new = unsafe {
        rdsys::rd_kafka_NewTopic_new(
            names[0].as_ptr(),
            settings.partitions,
            settings.replication_factor,
            error.as_mut_ptr(),
            error.len(),
        )
    };
    if new.is_null() {
        // SAFETY: librdkafka wrote a text that ends with a NUL.
        let reason = unsafe { text(error.as_ptr()) };
        let code = RDKafkaErrorCode::InvalidArgument;
        return Ok(Creation::Refused { code, reason });
    }
    let mut new = Owned {
        pointer: new,
        destroy: rdsys::rd_kafka_NewTopic_destroy,
    };
    for (key, value) in config_of(settings, purpose) {
        let value = c_strings(&[&value])?;
        // SAFETY: the topic is alive, and librdkafka copies both texts. It fails only for a null key.
        unsafe { rdsys::rd_kafka_NewTopic_set_config(new.pointer, key.as_ptr(), value[0].as_ptr()) };
    }
    let event = ask_within(
        client,
        Op::RD_KAFKA_ADMIN_OP_CREATETOPICS,
        REQUEST_TIMEOUT,
        // SAFETY: all of them live through the calls, which copy what they need later.
        |options, queue| unsafe {
            let timeout = OPERATION_TIMEOUT.as_millis() as i32;
            rdsys::rd_kafka_AdminOptions_set_operation_timeout(options, timeout, std::ptr::null_mut(), 0);
            rdsys::rd_kafka_AdminOptions_set_validate_only(options, validate_only.into(), std::ptr::null_mut(), 0);
            rdsys::rd_kafka_CreateTopics(client.native_ptr(), &mut new.pointer, 1, options, queue);
        },
    )?;
    // SAFETY: the event answers CreateTopics, and what is read from it lives as long as it does.
    unsafe {
        let result = rdsys::rd_kafka_event_CreateTopics_result(event.pointer);
        let topics = items(|count| rdsys::rd_kafka_CreateTopics_result_topics(result, count));
        let Some(&topic) = topics.first() else {
            return Err(KafkaError::AdminOp(RDKafkaErrorCode::BadMessage));
        };
        let code = rdsys::rd_kafka_topic_result_error(topic).into();
        Ok(match code {
            RDKafkaErrorCode::NoError => Creation::Created,
            RDKafkaErrorCode::TopicAlreadyExists => Creation::Exists,
            RDKafkaErrorCode::RequestTimedOut => Creation::UnderWay,
            code => Creation::Refused {
                code,
                reason: text(rdsys::rd_kafka_topic_result_error_string(topic)),
            },
        })
    }
}
