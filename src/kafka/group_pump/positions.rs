//! Where intake begins in a partition that is assigned, by the group's commits, the topic's identity and the partitions' ends.
//!
//! A commit of another topic of the same name says nothing of
//! this one, so that one is read from its beginning.

use std::collections::HashMap;

use super::commit_metadata::CommitMetadata;
use super::done_set::DoneSet;
use crate::kafka::cluster::describe::TopicId;
use crate::kafka::config::Start;

/// Where intake begins in one partition.
#[derive(Debug, PartialEq, Eq)]
pub struct Position {
    pub partition: i32,
    /// `None`: at its beginning.
    pub offset: Option<i64>,
    /// The partition's end at that time, where it could be had. What lies before it was written before the assignment.
    pub end: Option<i64>,
    /// Goes into each commit: see `CommitMetadata`.
    pub began_with: i32,
    /// Beyond `offset`: these were executed already.
    pub done: DoneSet,
    /// The group begins here: the offset is committed before anything is taken in, so that what comes while nobody runs is not passed over.
    pub commit: bool,
}

/// A group's commit of one partition.
#[derive(Debug, Clone)]
pub struct Commit {
    pub offset: i64,
    /// Where it is ours.
    pub metadata: Option<CommitMetadata>,
}

/// What decides where intake begins.
pub struct Known {
    pub start: Start,
    /// This process has consumed the topic before.
    pub has_begun: bool,
    pub topic: Option<TopicId>,
    /// The topic's partitions.
    pub partitions: i32,
    /// By partition: of those assigned, and with `Start::Latest` of all.
    pub commits: HashMap<i32, Commit>,
    /// By partition, where they could be had.
    pub ends: HashMap<i32, i64>,
}

impl Known {
    /// The commit is of another topic of this name.
    fn is_of_another_topic(&self, commit: &Commit) -> bool {
        let of = commit.metadata.as_ref().and_then(|metadata| metadata.topic);
        of.is_some() && self.topic.is_some() && of != self.topic
    }

    /// Where intake begins; `None`: it cannot be known yet.
    pub fn position(&self, partition: i32) -> Option<Position> {
        let end = self.ends.get(&partition).copied();
        let at = |offset, began_with, done| Position {
            partition,
            offset,
            end,
            began_with,
            done,
            commit: false,
        };
        let beginning = at(None, 0, DoneSet::default());
        Some(match self.commits.get(&partition) {
            Some(commit) if self.is_of_another_topic(commit) => beginning,
            Some(Commit {
                offset,
                metadata: Some(metadata),
            }) if metadata.topic.is_some() => {
                // A log that ends before what was done was cut by the election of a replica that lagged behind: other requests get those
                // offsets. Where the end that we were told is only old, what was done beyond it is done again.
                let mut done = metadata.done.clone();
                if let Some(end) = end {
                    done = done.before(end);
                }
                at(Some(*offset), metadata.began_with, done)
            }
            // Nothing says of which topic it is, but the topic shows that it is not of this one.
            Some(commit) if end.is_some_and(|end| commit.offset > end) => beginning,
            Some(Commit { offset, metadata }) => {
                let metadata = metadata.clone();
                let (began_with, done) = metadata.map_or_else(Default::default, |known| (known.began_with, known.done));
                at(Some(*offset), began_with, done)
            }
            None if self.start == Start::Earliest => beginning,
            None => match self.group_began_with() {
                // This partition came later than the group.
                Some(began_with) if partition >= began_with => beginning,
                began => Position {
                    offset: Some(end?),
                    began_with: began.unwrap_or(self.partitions),
                    commit: true,
                    ..beginning
                },
            },
        })
    }

