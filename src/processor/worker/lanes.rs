//! Lanes: records that must be worked on one after the other, in the order in which they came.
//!
//! All lanes are those of one worker, on its Arbiter. A record joins its lane when it comes in, and leaves it when its outcome stands,
//! retries included. Waiting for a turn takes no permit. The partition windows bound how many wait.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::settings::Ordering;
use crate::wire::RawRecord;

/// All lanes of a worker. Clones share them.
#[derive(Clone)]
pub struct Lanes {
    ordering: Ordering,
    lanes: Rc<RefCell<HashMap<Lane, Tail>>>,
}

/// Records of the same lane wait for each other: those of a partition, or those of a partition that have the same key.
type Lane = (i32, Option<Bytes>);

/// The end of a lane.
struct Tail {
    /// Resolves when the record that joined last leaves.
    last: oneshot::Receiver<Left>,
    /// Records that joined and have not left.
    length: usize,
}

/// A record left its lane. Where it left before its turn came, this is what it waited for: the next record waits for that now.
struct Left(Option<oneshot::Receiver<Left>>);

/// A record's membership in its lane; the record leaves on drop. `None`: the record is in no lane, and waits for no other.
pub struct Turn(Option<Member>);

struct Member {
    lanes: Lanes,
    lane: Lane,
    /// Resolves when the record before it leaves. `None`: there is none, or it has left.
    before: Option<oneshot::Receiver<Left>>,
    /// Taken on drop, to tell the record behind it.
    leave: Option<oneshot::Sender<Left>>,
}

impl Drop for Left {
    /// Drops a chain one after the other: dropped recursively, a chain of many would overflow the stack.
    fn drop(&mut self) {
        let mut further = self.0.take();
        while let Some(mut before) = further {
            further = before.try_recv().ok().and_then(|mut left| left.0.take());
        }
    }
}

impl Lanes {
    pub fn new(ordering: Ordering) -> Self {
        Lanes {
            ordering,
            lanes: Rc::default(),
        }
    }

    /// Puts a record at the end of its lane. Must be called in the order of the records.
    pub fn join(&self, record: &RawRecord) -> Turn {
        let lane = match (self.ordering, &record.key) {
            (Ordering::Unordered, _) | (Ordering::Key, None) => return Turn(None),
            (Ordering::Key, Some(key)) => (record.partition, Some(key.clone())),
            (Ordering::Partition, _) => (record.partition, None),
        };
        let (leave, last) = oneshot::channel();
        let mut lanes = self.lanes.borrow_mut();
        let length = lanes.get(&lane).map_or(0, |tail| tail.length) + 1;
        let before = lanes.insert(lane.clone(), Tail { last, length });
        Turn(Some(Member {
            lanes: self.clone(),
            lane,
            before: before.map(|tail| tail.last),
            leave: Some(leave),
        }))
    }
}

impl Turn {
    /// Waits until all records that joined the lane before have left it. Cancel safe.
    pub async fn come(&mut self) {
        let Some(member) = &mut self.0 else { return };
        while let Some(before) = &mut member.before {
            // Err: never, a member sends as it is dropped.
            member.before = before.await.ok().and_then(|mut left| left.0.take());
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            // The next record inherits what this one still waited for. Err: there is no next.
            let _ = leave.send(Left(self.before.take()));
        }
        let mut lanes = self.lanes.lanes.borrow_mut();
        if let Some(tail) = lanes.get_mut(&self.lane) {
            tail.length -= 1;
            if tail.length == 0 {
                lanes.remove(&self.lane);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn record(partition: i32, key: Option<&'static str>) -> RawRecord {
        RawRecord {
            topic: "t".into(),
            partition,
            offset: 0,
            timestamp: None,
            key: key.map(|key| Bytes::from_static(key.as_bytes())),
            value: None,
            headers: vec![],
        }
    }

    fn has_come(turn: &mut Turn) -> bool {
        turn.come().now_or_never().is_some()
    }

    #[test]
    fn only_records_of_one_lane_wait_for_each_other() {
        for (ordering, waits) in [
            (Ordering::Unordered, [false; 4]),
            (Ordering::Key, [true, false, false, false]),
            (Ordering::Partition, [true, true, true, false]),
        ] {
            let lanes = Lanes::new(ordering);
            let mut first = lanes.join(&record(0, Some("a")));
            let others = [(0, Some("a")), (0, Some("b")), (0, None), (1, Some("a"))];
            assert!(has_come(&mut first));
            for ((partition, key), waits) in others.into_iter().zip(waits) {
                let mut turn = lanes.join(&record(partition, key));
                assert_eq!(has_come(&mut turn), !waits, "{ordering:?} {partition} {key:?}");
            }
            drop(first);
            assert!(lanes.lanes.borrow().is_empty(), "a lane that nobody is in is forgotten");
        }
    }

    #[test]
    fn turns_come_in_order() {
        let lanes = Lanes::new(Ordering::Partition);
        let mut turns: Vec<_> = (0..4).map(|_| lanes.join(&record(0, None))).collect();
        while !turns.is_empty() {
            let come: Vec<bool> = turns.iter_mut().map(has_come).collect();
            assert!(come[0] && !come[1..].contains(&true));
            turns.remove(0);
        }
    }

    #[test]
    fn any_number_may_leave_the_queue() {
        let lanes = Lanes::new(Ordering::Partition);
        let turns: Vec<_> = (0..200_000).map(|_| lanes.join(&record(0, None))).collect();
        // The last first: each inherits nothing, and hands on what it waited for to nobody.
        turns.into_iter().rev().for_each(drop);
        let mut first = lanes.join(&record(0, None));
        let turns: Vec<_> = (0..200_000).map(|_| lanes.join(&record(0, None))).collect();
        turns.into_iter().for_each(drop);
        assert!(has_come(&mut first));
    }

    #[test]
    fn one_that_leaves_the_queue_lets_nobody_overtake() {
        let lanes = Lanes::new(Ordering::Key);
        let [mut first, second, third, mut fourth] = [(); 4].map(|()| lanes.join(&record(0, Some("a"))));
        assert!(has_come(&mut first));
        drop((third, second));
        assert!(!has_come(&mut fourth), "the first is still at work");
        drop(first);
        assert!(has_come(&mut fourth));
    }
}
