//! A consumer that reads a range of one partition, assigned by hand: once for each body of a request that lies in several records.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::kafka::client::context::LogOnly;
use crate::kafka::codes::CodeClass;
use crate::kafka::record::Fetched;

/// One question about a partition's first and last offset may take this long.
const QUESTION: Duration = Duration::from_secs(5);
/// A topic, or the end of a partition, that is not there may only not be known yet: after a change of leader, say.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long one poll waits. The end of the interest in the range is noticed that often.
const POLL: Duration = Duration::from_millis(50);

/// Records of one partition, both ends included.
#[derive(Debug, Clone)]
pub struct Range {
    pub topic: Arc<str>,
    pub partition: i32,
    pub first: i64,
    pub last: i64,
}

/// Why a range was not read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Some of it is not there, and will not come.
    #[error("{0}")]
    Gone(String),
    /// Kafka did not give it.
    #[error("{0}")]
    Unread(String),
}

/// The consumer. It reads one range at a time.
pub struct RangeReader {
    consumer: BaseConsumer<LogOnly>,
}

impl RangeReader {
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn new(config: &ClientConfig) -> KafkaResult<Self> {
        let consumer = BaseConsumer::from_config_and_context(config, LogOnly)?;
        Ok(RangeReader { consumer })
    }

    /// It can read another range.
    pub fn is_alive(&self) -> bool {
        self.consumer.client().fatal_error().is_none()
    }

    /// Hands the records of a range to `take`, first to last, until it breaks off. `wanted` is asked while nothing comes. True: all of
    /// them were handed over. Blocks.
    ///
    /// # Errors
    /// Records of the range are gone, or Kafka does not give them.
    pub fn read(
        &self,
        range: &Range,
        wanted: impl Fn() -> bool,
        take: impl FnMut(Fetched<'_>) -> ControlFlow<()>,
    ) -> Result<bool, RangeError> {
        self.is_there(range, &wanted)?;
        let mut list = TopicPartitionList::with_capacity(1);
        let from = Offset::Offset(range.first);
        list.add_partition_offset(&range.topic, range.partition, from)
            .and_then(|()| self.consumer.assign(&list))
            .map_err(|error| RangeError::Unread(error.to_string()))?;
        let read = self.poll(range, &wanted, take);
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!(%error, "range not unassigned");
        }
        read
    }

    /// Asked before anything is fetched: a consumer waits for what is not there yet.
    fn is_there(&self, range: &Range, wanted: &impl Fn() -> bool) -> Result<(), RangeError> {
        let until = Instant::now() + SETTLES_WITHIN;
        loop {
            let found = self.consumer.fetch_watermarks(&range.topic, range.partition, QUESTION);
            let missing = match found {
                Ok((low, _)) if low > range.first => {
                    return Err(RangeError::Gone(format!(
                        "offset {} is no longer there: the log begins at {low}",
                        range.first
                    )));
                }
                Ok((_, end)) if end > range.last => return Ok(()),
                Ok((_, end)) => RangeError::Gone(format!("offset {} is not there: the log ends at {end}", range.last)),
                Err(error) => match CodeClass::of(&error) {
                    class if class.is_not_found() => RangeError::Gone(error.to_string()),
                    CodeClass::Denied => return Err(denied(range, &error)),
                    _ => RangeError::Unread(error.to_string()),
                },
            };
            if Instant::now() >= until || !wanted() {
                return Err(missing);
            }
            std::thread::sleep(ASK_AGAIN);
        }
    }

    fn poll(
        &self,
        range: &Range,
        wanted: &impl Fn() -> bool,
        mut take: impl FnMut(Fetched<'_>) -> ControlFlow<()>,
    ) -> Result<bool, RangeError> {
        // The offset before what comes next. What was fetched for the range before this one may come first.
        let mut at = None;
        while wanted() {
            let message = match self.consumer.poll(POLL) {
                None => continue,
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    self.failed(range, &error)?;
                    continue;
                }
            };
            let fetched = Fetched::from(&message);
            let offset = fetched.offset();
            let is_ours = fetched.topic() == &*range.topic && fetched.partition() == range.partition;
            let is_next = at.map_or(offset == range.first, |at| offset > at && offset <= range.last);
            if !(is_ours && is_next) {
                if is_ours && at.is_some_and(|_| offset > range.last) {
                    return Ok(true);
                }
                continue;
            }
            at = Some(offset);
            if take(fetched).is_break() {
                return Ok(false);
            }
            if offset == range.last {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Most errors pass by themselves.
    fn failed(&self, range: &Range, error: &KafkaError) -> Result<(), RangeError> {
        use RDKafkaErrorCode as Code;
        match (error.rdkafka_error_code(), CodeClass::of(error)) {
            (Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation), _) => {
                Err(RangeError::Gone("records of it are no longer there".into()))
            }
            (Some(Code::BadCompression | Code::BadMessage), _) => {
                Err(RangeError::Gone("a batch of it cannot be unpacked".into()))
            }
            // Its coordinator is of no use to a reader that joins no group.
            (Some(Code::GroupAuthorizationFailed), _) => Ok(()),
            (_, CodeClass::Denied) => Err(denied(range, error)),
            (_, CodeClass::ClientDead) => Err(RangeError::Unread(error.to_string())),
            _ if !self.is_alive() => Err(RangeError::Unread(error.to_string())),
            _ => {
                tracing::debug!(topic = %range.topic, %error, "range reader error");
                Ok(())
            }
        }
    }
}

fn denied(range: &Range, error: &KafkaError) -> RangeError {
    tracing::error!(topic = %range.topic, %error, "large bodies cannot be read: grant this processor READ on their topic");
    RangeError::Unread(error.to_string())
}
