//! A consumer that reads ranges of one partition each, assigned by hand, one after the other: large bodies, remembered answers, results.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::kafka::client::context::LogOnly;
use crate::kafka::client::oauth;
use crate::kafka::codes::{CodeClass, is_of_group};
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

/// What ranges are read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Pieces of request bodies.
    Bodies,
    /// What was answered to requests with a key.
    Answers,
    /// Answers that are fetched later.
    Results,
}

impl Contents {
    /// Tells which right is missing.
    fn denied(self, topic: &str, error: &KafkaError) {
        match self {
            Contents::Bodies => {
                tracing::error!(topic, %error, "large bodies cannot be read: grant this processor READ on their topic");
            }
            Contents::Answers => {
                tracing::error!(topic, %error, "remembered answers cannot be read: grant this processor READ on their topic");
            }
            Contents::Results => {
                tracing::error!(topic, %error, "results cannot be read: grant this proxy READ on their topic");
            }
        }
    }
}

/// How far a range was read. What was fetched for the range before this one may come first, so offsets decide alone. Pure.
struct Way<'r> {
    range: &'r Range,
    /// The offset of its last record that came.
    at: Option<i64>,
    /// Since when records come that lie behind the first one, which has not come.
    passed_by: Option<Instant>,
}

/// What a record of the range's partition is.
#[derive(Debug, PartialEq, Eq)]
enum Met {
    /// The next one of the range.
    Next,
    /// Of another range, or a repeat.
    Other,
    /// The range lies before it.
    Behind,
}

impl<'r> Way<'r> {
    fn new(range: &'r Range) -> Self {
        Way {
            range,
            at: None,
            passed_by: None,
        }
    }

    fn meet(&mut self, offset: i64, now: Instant) -> Met {
        match self.at {
            None if offset == self.range.first => {}
            None => {
                if offset > self.range.first {
                    self.passed_by.get_or_insert(now);
                }
                return Met::Other;
            }
            Some(at) if offset <= at => return Met::Other,
            Some(_) if offset > self.range.last => return Met::Behind,
            Some(_) => {}
        }
        self.at = Some(offset);
        Met::Next
    }

    /// There is no record at its first offset: it would have come before those that came.
    fn has_no_first(&self, now: Instant) -> bool {
        let settled = |since: Instant| now.saturating_duration_since(since) >= SETTLES_WITHIN;
        self.at.is_none() && self.passed_by.is_some_and(settled)
    }
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
pub(super) struct RangeReader {
    consumer: BaseConsumer<LogOnly>,
    contents: Contents,
}

impl RangeReader {
    /// # Errors
    /// librdkafka refuses the configuration.
    pub(super) fn new(config: &ClientConfig, contents: Contents) -> KafkaResult<Self> {
        let consumer = BaseConsumer::from_config_and_context(config, LogOnly)?;
        Ok(RangeReader { consumer, contents })
    }

    /// It can read another range.
    pub(super) fn is_alive(&self) -> bool {
        self.consumer.client().fatal_error().is_none()
    }

    /// As `RangeReaders::read`.
    pub(super) fn read(
        &self,
        range: &Range,
        wanted: impl Fn() -> bool,
        take: impl FnMut(Fetched<'_>) -> ControlFlow<()>,
    ) -> Result<bool, RangeError> {
        // Nobody polled it while it rested, or ever. What it said is of the range before, and it has no token, or an old one.
        while self.consumer.poll(Duration::ZERO).is_some() {}
        oauth::sign_in(self.consumer.client());
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
                    CodeClass::Denied => return Err(self.denied(range, &error)),
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
        let mut way = Way::new(range);
        while wanted() {
            if way.has_no_first(Instant::now()) {
                return Err(RangeError::Gone(format!(
                    "there is no record at offset {}",
                    range.first
                )));
            }
            let message = match self.consumer.poll(POLL) {
                None => continue,
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    self.failed(range, &error)?;
                    continue;
                }
            };
            let fetched = Fetched::from(&message);
            if fetched.topic() != &*range.topic || fetched.partition() != range.partition {
                continue;
            }
            let offset = fetched.offset();
            match way.meet(offset, Instant::now()) {
                Met::Other => continue,
                Met::Behind => return Ok(true),
                Met::Next if take(fetched).is_break() => return Ok(false),
                Met::Next if offset == range.last => return Ok(true),
                Met::Next => {}
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
            _ if is_of_group(error) => Ok(()),
            (_, CodeClass::Denied) => Err(self.denied(range, error)),
            (_, CodeClass::ClientDead) => Err(RangeError::Unread(error.to_string())),
            _ if !self.is_alive() => Err(RangeError::Unread(error.to_string())),
            _ => {
                tracing::debug!(topic = %range.topic, %error, "range reader error");
                Ok(())
            }
        }
    }

    fn denied(&self, range: &Range, error: &KafkaError) -> RangeError {
        self.contents.denied(&range.topic, error);
        RangeError::Unread(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64) -> Range {
        Range {
            topic: Arc::from("orders-bodies"),
            partition: 0,
            first,
            last,
        }
    }

    #[test]
    fn offsets_tell_the_records_of_a_range_from_those_of_the_one_before() {
        let (range, now) = (range(10, 12), Instant::now());
        let mut way = Way::new(&range);
        // Both were fetched before: one lies behind this range's first, too.
        let met = [3, 11, 10, 10, 11, 12].map(|offset| way.meet(offset, now));
        assert_eq!(
            met,
            [Met::Other, Met::Other, Met::Next, Met::Other, Met::Next, Met::Next]
        );
        assert!(!way.has_no_first(now + SETTLES_WITHIN), "it has come");
        // The last is none: a mark of a transaction, say.
        let mut way = Way::new(&range);
        let met = [10, 11, 13].map(|offset| way.meet(offset, now));
        assert_eq!(met, [Met::Next, Met::Next, Met::Behind]);
    }

    #[test]
    fn a_first_record_that_is_not_there_is_not_waited_for() {
        let (range, now) = (range(10, 12), Instant::now());
        let mut way = Way::new(&range);
        way.meet(9, now);
        assert!(
            !way.has_no_first(now + 2 * SETTLES_WITHIN),
            "only those before it have come"
        );
        way.meet(11, now);
        way.meet(12, now + SETTLES_WITHIN / 2);
        assert!(!way.has_no_first(now + SETTLES_WITHIN / 2));
        assert!(way.has_no_first(now + SETTLES_WITHIN));
    }
}
