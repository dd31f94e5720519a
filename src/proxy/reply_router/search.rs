//! Finds replies of ours on partitions that were not asked for, because a replier ignores `kafka_replyPartition`. Part of the router's
//! state.
//!
//! A reply topic that brings none of ours while its requests go unanswered is read on its other partitions as well, for a while. When
//! ours are there, that is how it stays.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix::{AsyncContext, Context, Message};

use super::topics::{State, TopicStates, blocking};
use super::{ReplyRouter, RouterParts, Waiting};
use crate::kafka::cluster::admin::TopicError;

/// Requests in a row that get no reply before a search, where replies came before. Where none ever did, one is enough.
const PATIENCE: u32 = 3;
/// How long the other partitions are read, unless ours are found there.
const DURATION: Duration = Duration::from_secs(10);
/// From the end of a search to the next: where nobody replies at all, little else should be read.
const PAUSE: Duration = Duration::from_secs(60);
/// How far the clock that stamps replies may be behind ours.
const CLOCK_SLACK: Duration = Duration::from_secs(10);

/// A client that leaves sooner says nothing of its replier.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// Whether a request that got no reply waited long enough to count, where it had `timeout` at most: clients that give up long before
/// us must not hide a replier that is never heard.
fn is_long(waited: Duration, timeout: Duration) -> bool {
    waited >= timeout.min(SHORTEST_WAIT.max(timeout / 4))
}

/// Partitions, each with the offset it is read from.
pub(super) type Others = Vec<(i32, i64)>;

/// A search of one topic began, or could not.
#[derive(Message)]
#[rtype(result = "()")]
pub struct OthersRead {
    topic: Arc<str>,
    result: Result<Others, TopicError>,
}

/// What is known of one topic's silence.
#[derive(Default)]
pub(super) struct Search {
    stage: Stage,
    /// In a row.
    unanswered: u32,
    /// A reply of ours came before.
    heard: bool,
}

#[derive(Default)]
enum Stage {
    #[default]
    Never,
    Beginning,
    UnderWay {
        others: Others,
        until: Instant,
    },
    Ended(Instant),
}

impl Search {
    /// A request got no reply. True: it is time to begin.
    fn unanswered(&mut self, now: Instant) -> bool {
        self.unanswered += 1;
        let patience = if self.heard { PATIENCE } else { 1 };
        let may_begin = match self.stage {
            Stage::Never => true,
            Stage::Ended(at) => now >= at + PAUSE,
            Stage::Beginning | Stage::UnderWay { .. } => false,
        };
        let begins = may_begin && self.unanswered >= patience;
        if begins {
            self.stage = Stage::Beginning;
        }
        begins
    }

    fn answered(&mut self) {
        self.heard = true;
        self.unanswered = 0;
    }

    fn began(&mut self, others: Option<Others>, now: Instant) {
        self.stage = match others {
            Some(others) => Stage::UnderWay {
                others,
                until: now + DURATION,
            },
            None => Stage::Ended(now),
        };
    }

    /// The other partitions, if they are being read: they are the caller's from now on.
    fn found(&mut self, now: Instant) -> Option<Others> {
        match std::mem::replace(&mut self.stage, Stage::Ended(now)) {
            Stage::UnderWay { others, .. } => Some(others),
            before => {
                self.stage = before;
                None
            }
        }
    }

    /// The other partitions, if they have been read for long enough.
    pub(super) fn over(&mut self, now: Instant) -> Option<Others> {
        match &self.stage {
            Stage::UnderWay { until, .. } if now >= *until => self.found(now),
            _ => None,
        }
    }
}

