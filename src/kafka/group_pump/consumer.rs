//! The pump's consumer, and the calls of librdkafka that rdkafka does not wrap. None of them waits for the network.

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use rdkafka_sys as rdsys;
use rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR;

use super::context::PumpContext;
use crate::kafka::fetch_queue::FetchQueue;

/// The pump's consumer.
pub type GroupConsumer = BaseConsumer<PumpContext>;

/// A partition's queue.
pub struct PartitionQueues {
    /// Wakes the pump as long as it lives.
    pub _waker: PartitionQueue<PumpContext>,
    /// Is polled.
    pub records: FetchQueue<PumpContext>,
}

/// The offset behind the last record that was polled.
pub fn position(consumer: &GroupConsumer, topic: &str, partition: i32) -> Option<i64> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, partition);
    // SAFETY: client and list live through the call, which fills the list in place.
    let code = unsafe { rdsys::rd_kafka_position(consumer.client().native_ptr(), list.ptr()) };
    match list.elements().first().map(|element| element.offset()) {
        Some(Offset::Offset(position)) if code == NO_ERROR => Some(position),
        _ => None,
    }
}

/// The metadata of a list's elements, in order, as it is: rdkafka panics where it is no text.
pub fn raw_metadata(list: &TopicPartitionList) -> Vec<Vec<u8>> {
    // SAFETY: the list lives through the call, and librdkafka's counts and pointers in it belong together.
    unsafe {
        let native = &*list.ptr();
        if native.elems.is_null() {
            return Vec::new();
        }
        let elements = std::slice::from_raw_parts(native.elems, native.cnt as usize);
        let metadata = elements.iter().map(|element| match element.metadata.is_null() {
            true => Vec::new(),
            false => std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size).to_vec(),
        });
        metadata.collect()
    }
}

/// Adds a commit to a list of them: its offset and metadata.
pub fn add_commit(list: &mut TopicPartitionList, topic: &str, partition: i32, (offset, metadata): (i64, String)) {
    let mut element = list.add_partition(topic, partition);
    // Err: never, an offset of a record is not negative.
    let _ = element.set_offset(Offset::Offset(offset));
    if !metadata.is_empty() {
        element.set_metadata(metadata);
    }
}

/// Begins a commit whose answer comes through the consumer's own queue to `commit_callback`. rdkafka's asynchronous commit has no answer:
/// rdkafka reads events, and librdkafka gives the answer of such a commit only to a callback (`rdkafka_cgrp.c:3873`).
///
/// # Errors
/// librdkafka takes no commit now; nothing was sent.
pub fn begin_commit(consumer: &GroupConsumer, list: &TopicPartitionList) -> Result<(), RDKafkaErrorCode> {
    let client = consumer.client().native_ptr();
    // SAFETY: client and list live through the calls; librdkafka copies the list, and the queue is counted: it is the consumer's own.
    let code = unsafe {
        let queue = rdsys::rd_kafka_queue_get_consumer(client);
        let code = rdsys::rd_kafka_commit_queue(client, list.ptr(), queue, None, std::ptr::null_mut());
        rdsys::rd_kafka_queue_destroy(queue);
        code
    };
    match code {
        NO_ERROR => Ok(()),
        code => Err(code.into()),
    }
}
