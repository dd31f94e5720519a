//! When a partition was last seen empty up to its end: what comes within moments of that cannot have waited in a backlog.
//!
//! librdkafka tells a partition's end as the last fetch answer had it, and keeps that for the life of the client: through a revocation,
//! while the process or the intake stands still, and while its broker is gone. So an end that was known before the assignment proves
//! nothing, nor does a look right after a time without looks, or after trouble with a broker.

use std::time::{Duration, Instant};

/// Looks further apart than this are none: the process stood still, or the intake did.
const LOOKED_AWAY: Duration = Duration::from_millis(500);
/// What librdkafka had to read meanwhile is in the queue by then.
const SETTLES_IN: Duration = Duration::from_secs(3);
/// After trouble with a broker: by then its partitions have another leader, and what waited for that elsewhere is written and read.
const ELECTED_IN: Duration = Duration::from_secs(15);
/// The end is asked for no more often: each turn of the pump looks.
const EVERY: Duration = Duration::from_millis(50);

/// One assignment of one partition.
pub struct CaughtUp {
    /// The end as it was known at the assignment: that of an earlier one.
    end_before: Option<i64>,
    /// Before the first record: where the partition ended. Not a position: librdkafka knows the end of a partition a moment before it
    /// hands out the records up to there.
    first_end: Option<i64>,
    /// The last look into the queue.
    looked: Option<Instant>,
    /// From when on looks count again.
    settled: Option<Instant>,
    /// The last time that nothing was left to take in.
    at: Option<Instant>,
}

impl CaughtUp {
    pub fn new(end_before: Option<i64>) -> Self {
        CaughtUp {
            end_before,
            first_end: None,
            looked: None,
            settled: None,
            at: None,
        }
    }

    /// Somebody looks into the queue.
    pub fn look(&mut self, now: Instant) {
        let before = self.looked.replace(now);
        if before.is_some_and(|before| now.duration_since(before) > LOOKED_AWAY) {
            self.settled = self.settled.max(Some(now + SETTLES_IN));
        }
    }

    /// A broker is in trouble: while no fetch is answered the end stands still, and what comes after that may have waited to be written.
    pub fn doubt(&mut self, now: Instant) {
        self.at = None;
        self.settled = Some(now + ELECTED_IN);
    }

    /// The queue is empty, and `position` is the offset after the last record. `end`: asks for the partition's.
    pub fn empty(&mut self, now: Instant, position: Option<i64>, end: impl FnOnce() -> Option<i64>) {
        let still_true = self.at.is_some_and(|at| now.duration_since(at) < EVERY);
        if still_true || self.settled.is_some_and(|settled| now < settled) {
            return;
        }
        let end = end();
        if position.is_none() && self.first_end.is_none() && end != self.end_before {
            self.first_end = end;
        }
        if end.is_some() && end == position.or(self.first_end) {
            self.at = Some(now);
        }
    }

    /// A record is taken in. Returns when the partition was last seen empty before it.
    pub fn took(&mut self, position: Option<i64>, offset: i64) -> Option<Instant> {
        if position.or(self.first_end).is_none_or(|next| offset < next) {
            // It was there when the end was seen, and only had not been handed out.
            self.at = None;
        }
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_millis(50);

    /// A partition whose queue is looked into turn by turn.
    struct Looks {
        caught_up: CaughtUp,
        now: Instant,
    }

    impl Looks {
        fn new(end_before: Option<i64>) -> Self {
            Looks {
                caught_up: CaughtUp::new(end_before),
                now: Instant::now(),
            }
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
        }

        /// An empty look.
        fn empty(&mut self, position: Option<i64>, end: Option<i64>) {
            self.pass(TURN);
            self.caught_up.look(self.now);
            self.caught_up.empty(self.now, position, || end);
        }

        /// A look that finds a record; how long ago the partition was seen empty.
        fn took(&mut self, position: Option<i64>, offset: i64) -> Option<Duration> {
            self.caught_up.look(self.now);
            let at = self.caught_up.took(position, offset);
            at.map(|at| self.now.duration_since(at))
        }
    }

    #[test]
    fn what_follows_an_empty_look_has_not_waited_however_many_come_at_once() {
        let mut looks = Looks::new(None);
        looks.empty(None, None);
        assert_eq!(looks.took(None, 0), None, "the end was not known");
        looks.empty(Some(1), Some(1));
        for offset in 1..10 {
            assert_eq!(looks.took(Some(offset), offset), Some(Duration::ZERO), "{offset}");
        }
        looks.empty(Some(10), Some(20));
        assert_eq!(looks.took(Some(10), 10), Some(TURN), "more was there: no such look");
    }

    #[test]
    fn the_first_record_after_the_end_has_not_waited() {
        let mut looks = Looks::new(None);
        looks.empty(None, Some(7));
        looks.empty(None, Some(7));
        assert_eq!(looks.took(None, 7), Some(Duration::ZERO));
    }

    #[test]
    fn a_backlog_whose_end_is_known_before_its_records_come_has_waited() {
        let mut looks = Looks::new(None);
        looks.empty(None, Some(7));
        for offset in 3..7 {
            assert_eq!(looks.took((offset > 3).then_some(offset), offset), None, "{offset}");
        }
        looks.empty(Some(7), Some(7));
        assert_eq!(looks.took(Some(7), 7), Some(Duration::ZERO));
    }

    #[test]
    fn the_end_that_an_earlier_assignment_knew_proves_nothing() {
        let mut looks = Looks::new(Some(7));
        looks.empty(None, Some(7));
        assert_eq!(looks.took(None, 7), None, "written while another had the partition");
        let mut looks = Looks::new(Some(7));
        looks.empty(None, Some(7));
        looks.empty(None, Some(9));
        assert_eq!(looks.took(None, 7), None);
        let mut looks = Looks::new(Some(7));
        looks.empty(None, Some(9));
        assert_eq!(looks.took(None, 9), Some(Duration::ZERO), "a fetch of this one told it");
    }

    #[test]
    fn a_look_while_a_broker_is_in_trouble_proves_nothing() {
        let mut looks = Looks::new(None);
        looks.empty(Some(5), Some(5));
        looks.caught_up.doubt(looks.now);
        for _ in 1..ELECTED_IN.as_millis() / TURN.as_millis() {
            looks.empty(Some(5), Some(5));
            assert_eq!(looks.caught_up.at, None);
        }
        assert_eq!(looks.took(Some(5), 5), None);
        looks.empty(Some(6), Some(6));
        assert_eq!(looks.took(Some(6), 6), Some(Duration::ZERO));
    }

    #[test]
    fn a_look_after_a_standstill_proves_nothing_until_it_is_settled() {
        let mut looks = Looks::new(None);
        looks.empty(Some(5), Some(5));
        looks.pass(Duration::from_secs(10));
        looks.empty(Some(5), Some(5));
        let age = looks.took(Some(5), 5).unwrap();
        assert!(age > Duration::from_secs(10), "{age:?}");
        for _ in 0..SETTLES_IN.as_millis() / TURN.as_millis() {
            looks.empty(Some(6), Some(6));
        }
        assert_eq!(looks.took(Some(6), 6), Some(Duration::ZERO));
    }
}
