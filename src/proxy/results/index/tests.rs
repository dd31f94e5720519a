use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::wire::stream::StreamError;

const DAY: u32 = 24 * 3600;

fn index(max: usize) -> Index {
    Index::new(max, vec![Duration::from_secs(DAY.into()); 2])
}

fn whole(id: CorrelationId, offset: i64, at: u32) -> Stored {
    let what = What::Whole {
        status: 200,
        is_error: false,
    };
    of(id, offset, at, what)
}

fn of(id: CorrelationId, offset: i64, at: u32, what: What) -> Stored {
    Stored {
        id,
        topic: 0,
        partition: 3,
        offset,
        at,
        what,
    }
}

fn piece(id: CorrelationId, offset: i64, stream: StreamId, seq: u64, then: Then) -> Stored {
    let status = if seq == 0 { 201 } else { 0 };
    let what = What::Piece {
        stream,
        seq,
        status,
        then,
    };
    of(id, offset, 10, what)
}

fn result(first: i64, last: i64, status: u16) -> Found {
    Found::Result(Place {
        topic: 0,
        partition: 3,
        first,
        last,
        status,
    })
}

#[test]
fn a_result_is_found_until_its_time_is_over() {
    let (mut index, id) = (index(10), CorrelationId::new(1));
    assert_eq!(index.find(id, 10), Found::Nothing);
    assert!(index.take(whole(id, 7, 10), 10));
    assert_eq!(index.find(id, 10 + DAY - 1), result(7, 7, 200));
    assert_eq!(index.find(id, 10 + DAY), Found::Gone);
    index.sweep(10 + DAY - 1);
    assert_eq!(index.len(), 1);
    index.sweep(10 + DAY);
    assert_eq!((index.len(), index.expired), (0, 1));
    assert!(!index.take(whole(id, 7, 10), 10 + DAY), "it is read again, and too old");
}

#[test]
fn those_that_are_over_first_go_first_however_long_others_are_kept() {
    let mut index = Index::new(2, vec![Duration::from_secs(7 * 24 * 3600), Duration::from_secs(60)]);
    let [long, short, other] = [0; 3].map(|_| CorrelationId::new(1));
    let of_topic = |topic, id, at| Stored {
        topic,
        ..whole(id, 1, at)
    };
    index.take(of_topic(0, long, 10), 10);
    index.take(of_topic(1, short, 20), 20);
    index.take(of_topic(1, other, 30), 30);
    assert_eq!(
        (index.find(short, 30), index.evicted),
        (Found::Gone, 1),
        "the short one makes room"
    );
    assert!(matches!(index.find(long, 30), Found::Result(_)));
    index.sweep(100);
    assert_eq!(
        (index.len(), index.expired),
        (1, 1),
        "an older one that is kept does not hold up the sweep"
    );
}

#[test]
fn a_topic_is_forgotten_in_one_walk_and_others_stay() {
    let each = 60_000;
    let mut index = index(10 * each);
    let ids: Vec<CorrelationId> = (0..2 * each).map(|_| CorrelationId::new(1)).collect();
    for (number, id) in ids.iter().enumerate() {
        let topic = (number % 2) as u16;
        index.take(
            Stored {
                topic,
                ..whole(*id, 1, 10 + (number / each) as u32)
            },
            20,
        );
    }
    let began = std::time::Instant::now();
    index.forget_topic(1);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let is_there = |(number, id): (usize, &CorrelationId)| (index.find(*id, 20) != Found::Nothing) == (number % 2 == 0);
    assert!(ids.iter().enumerate().all(is_there));
    assert_eq!((index.len(), index.by_end.len()), (each, 2));
    index.sweep(11 + DAY);
    assert!(index.is_empty() && index.by_end.is_empty());
}

