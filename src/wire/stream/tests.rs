//! A piece is read as it was written, and no record makes the decoder panic.

use proptest::prelude::*;

use super::*;
use crate::wire::invariants::{received, sent};

fn thens() -> impl Strategy<Value = Then> {
    prop_oneof![
        Just(Then::More),
        Just(Then::End),
        prop::sample::select(&StreamError::ALL[..]).prop_map(Then::Cut),
    ]
}

proptest! {
    #[test]
    fn a_piece_is_read_as_it_was_written(seq in 0..5_u64, body in any::<Vec<u8>>(), then in thens(), told in any::<bool>()) {
        let head = StreamHead {
            status: 206,
            headers: vec![("content-type".into(), "text/event-stream".into()), ("x-a".into(), Bytes::from_static(b"\xff"))],
            instance: told.then(InstanceId::new),
        };
        let piece = Piece {
            correlation_id: Bytes::from_static(b"an id"),
            stream: StreamId::new(),
            seq,
            head: (seq == 0).then_some(head),
            body: body.into(),
            then,
        };
        let record = sent(encode_piece(piece.clone()));
        prop_assert!(is_piece(&record));
        prop_assert_eq!(decode_piece(&record), Ok(piece));
    }

    #[test]
    fn no_record_makes_the_decoder_panic(
        names in prop::collection::vec(prop::sample::select(&[
            headers::KHP_VERSION, headers::KAFKA_CORRELATION_ID, headers::KHP_STREAM, headers::KHP_SEQ, headers::KHP_MORE, headers::STATUS,
            headers::KHP_ERROR, headers::KHP_INSTANCE, headers::KHP_ACCEPT, headers::KHP_WINDOW,
        ][..]), 0..12),
        values in prop::collection::vec(prop_oneof![any::<Vec<u8>>(), "[0-9]{1,22}".prop_map(String::into_bytes), Just(b"stream".to_vec())], 12),
    ) {
        let headers = names.into_iter().zip(values);
        let record = RawRecord {
            headers: headers.map(|(name, value)| (Bytes::from(name), Some(value.into()))).collect(),
            ..RawRecord::empty(&"replies".into())
        };
        let _ = decode_piece(&record);
        let _ = crate::wire::decode_request(&record);
    }
}

#[test]
fn what_is_no_piece_is_refused_by_name() {
    let piece = |headers: &[(&str, &str)]| RawRecord {
        headers: headers
            .iter()
            .map(|(name, value)| {
                (
                    Bytes::copy_from_slice(name.as_bytes()),
                    Some(Bytes::copy_from_slice(value.as_bytes())),
                )
            })
            .collect(),
        ..RawRecord::empty(&"replies".into())
    };
    let id = (headers::KAFKA_CORRELATION_ID, "id");
    let stream = (headers::KHP_STREAM, "12345678");
    for (headers, reason) in [
        (vec![stream], "no kafka_correlationId"),
        (vec![id, (headers::KHP_STREAM, "1234")], "khp-stream is not 8 bytes"),
        (vec![id, stream], "khp-seq is not a number"),
        (vec![id, stream, (headers::KHP_SEQ, "-1")], "khp-seq is not a number"),
        (
            vec![id, stream, (headers::KHP_SEQ, "0"), (headers::STATUS, "100")],
            ":status is not 200 to 599",
        ),
        (
            vec![id, stream, (headers::KHP_SEQ, "1"), (headers::KHP_MORE, "true")],
            "khp-more is not 1",
        ),
        (
            vec![id, stream, (headers::KHP_SEQ, "0"), (headers::KHP_VERSION, "2")],
            "unknown khp-version",
        ),
    ] {
        assert_eq!(decode_piece(&piece(&headers)), Err(reason.to_owned()));
    }
    let unknown = decode_piece(&piece(&[
        id,
        stream,
        (headers::KHP_SEQ, "1"),
        (headers::KHP_ERROR, "who knows"),
    ]));
    assert_eq!(unknown.unwrap().then, Then::Cut(StreamError::ProcessorFailed));
}

/// As `decode_piece` reads it: a replier may write `00`, and its client would wait for a first piece that never comes.
#[test]
fn a_place_is_what_its_number_means() {
    for (seq, place) in [
        ("0", Place::First),
        ("00", Place::First),
        ("+0", Place::First),
        ("none", Place::First),
        ("", Place::First),
        ("1", Place::Later),
        ("01", Place::Later),
    ] {
        let headers = [(headers::KHP_STREAM, "12345678"), (headers::KHP_SEQ, seq)];
        let headers = headers.map(|(name, value)| (Bytes::from(name), Some(Bytes::from(value))));
        let record = received(None, None, headers.to_vec());
        assert_eq!(place_in_stream(&record), Some(place), "{seq:?}");
    }
}
