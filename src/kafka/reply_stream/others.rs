//! The partitions of a reply topic that are not read. A replier that ignores the partition it was asked for puts its replies there; they
//! are read while such replies are searched for.

use std::time::SystemTime;

use rdkafka::Offset;
use rdkafka::consumer::Consumer;

use super::assignment::list;
use super::{OpenTopic, ReplyStream, WATERMARK_TIMEOUT, unreachable};
use crate::kafka::cluster::admin::TopicError;
use crate::wire::clock::unix_ms;

impl ReplyStream {
    /// Begins to read the partitions that the topic is not read on, from what was produced after `since` (by the clock that stamps
    /// replies); returns them, each with its position. Blocks.
    ///
    /// # Errors
    /// Kafka did not answer.
    pub fn read_others(&self, topic: &OpenTopic, since: SystemTime) -> Result<Vec<(i32, i64)>, TopicError> {
        let ends = self.ends_of_others(topic)?;
        let others = self.others_since(topic, since, ends)?;
        self.assign(&topic.name, &others)?;
        Ok(others)
    }

    /// The partitions that the topic is not read on, each with the end of its log.
    pub(super) fn ends_of_others(&self, topic: &OpenTopic) -> Result<Vec<(i32, i64)>, TopicError> {
        let failed = |error| unreachable(&topic.name, error);
        let now = self.describe([&*topic.name]).map_err(failed)?.remove(&*topic.name);
        let count = now
            .transpose()
            .map_err(failed)?
            .flatten()
            .map_or(0, |now| now.partitions);
        let others = (0..count).filter(|number| !topic.reads(*number));
        let end = |number| self.watermarks(&topic.name, number).map(|(_low, high)| (number, high));
        others.map(end).collect()
    }

    /// Where each begins that was produced after `since`; where there is nothing yet, that is its end. The ends are older than the
    /// answer: a record that comes in between has its place behind them.
    pub(super) fn others_since(
        &self,
        topic: &OpenTopic,
        since: SystemTime,
        ends: Vec<(i32, i64)>,
    ) -> Result<Vec<(i32, i64)>, TopicError> {
        let since = unix_ms(since);
        let times: Vec<(i32, i64)> = ends.iter().map(|(number, _)| (*number, since)).collect();
        let offsets = self
            .0
            .consumer
            .offsets_for_times(list(&topic.name, &times)?, WATERMARK_TIMEOUT)
            .map_err(|error| unreachable(&topic.name, error))?;
        let position = |(number, end)| {
            let found = offsets.find_partition(&topic.name, number);
            match found.map(|found| found.offset()) {
                Some(Offset::Offset(offset)) => (number, offset),
                _ => (number, end),
            }
        };
        Ok(ends.into_iter().map(position).collect())
    }

    /// Ends what `read_others` began. Blocks.
    pub fn leave_others(&self, name: &str, others: &[(i32, i64)]) {
        self.remove(name, |partition| others.iter().any(|(number, _)| *number == partition));
    }
}
