//! The settings of topics that matter to whoever writes to them.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka_sys as rdsys;
use rdsys::rd_kafka_admin_op_t as Op;

use crate::kafka::cluster::admin_call::{Owned, ask, c_strings, items, text};

/// A topic's setting (<https://kafka.apache.org/documentation/#topicconfigs_max.message.bytes>): of a batch, thus of a record alone in it.
pub(super) const MAX_MESSAGE_BYTES: &std::ffi::CStr = c"max.message.bytes";
/// How the broker stores batches (<https://kafka.apache.org/documentation/#topicconfigs_compression.type>).
pub(super) const COMPRESSION_TYPE: &std::ffi::CStr = c"compression.type";
/// The broker unpacks each batch before it measures it.
pub(super) const UNCOMPRESSED: &str = "uncompressed";
/// What becomes of old records (<https://kafka.apache.org/documentation/#topicconfigs_cleanup.policy>).
pub(super) const CLEANUP_POLICY: &std::ffi::CStr = c"cleanup.policy";
/// The last record of each key, and none that is older than the retention.
pub(super) const COMPACTED_AND_DELETED: &str = "compact,delete";
/// How long one segment is written to, in ms (<https://kafka.apache.org/documentation/#topicconfigs_segment.ms>).
pub(super) const SEGMENT: &std::ffi::CStr = c"segment.ms";
/// How long records are kept, in ms; -1 is for ever (<https://kafka.apache.org/documentation/#topicconfigs_retention.ms>).
pub(super) const RETENTION: &std::ffi::CStr = c"retention.ms";
/// Without so many replicas in sync, no record is taken (<https://kafka.apache.org/documentation/#topicconfigs_min.insync.replicas>).
const MIN_IN_SYNC: &std::ffi::CStr = c"min.insync.replicas";
/// What is asked for.
const KEYS: [&std::ffi::CStr; 5] = [
    MAX_MESSAGE_BYTES,
    CLEANUP_POLICY,
    COMPRESSION_TYPE,
    RETENTION,
    MIN_IN_SYNC,
];
/// Topics asked about in one request: its answer stays below 100 kB.
const CHUNK: usize = 500;

/// What Kafka told of one topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopicConfig {
    /// The largest batch it takes, in bytes. `None`: not told.
    pub max_message_bytes: Option<usize>,
    /// A record is removed once a newer one has its key, read or not. Such a topic refuses records without a key.
    pub compacted: bool,
    /// Batches are measured as they were packed: a small one may unpack to any size.
    pub packed: bool,
    /// Records older than this may be removed. `None`: not told, or never.
    pub retention: Option<Duration>,
    /// So many replicas must be in sync before a record is taken. `None`: not told.
    pub min_in_sync: Option<i32>,
}

/// Asks for the settings of these topics. One without an answer (no right, no such topic) is left out. Blocks.
///
/// # Errors
/// The cluster did not answer.
pub fn topic_configs<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
) -> KafkaResult<HashMap<String, TopicConfig>> {
    // librdkafka refuses a request that names a topic twice.
    let names = Vec::from_iter(BTreeSet::from_iter(names.iter().copied()));
    let mut configs = HashMap::new();
    for chunk in names.chunks(CHUNK) {
        configs.extend(ask_about(client, chunk)?);
    }
    Ok(configs)
}

fn ask_about<C: ClientContext>(client: &Client<C>, names: &[&str]) -> KafkaResult<Vec<(String, TopicConfig)>> {
    let names = c_strings(names)?;
    let resource = |name: &std::ffi::CString| {
        // SAFETY: the strings live through the calls, which copy them. A configuration's value is not sent: this names what is asked for.
        unsafe {
            let topic = rdsys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
            let resource = Owned {
                pointer: rdsys::rd_kafka_ConfigResource_new(topic, name.as_ptr()),
                destroy: rdsys::rd_kafka_ConfigResource_destroy,
            };
            for key in KEYS {
                rdsys::rd_kafka_ConfigResource_set_config(resource.pointer, key.as_ptr(), c"".as_ptr());
            }
            resource
        }
    };
    let resources: Vec<Owned<rdsys::rd_kafka_ConfigResource_t>> = names.iter().map(resource).collect();
    let mut pointers: Vec<_> = resources.iter().map(|resource| resource.pointer).collect();
    let event = ask(
        client,
        Op::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
        // SAFETY: all of them live through the call, which copies what it needs later.
        |options, queue| unsafe {
            rdsys::rd_kafka_DescribeConfigs(
                client.native_ptr(),
                pointers.as_mut_ptr(),
                pointers.len(),
                options,
                queue,
            )
        },
    )?;
    // SAFETY: the event answers DescribeConfigs, and what is read from it lives as long as it does.
    unsafe {
        let result = rdsys::rd_kafka_event_DescribeConfigs_result(event.pointer);
        let resources = items(|count| rdsys::rd_kafka_DescribeConfigs_result_resources(result, count));
        Ok(resources.iter().filter_map(|resource| config_of(*resource)).collect())
    }
}

/// # Safety
/// `resource` points to an answer that is alive.
unsafe fn config_of(resource: *const rdsys::rd_kafka_ConfigResource_t) -> Option<(String, TopicConfig)> {
    // SAFETY: the caller's promise; each pointer belongs to the answer.
    unsafe {
        let code = RDKafkaErrorCode::from(rdsys::rd_kafka_ConfigResource_error(resource));
        let name = text(rdsys::rd_kafka_ConfigResource_name(resource));
        if code != RDKafkaErrorCode::NoError {
            tracing::debug!(topic = name, %code, "settings of a topic not known");
            return None;
        }
        let entries = items(|count| rdsys::rd_kafka_ConfigResource_configs(resource, count));
        let mut config = TopicConfig::default();
        for entry in entries {
            let key = text(rdsys::rd_kafka_ConfigEntry_name(*entry));
            let value = text(rdsys::rd_kafka_ConfigEntry_value(*entry));
            if key.as_bytes() == MAX_MESSAGE_BYTES.to_bytes() {
                config.max_message_bytes = value.parse().ok();
            } else if key.as_bytes() == CLEANUP_POLICY.to_bytes() {
                config.compacted = is_compacted(&value);
            } else if key.as_bytes() == COMPRESSION_TYPE.to_bytes() {
                config.packed = value != UNCOMPRESSED;
            } else if key.as_bytes() == RETENTION.to_bytes() {
                config.retention = value.parse().ok().map(Duration::from_millis);
            } else if key.as_bytes() == MIN_IN_SYNC.to_bytes() {
                config.min_in_sync = value.parse().ok();
            }
        }
        Some((name, config))
    }
}

/// "compact,delete" as well: there, too, a newer record of a key removes the older, and one without a key is refused.
fn is_compacted(policy: &str) -> bool {
    policy.split(',').any(|part| part.trim() == "compact")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_compacted_whatever_else_removes_its_records() {
        for policy in ["compact", "compact,delete", "delete, compact"] {
            assert!(is_compacted(policy), "{policy}");
        }
        assert!(!is_compacted("delete") && !is_compacted(""));
    }
}
