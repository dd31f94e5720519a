//! The partitions of a reply topic that are not read: where the replies lie of a replier that ignores the one it was asked for.

use std::time::{SystemTime, UNIX_EPOCH};

use rdkafka::Offset;
use rdkafka::consumer::Consumer;

use super::assignment::list;
use super::{OpenTopic, ReplyStream, WATERMARK_TIMEOUT, unreachable};
use crate::kafka::admin::TopicError;

impl ReplyStream {
    /// Begins to read the partitions that the topic is not read on, from what was produced after `since` (by the clock that stamps
    /// replies); returns them, each with its position. Blocks.
    ///
    /// # Errors
    /// Kafka did not answer.
    pub fn read_others(&self, topic: &OpenTopic, since: SystemTime) -> Result<Vec<(i32, i64)>, TopicError> {
        let failed = |error| unreachable(&topic.name, error);
        let now = self.look([&*topic.name]).map_err(failed)?.remove(&*topic.name);
        let count = now
            .transpose()
            .map_err(failed)?
            .flatten()
            .map_or(0, |now| now.partitions);
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let times: Vec<(i32, i64)> = (0..count)
            .filter(|number| !topic.reads(*number))
            .map(|number| (number, since))
            .collect();
        let offsets = self
            .0
            .consumer
            .offsets_for_times(list(&topic.name, &times)?, WATERMARK_TIMEOUT)
            .map_err(failed)?;
        let mut others = Vec::with_capacity(times.len());
        for (number, _) in times {
            let found = offsets.find_partition(&topic.name, number);
            others.push(match found.map(|found| found.offset()) {
                Some(Offset::Offset(offset)) => (number, offset),
                _ => (number, self.watermarks(&topic.name, number)?.1),
            });
        }
        self.assign(&topic.name, &others)?;
        Ok(others)
    }

    /// Ends what `read_others` began. Blocks.
    pub fn leave_others(&self, name: &str, others: &[(i32, i64)]) {
        self.let_go(name, |partition| others.iter().any(|(number, _)| *number == partition));
    }
}
