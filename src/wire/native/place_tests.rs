//! Where a body lies beside its request.

use super::afterwards::*;
use super::*;
use crate::wire::invariants::sent;

#[test]
fn a_place_is_read_as_it_was_written() {
    let place = BodyPlace {
        partition: 3,
        first: 5,
        last: i64::MAX,
        length: 1 << 40,
    };
    let mut own = Own(Fields::new());
    put_place(place, &mut own);
    let written = Record {
        headers: own.0,
        ..Record::default()
    };
    assert_eq!(read_place(&sent(written)), Ok(Some(place)));
    assert_eq!(read_place(&sent(Record::default())), Ok(None));
}

#[test]
fn a_place_that_cannot_be_is_refused() {
    let header = |name: &str, value: &[u8]| {
        (
            Bytes::copy_from_slice(name.as_bytes()),
            Some(Bytes::copy_from_slice(value)),
        )
    };
    let whole = || {
        vec![
            header(headers::KHP_BODY, b"elsewhere"),
            header(headers::KHP_BODY_PARTITION, &3_i32.to_be_bytes()),
            header(headers::KHP_BODY_FIRST, &5_i64.to_be_bytes()),
            header(headers::KHP_BODY_LAST, &9_i64.to_be_bytes()),
            header(headers::KHP_BODY_LENGTH, b"100"),
        ]
    };
    let read = |headers| {
        read_place(&RawRecord {
            headers,
            ..RawRecord::empty(&"orders-requests".into())
        })
    };
    assert!(read(whole()).is_ok());
    for (name, value) in [
        (headers::KHP_BODY_PARTITION, &(-1_i32).to_be_bytes()[..]),
        (headers::KHP_BODY_FIRST, &(-1_i64).to_be_bytes()),
        (headers::KHP_BODY_FIRST, b"5"),
        (headers::KHP_BODY_LAST, &4_i64.to_be_bytes()),
        (headers::KHP_BODY_LENGTH, b"-1"),
        (headers::KHP_BODY_LENGTH, b""),
    ] {
        let mut headers = whole();
        headers.push(header(name, value));
        assert!(read(headers).is_err(), "{name} {}", value.escape_ascii());
    }
}

/// Before this version, such a request was executed with an empty body.
#[test]
fn who_does_not_know_bodies_elsewhere_refuses_the_request() {
    let place = BodyPlace {
        partition: 0,
        first: 1,
        last: 2,
        length: 3,
    };
    let request = || Request {
        correlation_id: Bytes::from_static(b"id"),
        method: "PUT".into(),
        path: "/".into(),
        ..Request::default()
    };
    let encoded = encode_request(Request {
        body_elsewhere: Some(place),
        ..request()
    });
    let mut added = encode_request(Request {
        body: Some(Bytes::new()),
        ..request()
    });
    set_place(&mut added, place);
    for record in [encoded, added] {
        let record = sent(record);
        assert_eq!(record.header(headers::KHP_VERSION).unwrap(), VERSION_ELSEWHERE);
        assert_eq!(decode_request(&record).unwrap().body_elsewhere, Some(place));
    }
    assert_eq!(
        sent(encode_request(request())).header(headers::KHP_VERSION).unwrap(),
        VERSION
    );
}

/// The time that it took to write its body is not the client's.
#[test]
fn a_deadline_is_said_anew_where_it_was_said() {
    let request = |timeout_ms: Option<i64>| Request {
        correlation_id: Bytes::from_static(b"id"),
        method: "PUT".into(),
        path: "/".into(),
        deadline_ms: timeout_ms.map(|_| 1),
        timeout_ms,
        ..Request::default()
    };
    let mut record = encode_request(request(Some(0)));
    let before = crate::wire::now_ms();
    set_deadline(&mut record, std::time::Duration::from_secs(3));
    let read = decode_request(&sent(record)).unwrap();
    assert_eq!(read.timeout_ms, Some(3_000));
    let deadline = read.deadline_ms.unwrap();
    assert!(deadline >= before + 3_000 && deadline <= crate::wire::now_ms() + 3_000);
    let mut record = encode_request(request(None));
    set_deadline(&mut record, std::time::Duration::from_secs(3));
    let read = decode_request(&sent(record)).unwrap();
    assert_eq!((read.timeout_ms, read.deadline_ms), (None, None));
}
