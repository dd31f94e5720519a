//! Whoever has no key reads nothing and changes nothing.

use proptest::prelude::*;

use super::*;
use crate::wire::body_pieces::BodyPiece;
use crate::wire::control::Control;
use crate::wire::dead_letter::{Cause, DeadLetter};
use crate::wire::invariants::sent;
use crate::wire::native::properties::{any_request, any_response};
use crate::wire::redrive::Redriven;
use crate::wire::{ReplyError, Request, native};

const REQUEST: Binding<'static> = Binding::Request {
    request_topic: "orders",
};
const REPLY: Binding<'static> = Binding::Reply {
    request_topic: "orders",
    reply_topic: "orders-responses",
};

fn sealing(keys: &[(&str, &str)], require: bool) -> Sealing {
    Sealing {
        keys: keys
            .iter()
            .map(|(id, secret)| SealingKey::new(id, secret).unwrap())
            .collect(),
        require,
    }
}

fn one() -> Sealing {
    sealing(&[("a", "a secret of tests")], true)
}

fn request() -> Request {
    Request {
        correlation_id: Bytes::from_static(b"id"),
        method: "POST".into(),
        path: "/secret-path?q=secret-query".into(),
        authority: "secret-host".into(),
        headers: vec![
            // Those in clear come first.
            ("traceparent".into(), "00-trace".into()),
            ("cookie".into(), "secret-cookie".into()),
        ],
        body: Some("secret-body".into()),
        reply_topic: Some("orders-responses".into()),
        reply_partition: Some(3),
        deadline_ms: Some(99),
        client_ip: Some("secret-ip".into()),
        key: Some("secret-key".into()),
        ..Request::default()
    }
}

fn sealed(sealing: &Sealing, request: Request) -> RawRecord {
    sent(sealing.seal(native::encode_request(request), REQUEST).unwrap())
}

fn read(sealing: &Sealing, record: &RawRecord) -> Result<Request, SealError> {
    Ok(native::decode_request(&*sealing.open(record, REQUEST)?).unwrap())
}

#[test]
fn a_reader_of_the_topic_sees_nothing_of_the_request() {
    let record = sealed(&one(), request());
    let text = format!("{record:?}");
    assert!(!text.contains("secret"), "{text}");
    for (name, value) in [
        ("kafka_correlationId", &b"id"[..]),
        ("kafka_replyTopic", b"orders-responses"),
        ("kafka_replyPartition", b"\0\0\0\x03"),
        ("khp-deadline", b"99"),
        ("traceparent", b"00-trace"),
        ("khp-seal-key", b"a"),
    ] {
        assert_eq!(record.header(name).map(|value| &value[..]), Some(value), "{name}");
    }
    assert_ne!(record.value, sealed(&one(), request()).value, "each is sealed anew");
    assert_eq!(record.key, sealed(&one(), request()).key, "order by key is kept");
}

#[test]
fn keys_rotate() {
    let (old, new) = (("a", "a secret of tests"), ("b", "another secret of tests"));
    let (before, both, after) = (sealing(&[old], true), sealing(&[new, old], true), sealing(&[new], true));
    let (of_before, of_both) = (sealed(&before, request()), sealed(&both, request()));
    assert_eq!(read(&both, &of_before), Ok(request()));
    assert_eq!(read(&after, &of_both), Ok(request()));
    assert_eq!(read(&after, &of_before), Err(SealError::UnknownKey));
    assert_eq!(
        read(&sealing(&[("a", "not the same")], true), &of_before),
        Err(SealError::Broken)
    );
}

#[test]
fn what_is_not_sealed_counts_unless_seals_are_required() {
    let plain = sent(native::encode_request(request()));
    assert_eq!(read(&one(), &plain), Err(SealError::NotSealed));
    assert_eq!(read(&sealing(&[("a", "x")], false), &plain), Ok(request()));
    let none = sealing(&[], true);
    assert_eq!(read(&none, &plain), Ok(request()), "without keys nothing is required");
    assert_eq!(read(&none, &sealed(&one(), request())), Err(SealError::UnknownKey));
}

#[test]
fn a_record_opens_only_as_what_it_is() {
    let record = sealed(&one(), request());
    for binding in [
        Binding::Request { request_topic: "users" },
        REPLY,
        Binding::Reply {
            request_topic: "orders",
            reply_topic: "orders",
        },
    ] {
        assert_eq!(one().open(&record, binding), Err(SealError::Broken), "{binding:?}");
    }
}

/// Nobody without a key cancels a request, and a cancel of one topic is none of another.
#[test]
fn a_control_record_opens_only_on_its_topic() {
    let cancel = Control::Cancel {
        correlation_id: Bytes::from_static(b"id"),
        stream: None,
    };
    let (topic, other) = ("orders-control", "users-control");
    let record = sent(one().seal(cancel.clone().encode(), Binding::Control { topic }).unwrap());
    assert_eq!(
        Control::decode(&record),
        Ok(cancel.clone()),
        "in clear for who has no key"
    );
    let opened = one().open(&record, Binding::Control { topic }).unwrap();
    assert_eq!(Control::decode(&opened), Ok(cancel.clone()));
    for binding in [Binding::Control { topic: other }, REQUEST, REPLY] {
        assert_eq!(one().open(&record, binding), Err(SealError::Broken), "{binding:?}");
    }
    let mut changed = record;
    let id = changed
        .headers
        .iter_mut()
        .find(|(name, _)| name == headers::KAFKA_CORRELATION_ID);
    id.unwrap().1 = Some(Bytes::from_static(b"another"));
    assert_eq!(one().open(&changed, Binding::Control { topic }), Err(SealError::Broken));
    let plain = sent(cancel.encode());
    assert_eq!(
        one().open(&plain, Binding::Control { topic }),
        Err(SealError::NotSealed)
    );
}