#[test]
fn the_oldest_go_first_and_are_gone() {
    let mut index = index(3);
    let ids: Vec<CorrelationId> = (0..6).map(|_| CorrelationId::new(1)).collect();
    // Two partitions, one after the other; several in one second.
    for (number, at) in [(0, 10), (2, 20), (3, 20), (1, 10), (4, 20)] {
        index.take(whole(ids[number], number as i64, at), 20);
    }
    let found: Vec<bool> = ids
        .iter()
        .map(|id| matches!(index.find(*id, 20), Found::Result(_)))
        .collect();
    assert_eq!(found, [false, false, true, true, true, false]);
    assert_eq!(
        (index.find(ids[0], 20), index.find(ids[5], 20)),
        (Found::Gone, Found::Nothing)
    );
    index.take(whole(ids[5], 5, 20), 20);
    assert_eq!(index.find(ids[2], 20), Found::Gone, "the first of its second");
    assert_eq!(index.evicted, 3);
}

#[test]
fn an_answer_takes_the_place_of_an_error_and_nothing_that_of_an_answer() {
    let (mut index, id) = (index(10), CorrelationId::new(1));
    let error = What::Whole {
        status: 502,
        is_error: true,
    };
    assert!(index.take(of(id, 1, 10, error), 10));
    assert_eq!(index.find(id, 10), result(1, 1, 502));
    assert!(!index.take(of(id, 2, 10, error), 10));
    assert!(index.take(whole(id, 3, 11), 11));
    assert!(!index.take(whole(id, 4, 11), 11), "it ran twice: the first counts");
    assert!(!index.take(of(id, 5, 11, error), 11));
    assert_eq!(index.find(id, 11), result(3, 3, 200));
    assert!(index.take(of(id, 6, 12, What::Cancel), 12));
    assert_eq!(index.find(id, 12), Found::Gone);
    assert!(!index.take(whole(id, 7, 12), 12), "whoever cancels wants none");
    assert_eq!((index.find(id, 12), index.len()), (Found::Gone, 1));
}

#[test]
fn a_result_in_pieces_is_there_when_it_is_whole() {
    let (mut index, id, stream) = (index(10), CorrelationId::new(1), StreamId::new());
    assert!(!index.take(piece(id, 5, stream, 0, Then::More), 10));
    assert!(!index.take(piece(id, 7, stream, 1, Then::More), 10));
    assert_eq!(index.find(id, 10), Found::Nothing);
    assert!(
        !index.take(piece(id, 8, StreamId::new(), 2, Then::End), 10),
        "of another call"
    );
    assert!(!index.take(piece(id, 8, stream, 3, Then::End), 10), "a gap");
    assert!(index.take(piece(id, 9, stream, 2, Then::End), 10));
    assert_eq!(index.find(id, 10), result(5, 9, 201));
    assert!(index.open.is_empty());
}

#[test]
fn the_call_that_began_last_is_followed_and_one_that_is_cut_off_replaced() {
    let (mut index, id) = (index(10), CorrelationId::new(1));
    let (killed, cut, last) = (StreamId::new(), StreamId::new(), StreamId::new());
    index.take(piece(id, 1, killed, 0, Then::More), 10);
    index.take(piece(id, 2, cut, 0, Then::More), 10);
    assert!(!index.take(piece(id, 3, killed, 1, Then::End), 10));
    assert!(index.take(piece(id, 4, cut, 1, Then::Cut(StreamError::Draining)), 10));
    assert_eq!(index.find(id, 10), result(2, 4, 201));
    assert!(index.take(piece(id, 6, last, 0, Then::End), 10));
    assert_eq!(index.find(id, 10), result(6, 6, 201));
}

#[test]
fn results_without_an_end_are_bounded_and_swept() {
    let mut index = index(10);
    for _ in 0..MOST_OPEN + 5 {
        index.take(piece(CorrelationId::new(1), 1, StreamId::new(), 0, Then::More), 10);
    }
    assert_eq!(index.open.len(), MOST_OPEN);
    index.sweep(10 + DAY);
    assert!(index.open.is_empty());
}

