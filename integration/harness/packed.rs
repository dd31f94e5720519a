//! Batches that are small on the wire and large in memory.

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::records::{Header, owned};
use super::topics::config;
use super::wait::{PATIENCE, off_thread};

/// More than librdkafka unpacks (`receive.message.max.bytes`, 100 MB).
pub const TOO_MUCH: usize = 150 << 20;

/// Writes records of these many zero bytes to a partition, all in one batch that is compressed with `codec`. The first has these headers.
pub async fn produce_packed(topic: &str, partition: i32, codec: &str, sizes: &[usize], headers: &[Header<'_>]) {
    let producer: BaseProducer = config()
        .set("compression.type", codec)
        .set("message.max.bytes", "1000000000")
        .set("batch.size", "1000000000")
        .set("linger.ms", "60000")
        .create()
        .expect("a producer");
    for (index, size) in sizes.iter().enumerate() {
        let value = vec![0; *size];
        let mut record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(&value);
        if index == 0 {
            record = record.headers(owned(headers.iter().copied()));
        }
        producer.send(record).map_err(|(error, _)| error).expect("it is queued");
    }
    let flushed = off_thread(move || producer.flush(PATIENCE)).await;
    flushed.expect("the batch is written");
}
