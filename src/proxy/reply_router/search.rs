//! When to search a reply topic's other partitions for replies, and for how long. Pure; time is given.

use std::time::{Duration, Instant};

/// Requests in a row that get no reply before a search begins, where replies came before. Where none ever came, one is enough.
const UNANSWERED_LIMIT: u32 = 3;
/// How long the other partitions are read, unless replies of ours are found there.
const DURATION: Duration = Duration::from_secs(10);
/// From the end of a search to the next, so that a topic without any replier costs little reading.
const PAUSE: Duration = Duration::from_secs(60);

/// Partitions, each with the offset it is read from.
pub(super) type Partitions = Vec<(i32, i64)>;

/// What is known about the replies of one reply topic.
#[derive(Default)]
pub(super) struct Search {
    stage: Stage,
    /// Requests since the last reply that got none.
    unanswered: u32,
    /// A reply of ours has come.
    answered: bool,
}

/// How far the latest search has got.
#[derive(Default)]
enum Stage {
    #[default]
    Never,
    /// Kafka is being asked where the other partitions begin and end.
    Beginning,
    UnderWay {
        others: Partitions,
        until: Instant,
    },
    Ended(Instant),
}

impl Search {
    /// A request got no reply. True: it is time to begin a search.
    pub(super) fn unanswered(&mut self, now: Instant) -> bool {
        self.unanswered += 1;
        let limit = if self.answered { UNANSWERED_LIMIT } else { 1 };
        let may_begin = match self.stage {
            Stage::Never => true,
            Stage::Ended(at) => now >= at + PAUSE,
            Stage::Beginning | Stage::UnderWay { .. } => false,
        };
        let begins = may_begin && self.unanswered >= limit;
        if begins {
            self.stage = Stage::Beginning;
        }
        begins
    }

    /// A reply of ours came on a partition that is read for good.
    pub(super) fn answered(&mut self) {
        self.answered = true;
        self.unanswered = 0;
    }

    /// It was time to begin, and the other partitions are not read yet.
    pub(super) fn is_beginning(&self) -> bool {
        matches!(self.stage, Stage::Beginning)
    }

    /// The other partitions are read from `now` on; `None`: they could not be.
    pub(super) fn began(&mut self, others: Option<Partitions>, now: Instant) {
        self.stage = match others {
            Some(others) => Stage::UnderWay {
                others,
                until: now + DURATION,
            },
            None => Stage::Ended(now),
        };
    }

    /// A reply of ours came on another partition. Returns the other partitions if a search reads them: the caller keeps reading them.
    pub(super) fn found(&mut self, now: Instant) -> Option<Partitions> {
        match std::mem::replace(&mut self.stage, Stage::Ended(now)) {
            Stage::UnderWay { others, .. } => Some(others),
            before => {
                self.stage = before;
                None
            }
        }
    }

    /// Returns the other partitions if a search has read them for long enough: the caller ends that.
    pub(super) fn over(&mut self, now: Instant) -> Option<Partitions> {
        match &self.stage {
            Stage::UnderWay { until, .. } if now >= *until => self.found(now),
            _ => None,
        }
    }
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