#[test]
fn a_topic_that_is_gone_is_forgotten() {
    let mut index = index(10);
    let (one, two) = (CorrelationId::new(1), CorrelationId::new(1));
    index.take(whole(one, 1, 10), 10);
    index.take(
        Stored {
            topic: 1,
            ..whole(two, 1, 10)
        },
        10,
    );
    index.forget_topic(0);
    assert_eq!(index.find(one, 10), Found::Nothing);
    assert_eq!((index.len(), index.by_end.len()), (1, 1));
}

/// The bytes of a hash table: one control byte and one item a bucket, which are a power of two of which 7/8 may be full.
fn table(capacity: usize, item: usize) -> usize {
    (capacity * 8 / 7).next_power_of_two() * (item + 1)
}

#[test]
fn a_result_takes_at_most_a_hundred_bytes() {
    const MANY: usize = 60_000;
    let mut index = index(MANY);
    for number in 0..2 * MANY + 1 {
        index.take(
            whole(CorrelationId::new(1), number as i64, 10 + number as u32 / 1000),
            10,
        );
    }
    let item = size_of::<([u8; 8], u32)>();
    let bytes = index.slab.bytes() + table(index.by_id.capacity(), item) + index.gone_bytes() + index.by_end.len() * 32;
    assert_eq!((index.len(), size_of::<Entry>()), (MANY, 48));
    assert!(bytes <= 100 * MANY, "{} bytes each", bytes / MANY);
}

impl Index {
    fn gone_bytes(&self) -> usize {
        self.gone.capacities().map(|capacity| table(capacity, 8)).sum()
    }
}

#[derive(Debug, Clone)]
enum Op {
    Put(usize, u32),
    Cancel(usize, u32),
    Sweep(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..12_usize, 0..40_u32).prop_map(|(id, at)| Op::Put(id, at)),
        1 => (0..12_usize, 0..40_u32).prop_map(|(id, at)| Op::Cancel(id, at)),
        1 => (0..60_u32).prop_map(Op::Sweep),
    ]
}

proptest! {
    /// Beside a map that knows everything.
    #[test]
    fn it_holds_what_a_plain_map_would(ops in prop::collection::vec(op(), 0..80)) {
        let mut index = Index::new(1000, vec![Duration::from_secs(20)]);
        let ids: Vec<CorrelationId> = (0..12).map(|_| CorrelationId::new(1)).collect();
        let mut plain: HashMap<usize, (u32, bool)> = HashMap::new();
        let mut now = 0;
        for op in ops {
            match op {
                Op::Put(id, at) if at + 20 > now => {
                    index.take(whole(ids[id], at.into(), at), now);
                    plain.entry(id).or_insert((at, false));
                }
                Op::Cancel(id, at) if at + 20 > now => {
                    index.take(of(ids[id], at.into(), at, What::Cancel), now);
                    let known = plain.entry(id).or_insert((at, true));
                    if !known.1 {
                        *known = (at, true);
                    }
                }
                Op::Put(..) | Op::Cancel(..) => {}
                Op::Sweep(to) => {
                    now = now.max(to);
                    index.sweep(now);
                    plain.retain(|_, (at, _)| *at + 20 > now);
                }
            }
            prop_assert_eq!(index.len(), plain.len());
            let queued: usize = index.by_end.values().map(|(first, _)| {
                let mut count = 1;
                let mut place = *first;
                while index.slab.get(place).next != slab::NONE {
                    place = index.slab.get(place).next;
                    count += 1;
                }
                count
            }).sum();
            prop_assert_eq!(queued, plain.len());
            for (number, id) in ids.iter().enumerate() {
                let expected = match plain.get(&number) {
                    None => Found::Nothing,
                    Some((_, true)) => Found::Gone,
                    Some((at, false)) => result((*at).into(), (*at).into(), 200),
                };
                prop_assert_eq!(index.find(*id, now), expected);
            }
        }
    }
}
