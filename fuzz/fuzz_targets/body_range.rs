#![no_main]

use std::sync::LazyLock;

use actix_khp_fuzz::assembly::{Assembly, Wanted};
use actix_khp_fuzz::wire::beside::BodyPlace;
use actix_khp_fuzz::wire::body_pieces::BodyPiece;
use actix_khp_fuzz::wire::invariants::{record, sent};
use actix_khp_fuzz::wire::sealing::Binding;
use actix_khp_fuzz::wire::sealing::keys::SealingKey;
use actix_khp_fuzz::wire::{RawRecord, Sealing, headers};
use bytes::Bytes;

const TOPIC: &str = "orders-bodies";
const ID: &[u8] = b"id";
/// The pieces of the body, and where each lies: other bodies have pieces between them.
const PIECES: [(&[u8], i64); 4] = [(b"one", 3), (b"", 4), (b"three, ", 6), (b"and the last", 9)];

struct World {
    sealing: Sealing,
    wanted: Wanted,
    /// The body's own pieces, then others that are sealed with the same key.
    records: Vec<RawRecord>,
}

fn sealed(
    sealing: &Sealing,
    id: &'static [u8],
    (seq, more): (u64, bool),
    body: &'static [u8],
    topic: &str,
) -> RawRecord {
    let correlation_id = Bytes::from_static(id);
    let binding = Binding::Body {
        bodies_topic: topic,
        correlation_id: &correlation_id,
        seq,
    };
    let piece = BodyPiece {
        correlation_id: correlation_id.clone(),
        seq,
        more,
        body: Bytes::from_static(body),
    };
    sent(sealing.seal(piece.encode(), binding).expect("it can be sealed"))
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = SealingKey::new("k", &rand::random::<u128>().to_string()).expect("a key");
    let sealing = Sealing {
        keys: vec![key],
        require: true,
    };
    let own = PIECES.iter().zip(0..).map(|((body, offset), seq)| {
        let own = sealed(&sealing, ID, (seq, seq < 3), body, TOPIC);
        RawRecord { offset: *offset, ..own }
    });
    let mut records: Vec<_> = own.collect();
    records.push(sealed(&sealing, b"other", (0, true), b"another body's", TOPIC));
    records.push(sealed(&sealing, ID, (1, true), b"another topic's", "others"));
    // Its number is changed after it was sealed.
    let mut changed = records[2].clone();
    for (name, value) in &mut changed.headers {
        if name == headers::KHP_SEQ {
            *value = Some(Bytes::from_static(b"3"));
        }
    }
    records.push(changed);
    let length = PIECES.iter().map(|(body, _)| body.len() as u64).sum();
    let place = BodyPlace {
        partition: 0,
        first: PIECES[0].1,
        last: PIECES[3].1,
        length,
    };
    let wanted = Wanted {
        topic: TOPIC.into(),
        correlation_id: Bytes::from_static(ID),
        place,
    };
    World {
        sealing,
        wanted,
        records,
    }
});

// Whatever a range holds, in whatever order: what is put together is the body, as far as it goes, and it is whole where all of it came. Two
// bytes say which record is read next, and where; what no number stands for is a record of the input's own.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let World {
        sealing,
        wanted,
        records,
    } = &*WORLD;
    let body: Vec<u8> = PIECES.iter().flat_map(|(body, _)| *body).copied().collect();
    let (mut assembly, mut got) = (Assembly::new(wanted, sealing), Vec::new());
    for (at, step) in input.chunks_exact(2).enumerate() {
        let next = match records.get(usize::from(step[0] & 15)) {
            // Where it lies, more often than not.
            Some(known) if step[1] < 128 => known.clone(),
            Some(known) => RawRecord {
                offset: i64::from(step[1] & 15),
                ..known.clone()
            },
            None => {
                let mut foreign = record(&input[2 * at..]);
                foreign.headers.push((
                    Bytes::from(headers::KAFKA_CORRELATION_ID),
                    Some(wanted.correlation_id.clone()),
                ));
                RawRecord {
                    offset: i64::from(step[1] & 15),
                    ..foreign
                }
            }
        };
        match assembly.take(&next) {
            Ok(Some(bytes)) => got.extend_from_slice(&bytes),
            Ok(None) => {}
            Err(_) => return,
        }
        assert!(body.starts_with(&got), "{got:?}");
        assert!(!assembly.is_whole() || got == body);
    }
    // Read as it was written, it is whole.
    let mut assembly = Assembly::new(wanted, sealing);
    assert!(records[..4].iter().all(|own| matches!(assembly.take(own), Ok(Some(_)))));
    assert!(assembly.is_whole());
});
