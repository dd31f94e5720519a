//! Reads partitions from their beginning to where they ended when that was asked. Blocks.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::kafka::client::context::LogOnly;
use crate::kafka::codes::{CodeClass, is_of_group};
use crate::kafka::record::Fetched;

/// How long one poll waits. That often it is asked whether anybody still wants to know.
const POLL: Duration = Duration::from_millis(50);
/// Kafka gives nothing for so long: whoever reads begins anew.
const STANDS_STILL: Duration = Duration::from_secs(20);

/// Why a partition was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("Kafka gives nothing of it")]
    Silent,
}

impl ReadError {
    /// It passes by itself: whoever needs the partition tries again.
    pub fn passes(&self) -> bool {
        match self {
            ReadError::Kafka(error) => !CodeClass::of(error).is_final(),
            ReadError::Silent => true,
        }
    }
}

/// The records of one partition that were there when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub partition: i32,
    pub first: i64,
    /// One past the last.
    pub end: i64,
}

/// Hands all records of the parts to `take`, those of one partition in their order. A part ends early where `take` breaks off. `Ok(false)`:
/// nobody wants them any more.
///
/// # Errors
/// Kafka does not give them.
pub fn read(
    config: &ClientConfig,
    topic: &str,
    parts: &[Part],
    is_wanted: impl Fn() -> bool,
    mut take: impl FnMut(Fetched<'_>) -> ControlFlow<()>,
) -> Result<bool, ReadError> {
    let mut left: HashMap<i32, i64> = parts
        .iter()
        .filter(|part| part.first < part.end)
        .map(|part| (part.partition, part.end))
        .collect();
    if left.is_empty() {
        return Ok(true);
    }
    let consumer = BaseConsumer::from_config_and_context(config, LogOnly)?;
    let mut list = TopicPartitionList::new();
    for part in parts.iter().filter(|part| left.contains_key(&part.partition)) {
        let from = Offset::Offset(part.first);
        list.add_partition_offset(topic, part.partition, from)?;
    }
    consumer.assign(&list)?;
    let mut moved = Instant::now();
    while is_wanted() {
        match consumer.poll(POLL) {
            None if moved.elapsed() > STANDS_STILL => return Err(ReadError::Silent),
            None => {}
            Some(Ok(message)) => {
                moved = Instant::now();
                let fetched = Fetched::from(&message);
                let (partition, offset) = (fetched.partition(), fetched.offset());
                // Records beyond the end came later. Those of a part that has ended were fetched ahead.
                let Some(&end) = left.get(&partition) else { continue };
                if (offset < end && take(fetched).is_break()) || offset + 1 >= end {
                    left.remove(&partition);
                }
            }
            // The last ones were compacted away.
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(left.remove(&partition)),
            Some(Err(error)) if is_of_group(&error) => {}
            Some(Err(error)) => match CodeClass::of(&error) {
                CodeClass::Denied | CodeClass::ClientDead => return Err(error.into()),
                _ if consumer.client().fatal_error().is_some() => return Err(error.into()),
                _ if moved.elapsed() > STANDS_STILL => return Err(error.into()),
                _ => tracing::debug!(topic, %error, "memory reader error"),
            },
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use crate::kafka::client::properties;
    use crate::kafka::config::Kafka;

    const RECORDS: usize = 5;

    #[test]
    fn no_right_on_a_group_is_needed() {
        let broker: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).unwrap();
        broker.create_topic("memory", 1, 1).unwrap();
        let kafka = Kafka {
            bootstrap_servers: broker.bootstrap_servers(),
            properties: Default::default(),
        };
        let mut config = ClientConfig::new();
        let producer: BaseProducer = config
            .set("bootstrap.servers", &kafka.bootstrap_servers)
            .create()
            .unwrap();
        for number in 0..RECORDS {
            let key = number.to_string();
            let record = BaseRecord::to("memory").partition(0).key(&key).payload("");
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Duration::from_secs(20)).unwrap();
        let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 100];
        broker.request_errors(RDKafkaApiKey::FindCoordinator, &refused);
        // The coordinator is looked for before anything is fetched.
        broker.broker_round_trip_time(1, Duration::from_millis(100)).unwrap();
        let part = Part {
            partition: 0,
            first: 0,
            end: RECORDS as i64,
        };
        let mut keys = Vec::new();
        let read = read(
            &properties::memory_reader(&kafka),
            "memory",
            &[part],
            || true,
            |fetched| {
                keys.extend(fetched.key().map(<[u8]>::to_vec));
                ControlFlow::Continue(())
            },
        );
        assert_eq!((read, keys.len()), (Ok(true), RECORDS));
    }
}
