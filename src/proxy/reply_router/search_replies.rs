//! Begins and ends the searches of reply topics, as [`Search`] decides.
//!
//! A replier that ignores `kafka_replyPartition` answers on partitions that are not read. A reply topic that brings no reply of ours
//! while its requests go unanswered is therefore read on its other partitions as well, for a while. Once a reply of ours is found there,
//! they are read for good.
//!
//! [`Search`]: super::search::Search

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::pending::Waiting;
use super::search::Partitions;
use super::topic_tasks::TopicTasks;
use super::topics::{TopicState, TopicStates};
use crate::kafka::cluster::admin::TopicError;

/// How far the clock that stamps replies may be behind ours.
const CLOCK_SLACK: Duration = Duration::from_secs(10);
/// A client that leaves sooner says nothing about its replier.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// Whether a request that got no reply waited long enough to count, where it had `timeout` at most. A quarter of it is enough: clients
/// that give up long before the deadline must not hide a replier whose replies are never found.
fn is_long(waited: Duration, timeout: Duration) -> bool {
    waited >= timeout.min(SHORTEST_WAIT.max(timeout / 4))
}

impl TopicStates {
    /// A request got no reply until `now`.
    pub(super) fn unanswered(&mut self, waiting: &Waiting, now: Instant, tasks: &TopicTasks) {
        let waited = now - waiting.sent;
        if !is_long(waited, waiting.deadline - waiting.sent) {
            return;
        }
        let Some(TopicState::Open(open)) = self.replies.get_mut(&waiting.reply_topic.name) else {
            return;
        };
        if open.topic.leaves_others_out() && open.search.unanswered(now) {
            tasks.begin_search(open.topic.clone(), SystemTime::now() - waited - CLOCK_SLACK);
        }
    }

    /// The other partitions of a topic are read from now on, or could not be.
    pub(super) fn search_began(&mut self, topic: Arc<str>, result: Result<Partitions, TopicError>, tasks: &TopicTasks) {
        let others = result.map_err(|error| tracing::debug!(%error, "reply topic not searched"));
        match self.replies.get_mut(&topic) {
            Some(TopicState::Open(open)) if open.search.is_beginning() => {
                open.search.began(others.ok(), Instant::now());
            }
            // The topic was recreated or deleted meanwhile.
            _ => tasks.end_search(topic, others.unwrap_or_default()),
        }
    }

    /// A reply to this instance came, whether or not somebody waits for it. True: a search found it, so requests no longer name the
    /// partition of their reply, and those that did are answered on any.
    pub(super) fn reply_came(&mut self, topic: &str, partition: i32) -> bool {
        let Some(TopicState::Open(open)) = self.replies.get_mut(topic) else {
            return false;
        };
        if open.topic.reads(partition) {
            open.search.answered();
            return false;
        }
        if let Some(others) = open.search.found(Instant::now()) {
            tracing::warn!(
                topic,
                partition,
                "replies come on other partitions than the one that requests name (kafka_replyPartition): their replier ignores it; \
                 all partitions of this topic are read from now on. Set reply_partition: all, or mend the replier, so that none is late"
            );
            open.topic = open.topic.clone().with(others);
            return true;
        }
        false
    }

    /// Ends the searches that found nothing.
    pub(super) fn end_searches(&mut self, tasks: &TopicTasks) {
        let now = Instant::now();
        for (name, state) in &mut self.replies {
            if let TopicState::Open(open) = state
                && let Some(others) = open.search.over(now)
            {
                tasks.end_search(name.clone(), others);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_leaves_counts_after_a_real_wait() {
        let seconds = Duration::from_secs;
        for (waited, timeout, counts) in [(7, 30, false), (8, 30, true), (0, 2, false), (1, 2, true)] {
            assert_eq!(
                is_long(seconds(waited), seconds(timeout)),
                counts,
                "{waited} of {timeout}"
            );
        }
        let short = Duration::from_millis(300);
        assert!(is_long(short, short), "its deadline");
    }
}
