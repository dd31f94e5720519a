//! The records that lie before a consumer in one partition, as its pump last saw them.

use std::time::Instant;

/// One assigned partition. At most a second old.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    pub partition: i32,
    /// The first offset that is not finished. `None` until the first record came, or the partition was seen to be empty.
    pub next: Option<i64>,
    /// One past the partition's last offset, as the last fetch answer had it. Nothing is fetched while `stands_still`.
    pub end: Option<i64>,
    /// Records handed to the worker and not finished.
    pub in_flight: usize,
    /// Since when the same record is the oldest in flight.
    pub oldest_since: Option<Instant>,
    /// Nothing is taken in: intake is paused, or the window is full.
    pub stands_still: bool,
}

impl Backlog {
    /// Records that are not finished; `None`: not known yet. `asked` is the end that the broker named, where it was asked.
    pub fn lag(&self, asked: Option<i64>) -> Option<i64> {
        let end = self.end.max(asked)?;
        Some(end.saturating_sub(self.next?).max(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_what_is_not_finished() {
        let backlog = Backlog {
            partition: 0,
            next: Some(10),
            end: Some(15),
            in_flight: 0,
            oldest_since: None,
            stands_still: false,
        };
        assert_eq!(backlog.lag(None), Some(5));
        assert_eq!(backlog.lag(Some(20)), Some(10));
        assert_eq!(backlog.lag(Some(12)), Some(5), "an older answer");
        assert_eq!(
            Backlog {
                next: Some(16),
                ..backlog
            }
            .lag(None),
            Some(0)
        );
        assert_eq!(Backlog { next: None, ..backlog }.lag(None), None);
        assert_eq!(Backlog { end: None, ..backlog }.lag(Some(11)), Some(1));
    }
}