#[test]
fn a_piece_of_a_body_opens_only_in_its_place() {
    let place = Binding::Body {
        bodies_topic: "orders-bodies",
        correlation_id: b"id",
        seq: 7,
    };
    let piece = BodyPiece {
        correlation_id: Bytes::from_static(b"id"),
        seq: 7,
        more: true,
        body: Bytes::from_static(b"secret"),
    };
    let record = sent(one().seal(piece.clone().encode(), place).unwrap());
    assert!(!record.value.as_ref().unwrap().windows(6).any(|part| part == b"secret"));
    let opened = one().open(&record, place).unwrap();
    assert_eq!(BodyPiece::decode(&opened), Ok(piece));
    let elsewhere = |bodies_topic, correlation_id, seq| Binding::Body {
        bodies_topic,
        correlation_id,
        seq,
    };
    for binding in [
        elsewhere("users-bodies", b"id", 7),
        elsewhere("orders-bodies", b"other", 7),
        elsewhere("orders-bodies", b"id", 8),
        REQUEST,
        REPLY,
    ] {
        assert_eq!(one().open(&record, binding), Err(SealError::Broken), "{binding:?}");
    }
    // Its number, and whether more comes, are in clear, and cannot be changed there.
    for (name, value) in [("khp-seq", "8"), ("khp-more", "0")] {
        let mut changed = record.clone();
        let fields = changed.headers.iter_mut();
        fields
            .filter(|(field, _)| field == name)
            .for_each(|(_, field)| *field = Some(Bytes::from(value)));
        assert_eq!(one().open(&changed, place), Err(SealError::Broken), "{name}");
    }
}

#[test]
fn what_is_put_beside_a_seal_is_not_believed() {
    let header = |name: &'static str| (Bytes::from_static(name.as_bytes()), Some(Bytes::from_static(b"x")));
    let mut record = sealed(&one(), request());
    record.headers.push(header(":path"));
    record.headers.push(header("cookie"));
    assert_eq!(read(&one(), &record), Ok(request()));
    for name in IN_CLEAR {
        let mut record = sealed(&one(), request());
        record.headers.push(header(name));
        assert_eq!(read(&one(), &record), Err(SealError::Broken), "{name}");
    }
}

#[test]
fn a_sealed_dead_letter_opens_and_goes_back() {
    let cause = Cause {
        group: "g",
        exception: "refused",
        error: ReplyError::BackendUnreachable,
        attempts: 1,
    };
    let letter = DeadLetter::new(
        &RawRecord {
            topic: "orders".into(),
            ..sealed(&one(), request())
        },
        &cause,
    );
    let letter = RawRecord {
        key: letter.key,
        value: letter.value,
        headers: letter.headers,
        ..RawRecord::empty(&"failed".into())
    };
    let opened = one().open_letter(&letter).unwrap();
    assert_eq!(native::decode_request(&opened), Ok(request()));
    assert_eq!(sealing(&[], true).open_letter(&letter), Err(SealError::UnknownKey));
    let redriven = one()
        .seal_redriven(Redriven::new(&opened).unwrap(), "elsewhere")
        .unwrap();
    let back = RawRecord {
        key: redriven.key,
        value: redriven.value,
        headers: redriven.headers,
        ..RawRecord::empty(&"elsewhere".into())
    };
    assert_eq!(back.header("khp-redrive").map(|round| &round[..]), Some(&b"1"[..]));
    let again = one()
        .open(
            &back,
            Binding::Request {
                request_topic: "elsewhere",
            },
        )
        .unwrap();
    let mut expected = request();
    (expected.deadline_ms, expected.reply_topic, expected.reply_partition) = (None, None, None);
    assert_eq!(native::decode_request(&again), Ok(expected));
}

/// The parts of a record that an attacker can change.
fn parts(record: &mut RawRecord) -> Vec<&mut Bytes> {
    let headers = record
        .headers
        .iter_mut()
        .filter(|(name, _)| is_in_clear(name) || name.starts_with(b"khp-seal-"));
    let headers = headers.flat_map(|(name, value)| [Some(name), value.as_mut()]).flatten();
    record
        .key
        .iter_mut()
        .chain(record.value.iter_mut())
        .chain(headers)
        .collect()
}

proptest! {
    #[test]
    fn what_is_sealed_opens_to_what_it_was(request in any_request(), response in any_response()) {
        prop_assert_eq!(read(&one(), &sealed(&one(), request.clone())), Ok(request));
        let record = sent(one().seal(native::encode_response(response.clone()), REPLY).unwrap());
        let opened = one().open(&record, REPLY).unwrap();
        prop_assert_eq!(native::decode_response(&opened), Ok(response));
    }

    /// Of the value, of the nonce, and of everything in clear.
    #[test]
    fn with_any_bit_changed_it_does_not_open(request in any_request(), part in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>()) {
        let mut record = sealed(&one(), request.clone());
        {
            let mut parts = parts(&mut record);
            parts.retain(|part| !part.is_empty());
            let chosen = part.index(parts.len());
            let part = &mut parts[chosen];
            let mut bytes = part.to_vec();
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            **part = bytes.into();
        }
        prop_assert!(one().open(&record, REQUEST).is_err(), "{record:?}");
    }

    #[test]
    fn no_value_makes_it_panic(value in prop::collection::vec(any::<u8>(), 0..200)) {
        let record = RawRecord { value: Some(value.into()), ..sealed(&one(), request()) };
        prop_assert_eq!(one().open(&record, REQUEST), Err(SealError::Broken));
    }
}