impl TopicStates {
    /// A request got no reply until now.
    pub(super) fn unanswered(
        &mut self,
        waiting: &Waiting,
        now: Instant,
        parts: &RouterParts,
        ctx: &mut Context<ReplyRouter>,
    ) {
        let waited = now - waiting.sent;
        if !is_long(waited, waiting.deadline - waiting.sent) {
            return;
        }
        let Some(State::Open(reading)) = self.replies.get_mut(&waiting.reply_topic.name) else {
            return;
        };
        if !reading.topic.leaves_others_out() || !reading.search.unanswered(now) {
            return;
        }
        let since = SystemTime::now() - waited - CLOCK_SLACK;
        let (stream, open, router) = (parts.stream.clone(), reading.topic.clone(), ctx.address());
        actix::spawn(async move {
            let topic = open.name.clone();
            let result = blocking(&topic, move || stream.read_others(&open, since)).await;
            router.do_send(OthersRead { topic, result });
        });
    }

    pub(super) fn others_read(&mut self, OthersRead { topic, result }: OthersRead, parts: &RouterParts) {
        let others = result.map_err(|error| tracing::debug!(%error, "reply topic not searched"));
        match self.replies.get_mut(&topic) {
            Some(State::Open(reading)) if matches!(reading.search.stage, Stage::Beginning) => {
                reading.search.began(others.ok(), Instant::now());
            }
            // Another topic of that name is read meanwhile, or none.
            _ => leave(topic, others.unwrap_or_default(), parts),
        }
    }

    /// A reply to this instance came, awaited or not.
    pub(super) fn heard(&mut self, topic: &str, partition: i32) {
        let Some(State::Open(reading)) = self.replies.get_mut(topic) else {
            return;
        };
        if reading.topic.reads(partition) {
            return reading.search.answered();
        }
        if let Some(others) = reading.search.found(Instant::now()) {
            tracing::warn!(
                topic,
                partition,
                "replies come on other partitions than the one that requests name (kafka_replyPartition): their replier ignores it; \
                 all partitions of this topic are read from now on. Set reply_partition: all, or mend the replier, so that none is late"
            );
            reading.topic = reading.topic.clone().with(others);
        }
    }

    /// Ends the searches that found nothing.
    pub(super) fn end_searches(&mut self, parts: &RouterParts) {
        let now = Instant::now();
        for (name, state) in &mut self.replies {
            if let State::Open(reading) = state
                && let Some(others) = reading.search.over(now)
            {
                leave(name.clone(), others, parts);
            }
        }
    }
}

fn leave(topic: Arc<str>, others: Others, parts: &RouterParts) {
    let stream = parts.stream.clone();
    // A panic in it is logged by the panic hook; the partitions are then read in vain.
    drop(tokio::task::spawn_blocking(move || {
        stream.leave_others(&topic, &others)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_begins_a_search_and_replies_do_not() {
        let now = Instant::now();
        let mut never_heard = Search::default();
        assert!(never_heard.unanswered(now), "none of ours ever came");
        assert!(!never_heard.unanswered(now), "one search at a time");
        let mut heard = Search::default();
        for _ in 0..10 {
            heard.answered();
            assert!(!heard.unanswered(now) && !heard.unanswered(now), "some of it is slow");
        }
        assert!(heard.unanswered(now));
    }

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

    #[test]
    fn a_search_that_finds_nothing_ends_and_the_next_one_waits() {
        let now = Instant::now();
        let mut search = Search::default();
        assert!(search.unanswered(now));
        search.began(Some(vec![(1, 7)]), now);
        assert_eq!(search.over(now + DURATION - Duration::from_millis(1)), None);
        assert_eq!(search.over(now + DURATION), Some(vec![(1, 7)]));
        assert_eq!(search.over(now + DURATION), None);
        assert!(!search.unanswered(now + DURATION + PAUSE - Duration::from_millis(1)));
        assert!(search.unanswered(now + DURATION + PAUSE));
        search.began(None, now + DURATION + PAUSE);
        assert_eq!(search.found(now), None);
    }

    #[test]
    fn what_was_found_is_no_longer_the_searchs_to_end() {
        let now = Instant::now();
        let mut search = Search::default();
        assert!(search.unanswered(now));
        search.began(Some(vec![(1, 7)]), now);
        assert_eq!(search.found(now), Some(vec![(1, 7)]));
        assert_eq!(search.over(now + DURATION), None);
    }
}
