//! Whatever lies in the range: all bytes of the body in order, or an end that shows.

use proptest::prelude::*;

use super::*;
use crate::wire::invariants::sent;
use crate::wire::sealing::keys::SealingKey;

const TOPIC: &str = "orders-bodies";
const ID: &[u8] = b"ours";

fn sealing(is_sealed: bool) -> Sealing {
    let key = is_sealed.then(|| SealingKey::new("a", "a secret of tests").unwrap());
    Sealing {
        keys: key.into_iter().collect(),
        require: is_sealed,
    }
}

fn piece(sealing: &Sealing, id: &'static [u8], seq: u64, more: bool, body: &[u8], offset: i64) -> RawRecord {
    let piece = BodyPiece {
        correlation_id: Bytes::from_static(id),
        seq,
        more,
        body: Bytes::copy_from_slice(body),
    };
    let binding = Binding::Body {
        bodies_topic: TOPIC,
        correlation_id: id,
        seq,
    };
    RawRecord {
        offset,
        topic: TOPIC.into(),
        ..sent(sealing.seal(piece.encode(), binding).unwrap())
    }
}

fn wanted(first: i64, last: i64, length: u64) -> Wanted {
    Wanted {
        topic: TOPIC.into(),
        correlation_id: Bytes::from_static(ID),
        place: BodyPlace {
            partition: 0,
            first,
            last,
            length,
        },
    }
}

/// The bytes that come of these records, and whether they are whole.
fn assembled(wanted: &Wanted, sealing: &Sealing, records: &[RawRecord]) -> (Vec<u8>, bool) {
    let (mut assembly, mut bytes) = (Assembly::new(wanted, sealing), Vec::new());
    for record in records {
        match assembly.take(record) {
            Ok(piece) => bytes.extend(piece.unwrap_or_default()),
            Err(_) => break,
        }
    }
    (bytes, assembly.is_whole())
}

#[test]
fn a_body_that_its_request_does_not_describe_is_gone() {
    let plain = sealing(false);
    let records = [
        piece(&plain, ID, 0, true, b"abc", 4),
        piece(&plain, b"other", 0, false, b"x", 5),
        piece(&plain, ID, 1, false, b"de", 6),
    ];
    assert_eq!(assembled(&wanted(4, 6, 5), &plain, &records), (b"abcde".to_vec(), true));
    for other in [
        wanted(4, 6, 4),
        wanted(4, 6, 6),
        wanted(3, 6, 5),
        wanted(4, 7, 5),
        wanted(5, 6, 2),
    ] {
        assert!(!assembled(&other, &plain, &records).1, "{:?}", other.place);
    }
    assert!(
        !assembled(&wanted(4, 6, 5), &plain, &records[1..]).1,
        "its first piece is gone"
    );
}

/// A range that is another body's, or all of a partition, is not read to its end.
#[test]
fn a_range_is_refused_whose_first_record_is_another() {
    let (sealed, plain) = (sealing(true), sealing(false));
    let wanted = wanted(4, 1_000_000, 5);
    let misplaced = "piece 0 is not where its request says";
    for (sealing, record, why) in [
        (&plain, piece(&plain, b"other", 0, true, b"x", 4), misplaced),
        (&plain, piece(&plain, ID, 1, true, b"de", 4), "piece 0 is missing"),
        (&sealed, piece(&plain, ID, 0, true, b"abc", 4), misplaced),
    ] {
        let refused = BodyError::Gone(why.into());
        assert_eq!(Assembly::new(&wanted, sealing).take(&record), Err(refused));
    }
    let mut assembly = Assembly::new(&wanted, &plain);
    assert_eq!(
        assembly.take(&piece(&plain, ID, 0, true, b"abc", 4)),
        Ok(Some(Bytes::from_static(b"abc")))
    );
    assert_eq!(
        (assembly.pass_over(4), assembly.pass_over(5)),
        (Ok(()), Ok(())),
        "it has begun"
    );
}

#[test]
fn a_piece_that_is_not_believed_stands_in_no_ones_way() {
    let (sealed, plain) = (sealing(true), sealing(false));
    let records = [
        piece(&plain, ID, 0, true, b"forged", 3),
        piece(&sealed, ID, 0, true, b"abc", 4),
        piece(&plain, ID, 1, false, b"zz", 5),
        piece(&plain, ID, 999, true, b"zz", 6),
        piece(&sealed, ID, 1, false, b"de", 7),
    ];
    assert_eq!(
        assembled(&wanted(4, 7, 5), &sealed, &records),
        (b"abcde".to_vec(), true)
    );
}

proptest! {
    /// Pieces of others between them, repeats, losses and swapped pieces: never bytes that are not the body's beginning, and whole only
    /// where all of it was there in order.
    #[test]
    fn any_range_gives_the_whole_body_or_shows_that_it_is_not(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 1..8),
        changes in prop::collection::vec((0usize..8, 0u8..4), 0..4),
        is_sealed: bool,
        tells_second: bool,
    ) {
        let sealing = sealing(is_sealed);
        let body: Vec<u8> = pieces.concat();
        let last = pieces.len() - 1;
        let mut order: Vec<(&'static [u8], usize)> = (0..pieces.len()).map(|seq| (ID, seq)).collect();
        for (at, change) in changes {
            let at = at.min(order.len().saturating_sub(1));
            match change {
                0 => order.insert(at, (b"other", at.min(last))),
                1 if !order.is_empty() => order.insert(at + 1, order[at]),
                2 if !order.is_empty() => drop(order.remove(at)),
                _ if at > 0 => order.swap(at - 1, at),
                _ => {}
            }
        }
        let records: Vec<RawRecord> = order.iter().enumerate().map(|(offset, (id, seq))| {
            piece(&sealing, id, *seq as u64, *seq < last, &pieces[*seq], offset as i64)
        }).collect();
        let places: Vec<(i64, usize)> = (0..).zip(&order).filter(|(_, (id, _))| *id == ID).map(|(at, (_, seq))| (at, *seq)).collect();
        let offsets_of = |wanted: usize| places.iter().filter(move |(_, seq)| *seq == wanted).map(|(at, _)| *at);
        // Of a piece that is there twice, Kafka may have told either offset. What lies before the first is not read.
        let offset_of = |seq| if tells_second { offsets_of(seq).max() } else { offsets_of(seq).min() };
        let (first, end) = (offset_of(0).unwrap_or(0), offset_of(last).unwrap_or(0));
        prop_assume!(first <= end);
        let records = &records[first as usize..];
        let wanted = wanted(first, end, body.len() as u64);
        let (bytes, is_whole) = assembled(&wanted, &sealing, records);
        prop_assert!(body.starts_with(&bytes));
        if is_whole {
            prop_assert_eq!(bytes, body);
        }
        let mut ours: Vec<usize> = order.iter().filter(|(id, _)| *id == ID).map(|(_, seq)| *seq).collect();
        ours.dedup();
        if ours == (0..pieces.len()).collect::<Vec<_>>() {
            prop_assert!(is_whole, "nothing was lost");
        }
    }
}