    /// How many partitions the topic had when the group began at their ends. `None`: it begins now.
    fn group_began_with(&self) -> Option<i32> {
        let began_with = |commit: &Commit| match &commit.metadata {
            Some(metadata) if !self.is_of_another_topic(commit) => metadata.began_with,
            _ => 0,
        };
        let by_commits = self.commits.values().map(began_with).max();
        by_commits.or(self.has_begun.then_some(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(offset: i64, topic: i64, began_with: i32) -> Commit {
        let mut done = DoneSet::default();
        done.push(offset + 2..offset + 4);
        Commit {
            offset,
            metadata: Some(CommitMetadata {
                topic: Some(TopicId::of(topic)),
                began_with,
                done,
            }),
        }
    }

    fn foreign(offset: i64) -> Commit {
        Commit { offset, metadata: None }
    }

    fn known(start: Start, commits: &[(i32, Commit)]) -> Known {
        Known {
            start,
            has_begun: false,
            topic: Some(TopicId::of(1)),
            partitions: 4,
            commits: commits.iter().cloned().collect(),
            ends: (0..4).map(|partition| (partition, 100)).collect(),
        }
    }

    /// Where partition 0 begins, and whether that is committed.
    fn begins(known: &Known) -> (Option<i64>, bool) {
        let position = known.position(0).unwrap();
        (position.offset, position.commit)
    }

    #[test]
    fn it_goes_on_at_the_commit_without_what_is_done() {
        for start in [Start::Earliest, Start::Latest] {
            let position = known(start, &[(0, commit(50, 1, 4))]).position(0).unwrap();
            assert_eq!(
                (position.offset, position.began_with, position.commit),
                (Some(50), 4, false)
            );
            assert!(position.done.contains(52) && !position.done.contains(50));
            assert_eq!(begins(&known(start, &[(0, foreign(50))])), (Some(50), false));
        }
    }

    #[test]
    fn what_lies_beyond_the_end_of_a_log_that_was_cut_is_not_done() {
        let mut cut = known(Start::Earliest, &[(0, commit(50, 1, 4))]);
        // 52 and 53 were done.
        for (end, done) in [(54, true), (53, false), (51, false)] {
            cut.ends.insert(0, end);
            assert_eq!(cut.position(0).unwrap().done.contains(52), done, "{end}");
        }
        cut.ends.clear();
        assert!(cut.position(0).unwrap().done.contains(52), "nothing shows it");
    }

    #[test]
    fn a_commit_of_another_topic_says_nothing_of_this_one() {
        for start in [Start::Earliest, Start::Latest] {
            for offset in [5, 100, 500] {
                let known = known(start, &[(0, commit(offset, 2, 4)), (1, commit(offset, 2, 4))]);
                let position = known.position(0).unwrap();
                assert_eq!((position.offset, position.commit), (None, false));
                assert!(position.done.is_empty());
                assert_eq!(known.position(2).unwrap().offset, None, "it had no commit");
            }
        }
    }

    #[test]
    fn without_an_identity_a_commit_beyond_the_end_is_of_another_topic() {
        assert_eq!(begins(&known(Start::Earliest, &[(0, foreign(101))])), (None, false));
        let mut old_broker = known(Start::Earliest, &[(0, foreign(101))]);
        old_broker.topic = None;
        assert_eq!(begins(&old_broker), (None, false));
        old_broker.ends.clear();
        assert_eq!(begins(&old_broker), (Some(101), false), "nothing shows it");
        // A leader that has just been elected may tell an end below what was committed.
        assert_eq!(
            begins(&known(Start::Earliest, &[(0, commit(101, 1, 0))])),
            (Some(101), false)
        );
    }

    #[test]
    fn latest_is_where_a_new_group_begins() {
        assert_eq!(begins(&known(Start::Earliest, &[])), (None, false));
        assert_eq!(begins(&known(Start::Latest, &[])), (Some(100), true));
        assert_eq!(known(Start::Latest, &[]).position(0).unwrap().began_with, 4);
        // Another member was quicker with its own partitions.
        assert_eq!(
            begins(&known(Start::Latest, &[(1, commit(100, 1, 4))])),
            (Some(100), true)
        );
        // The group began before, and this partition came later.
        let mut more = known(Start::Latest, &[(0, commit(100, 1, 4))]);
        more.ends.insert(4, 3);
        more.partitions = 5;
        let position = more.position(4).unwrap();
        assert_eq!((position.offset, position.commit), (None, false));
        // A group of an earlier version, which kept no count.
        assert_eq!(begins(&known(Start::Latest, &[(1, foreign(9))])), (None, false));
        // Its topic was deleted under way, and with it its commits.
        let mut recreated = known(Start::Latest, &[]);
        recreated.has_begun = true;
        assert_eq!(begins(&recreated), (None, false));
        let mut leaderless = known(Start::Latest, &[]);
        leaderless.ends.clear();
        assert_eq!(leaderless.position(0), None);
    }
}
