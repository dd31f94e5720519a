//! Fetched records as they come, and what could not be read of a partition, with its place. rdkafka's own poll drops which partition an
//! error is of, and where in it.

use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use rdkafka_sys as rdsys;

use crate::kafka::record::Fetched;

/// A queue that librdkafka fills with the records of one or more partitions.
pub struct FetchQueue<C: ConsumerContext + 'static> {
    native: *mut rdsys::rd_kafka_queue_t,
    /// Whose queue it is; dropped after it.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka locks its queues, and ties them to no thread.
unsafe impl<C: ConsumerContext + 'static> Send for FetchQueue<C> {}
// SAFETY: as above.
unsafe impl<C: ConsumerContext + 'static> Sync for FetchQueue<C> {}

/// Why nothing was read.
#[derive(Debug)]
pub struct FetchError {
    pub error: KafkaError,
    /// Where, if it is of one partition.
    pub place: Option<Place>,
}

/// Where a batch of records begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

impl FetchError {
    /// The place of a batch that cannot be unpacked, however often it is read.
    pub fn unreadable(&self) -> Option<&Place> {
        use RDKafkaErrorCode as Code;
        let code = self.error.rdkafka_error_code()?;
        let is = matches!(code, Code::BadCompression | Code::BadMessage | Code::NotImplemented);
        self.place.as_ref().filter(|place| is && place.offset >= 0)
    }
}

impl<C: ConsumerContext + 'static> FetchQueue<C> {
    /// A queue of its own, for the partitions that are led into it.
    pub fn new(consumer: Arc<BaseConsumer<C>>) -> Self {
        // SAFETY: the client is alive; librdkafka allocates, and aborts where it cannot.
        let native = unsafe { rdsys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        FetchQueue { native, consumer }
    }

    /// The queue of one partition, which must have been split off from the consumer's. `None`: that is no topic's name.
    pub fn of_partition(consumer: Arc<BaseConsumer<C>>, topic: &str, partition: i32) -> Option<Self> {
        let native = partition_queue(&consumer, topic, partition)?;
        Some(FetchQueue { native, consumer })
    }

    /// From now on the partition's records come here. Called before the partition is assigned.
    pub fn lead_in(&self, topic: &str, partition: i32) {
        if let Some(source) = partition_queue(&self.consumer, topic, partition) {
            // SAFETY: both queues are alive, and counted: this one stays while the partition's leads into it.
            unsafe {
                rdsys::rd_kafka_queue_forward(source, self.native);
                rdsys::rd_kafka_queue_destroy(source);
            }
        }
    }

    /// The next record, as `read` makes it; waits for one no longer than `timeout`.
    pub fn poll<R>(&self, timeout: Duration, read: impl FnOnce(Fetched<'_>) -> R) -> Option<Result<R, FetchError>> {
        // SAFETY: the queue is alive; an event is ours until it is destroyed below.
        let event = unsafe { rdsys::rd_kafka_queue_poll(self.native, timeout.as_millis() as i32) };
        if event.is_null() {
            return None;
        }
        // SAFETY: the event is alive, and its message with it until both are destroyed, which is after `read`.
        let found = unsafe {
            match rdsys::rd_kafka_event_type(event) {
                rdsys::RD_KAFKA_EVENT_FETCH => rdsys::rd_kafka_event_message_next(event)
                    .as_ref()
                    .map(|message| Ok(read(Fetched::new(message)))),
                rdsys::RD_KAFKA_EVENT_ERROR => Some(Err(error_of(event))),
                _ => None,
            }
        };
        // SAFETY: ours, and nothing points into it any more.
        unsafe { rdsys::rd_kafka_event_destroy(event) };
        found
    }
}

impl<C: ConsumerContext + 'static> Drop for FetchQueue<C> {
    fn drop(&mut self) {
        // SAFETY: ours; the client is alive, since `consumer` is dropped after this.
        unsafe { rdsys::rd_kafka_queue_destroy(self.native) }
    }
}

fn partition_queue<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Option<*mut rdsys::rd_kafka_queue_t> {
    let topic = CString::new(topic).ok()?;
    // SAFETY: client and name live through the call; the queue that it returns is counted, and ours to destroy.
    let native =
        unsafe { rdsys::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), partition) };
    (!native.is_null()).then_some(native)
}

/// # Safety
/// The event is alive, and an error.
unsafe fn error_of(event: *mut rdsys::rd_kafka_event_t) -> FetchError {
    // SAFETY: the caller's promise; the place is a copy, ours to destroy, and its name ends with a NUL.
    unsafe {
        let code: RDKafkaErrorCode = rdsys::rd_kafka_event_error(event).into();
        let error = match rdsys::rd_kafka_event_error_is_fatal(event) {
            0 => KafkaError::MessageConsumption(code),
            _ => KafkaError::MessageConsumptionFatal(code),
        };
        let native = rdsys::rd_kafka_event_topic_partition(event);
        let place = native.as_ref().map(|native| Place {
            topic: CStr::from_ptr(native.topic).to_string_lossy().into_owned(),
            partition: native.partition,
            offset: native.offset,
        });
        if !native.is_null() {
            rdsys::rd_kafka_topic_partition_destroy(native);
        }
        FetchError { error, place }
    }
}

/// The partition's end, as the last fetch answer had it.
pub fn high_watermark<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client lives as long as `consumer`, and the out pointers as long as the call.
    let code = unsafe {
        rdsys::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition,
            &mut low,
            &mut high,
        )
    };
    (code == rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

/// Reads the partition from this offset on. Never waits: what was fetched before is dropped at once.
pub fn seek<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::with_capacity(1);
    if let Err(error) = list.add_partition_offset(topic, partition, Offset::Offset(offset)) {
        return tracing::debug!(topic, partition, offset, %error, "not read from there");
    }
    // SAFETY: client and list live through the call. Without a timeout there is no answer, and no error.
    let error = unsafe { rdsys::rd_kafka_seek_partitions(consumer.client().native_ptr(), list.ptr(), 0) };
    if !error.is_null() {
        // SAFETY: ours to destroy.
        unsafe { rdsys::rd_kafka_error_destroy(error) };
    }
}
