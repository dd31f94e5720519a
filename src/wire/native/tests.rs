#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use super::afterwards::*;
use super::*;
use crate::wire::CorrelationId;
use crate::wire::invariants::{received, sent};

const ID: &[u8] = b"\x12\x34\x56\x78\x9a\xbc\x8d\xef\x80\x01\x02\x03\x04\x05\x06\x07";

/// Headers of a record from elsewhere.
type Headers<'a> = &'a [(&'a [u8], &'a [u8])];

pub(in crate::wire) fn bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

pub(in crate::wire) fn raw(value: Option<&[u8]>, headers: Headers) -> RawRecord {
    let headers = headers.iter().map(|(name, value)| (bytes(name), Some(bytes(value))));
    received(None, value.map(bytes), headers.collect())
}

fn fields(fields: &[(&'static str, &'static [u8])]) -> Fields {
    fields
        .iter()
        .map(|(name, value)| (Cow::Borrowed(*name), Bytes::from_static(value)))
        .collect()
}

/// The least of a request, with more headers after it: the last of a name counts.
pub(in crate::wire) fn request_with(more: Headers) -> RawRecord {
    let least: [(&[u8], &[u8]); 3] = [(b"kafka_correlationId", ID), (b":method", b"GET"), (b":path", b"/")];
    raw(Some(b""), &[&least, more].concat())
}

pub(in crate::wire) fn reply_with(more: Headers) -> RawRecord {
    raw(Some(b"hello"), &[&[(&b"kafka_correlationId"[..], ID)], more].concat())
}

fn request() -> Request {
    Request {
        correlation_id: Bytes::from_static(ID),
        method: "POST".into(),
        path: "/a%20b/ü?x=1&x=2".into(),
        authority: "shop.example:8080".into(),
        scheme: "https".into(),
        headers: fields(&[
            ("accept", b"a"),
            ("x-raw", b"\xff\t\x80"),
            ("accept", b""),
            ("content-length", b"3"),
        ]),
        body: Some(Bytes::from_static(b"\0\xff\n")),
        body_elsewhere: None,
        accepts_stream: None,
        reply_topic: Some("replies".into()),
        reply_partition: Some(258),
        deadline_ms: Some(1_700_000_030_000),
        timeout_ms: Some(30_000),
        client_ip: Some("192.0.2.1".into()),
        principal: Some("orders".into()),
        key: Some(Bytes::from_static(b"k")),
        idempotency: None,
    }
}

#[test]
fn a_request_is_written_as_the_readme_has_it() {
    let record = encode_request(request());
    assert_eq!((record.key, record.value), (Some(bytes(b"k")), bytes(b"\0\xff\n")));
    let golden: [(&str, &[u8]); 16] = [
        ("khp-version", b"1"),
        ("kafka_correlationId", ID),
        ("kafka_replyTopic", b"replies"),
        ("kafka_replyPartition", b"\0\0\x01\x02"),
        ("khp-deadline", b"1700000030000"),
        ("khp-timeout", b"30000"),
        ("khp-client-ip", b"192.0.2.1"),
        ("khp-principal", b"orders"),
        (":method", b"POST"),
        (":path", b"/a%20b/\xc3\xbc?x=1&x=2"),
        (":authority", b"shop.example:8080"),
        (":scheme", b"https"),
        ("accept", b"a"),
        ("x-raw", b"\xff\t\x80"),
        ("accept", b""),
        ("content-length", b"3"),
    ];
    assert_eq!(record.headers, fields(&golden));
}

#[test]
fn no_body_and_an_empty_one_are_told_apart_and_neither_is_null() {
    let none = encode_request(Request {
        body: None,
        ..request()
    });
    assert_eq!(none.value, Bytes::new());
    assert!(none.headers.contains(&(Cow::Borrowed("khp-body"), bytes(b"none"))));
    let empty = encode_request(Request {
        body: Some(Bytes::new()),
        ..request()
    });
    assert_eq!(empty.value, Bytes::new());
    assert!(!empty.headers.iter().any(|(name, _)| name == "khp-body"));
    // From elsewhere: null is none, and a body that is there counts whatever is said of it.
    let mut record = request_with(&[(b"khp-body", b"none")]);
    record.value = Some(bytes(b"x"));
    assert_eq!(decode_request(&record).unwrap().body, Some(bytes(b"x")));
    assert_eq!(
        decode_request(&RawRecord {
            value: None,
            ..request_with(&[])
        })
        .unwrap()
        .body,
        None
    );
}

#[test]
fn a_reply_is_written_as_the_readme_has_it() {
    let response = Response {
        correlation_id: bytes(ID),
        status: 504,
        headers: fields(&[("set-cookie", b"a=1"), ("set-cookie", b"b=2")]),
        body: bytes(b"late"),
        error: Some(ReplyError::BackendTimeout),
    };
    let golden: [(&str, &[u8]); 6] = [
        ("khp-version", b"1"),
        ("kafka_correlationId", ID),
        (":status", b"504"),
        ("khp-error", b"backend-timeout"),
        ("set-cookie", b"a=1"),
        ("set-cookie", b"b=2"),
    ];
    assert_eq!(
        encode_response(response),
        Record {
            key: None,
            value: bytes(b"late"),
            headers: fields(&golden)
        }
    );
}

#[test]
fn a_spring_listener_answers_as_it_is() {
    let response = decode_response(&reply_with(&[
        (b"__TypeId__", b"[B"),
        (b"spring_json_header_types", b"{\n}"),
    ]))
    .unwrap();
    let expected = Response {
        correlation_id: bytes(ID),
        status: 200,
        headers: fields(&[("content-type", b"application/octet-stream")]),
        body: bytes(b"hello"),
        error: None,
    };
    assert_eq!(response, expected);
    assert!(CorrelationId::from_bytes(&response.correlation_id).is_some());
    // One that copies every header of the request.
    let copied = decode_response(&reply_with(&[
        (b"khp-version", b"1"),
        (b":path", b"/"),
        (b"khp-deadline", b"x"),
    ]))
    .unwrap();
    assert_eq!(copied, expected);
}

#[test]
fn a_content_type_is_added_only_where_a_body_of_elsewhere_lacks_one() {
    let types = |record: &RawRecord| decode_response(record).unwrap().headers;
    assert_eq!(
        types(&reply_with(&[(b"Content-Type", b"text/plain")])),
        fields(&[("content-type", b"text/plain")])
    );
    assert_eq!(types(&reply_with(&[(b"khp-version", b"1"), (b":status", b"200")])), []);
    assert_eq!(
        types(&RawRecord {
            value: None,
            ..reply_with(&[(b":status", b"204")])
        }),
        []
    );
}

#[test]
fn an_echoed_id_is_opaque() {
    let record = raw(None, &[(b"kafka_correlationId", b"any\0\xff")]);
    assert_eq!(decode_response(&record).unwrap().correlation_id, bytes(b"any\0\xff"));
}

#[test]
fn native_is_what_has_a_version_or_an_id() {
    assert!(is_native(&raw(None, &[(b"\xff", b""), (b"khp-version", b"9")])));
    assert!(is_native(&raw(None, &[(b"kafka_correlationId", b"")])));
    assert!(!is_native(&raw(
        Some(b"{}"),
        &[(b"correlation_id", ID), (b":method", b"GET")]
    )));
}

#[test]
fn a_reply_partition_is_an_int_or_text() {
    let read = |value: &[u8]| {
        decode_request(&request_with(&[(b"kafka_replyPartition", value)]))
            .unwrap()
            .reply_partition
    };
    assert_eq!(read(b"\0\0\0\x05"), Some(5));
    assert_eq!(read(b"\0\x01\0\0"), Some(65_536));
    assert_eq!(read(b"5"), Some(5));
    assert_eq!(read(b"1234"), Some(1234));
    for out_of_range in [
        &b""[..],
        b"-1",
        b"\xff\xff\xff\xff",
        b"\x01\0\0\0",
        b"x",
        b"\0\0\0",
        b"99999999999",
    ] {
        assert_eq!(read(out_of_range), None, "{}", out_of_range.escape_ascii());
    }
}

#[test]
fn times_are_numbers_of_milliseconds() {
    let read =
        |value: &[u8]| decode_request(&request_with(&[(b"khp-deadline", value)])).map(|request| request.deadline_ms);
    assert_eq!(read(b"0"), Ok(Some(0)));
    assert_eq!(read(b"1700000030000"), Ok(Some(1_700_000_030_000)));
    assert_eq!(read(b"9223372036854775807"), Ok(Some(MAX_TIME_MS)));
    for bad in [&b""[..], b"-1", b"soon", b"1.5", b" 1", b"9223372036854775808", b"\xff"] {
        assert_eq!(
            read(bad).unwrap_err().reason,
            "khp-deadline is not a number of milliseconds"
        );
    }
    assert!(decode_request(&request_with(&[(b"khp-timeout", b"-5")])).is_err());
}

#[test]
fn a_malformed_record_still_tells_where_its_client_waits() {
    let more: [(&[u8], &[u8]); 3] = [
        (b"bad\xffname", b""),
        (b"kafka_replyTopic", b"replies"),
        (b"kafka_replyPartition", b"\0\0\0\x02"),
    ];
    let expected = WireError {
        reason: r"header bad\xffname: its name is not UTF-8".into(),
        correlation_id: Some(bytes(ID)),
        reply_topic: Some("replies".into()),
        reply_partition: Some(2),
    };
    assert_eq!(decode_request(&request_with(&more)), Err(expected.clone()));
    assert_eq!(decode_response(&reply_with(&more)), Err(expected));
}

#[test]
fn a_request_that_http_cannot_carry_is_malformed() {
    let cases: [(Headers, &str); 20] = [
        (&[(b"khp-version", b"2")], "unknown khp-version"),
        (&[(b"kafka_correlationId", b"")], "no kafka_correlationId"),
        (&[(b":method", b"")], "no :method"),
        (&[(b":method", b"GE T")], ":method is not a legal method"),
        (&[(b":method", b"CONNECT")], ":method is not a legal method"),
        (&[(b":method", b"GET\r\n")], ":method is not legal text"),
        (&[(b":path", b"")], "no :path"),
        (&[(b":path", b"http://elsewhere/")], ":path does not begin with a slash"),
        (&[(b":path", b"*")], ":path does not begin with a slash"),
        (
            &[(b":path", b"/a#b")],
            ":path has a fragment, a space or a control byte",
        ),
        (
            &[(b":path", b"/ HTTP/1.1")],
            ":path has a fragment, a space or a control byte",
        ),
        (&[(b":path", b"/\t")], ":path has a fragment, a space or a control byte"),
        (&[(b":path", b"/\r\nx: y")], ":path is not legal text"),
        (&[(b":path", b"/\xff")], ":path is not legal text"),
        (&[(b":authority", b"a\nb")], ":authority is not legal text"),
        (&[(b"khp-client-ip", b"1\r\n")], "khp-client-ip is not legal text"),
        (&[(b"", b"")], "header : its name is not a token"),
        (&[(b"a b", b"")], "header a b: its name is not a token"),
        (&[(b"x-a", b"1\r\nx-b: 2")], "header x-a: its value has control bytes"),
        (&[(b"te", b"\0")], "header te: its value has control bytes"),
    ];
    for (headers, reason) in cases {
        assert_eq!(decode_request(&request_with(headers)).unwrap_err().reason, reason);
    }
    assert_eq!(
        decode_request(&raw(None, &[(b"kafka_correlationId", ID)]))
            .unwrap_err()
            .reason,
        "no :method"
    );
    assert!(decode_request(&request_with(&[(b":method", b"OPTIONS"), (b":path", b"*")])).is_ok());
}

#[test]
fn a_status_is_200_to_599() {
    let read = |value: &[u8]| {
        decode_response(&reply_with(&[(b":status", value)]))
            .map(|response| response.status)
            .ok()
    };
    assert_eq!((read(b"200"), read(b"599")), (Some(200), Some(599)));
    for bad in [&b""[..], b"199", b"600", b"101", b"-200", b"2e2", b"200 OK", b"70000"] {
        assert_eq!(read(bad), None, "{}", bad.escape_ascii());
    }
}

#[test]
fn only_end_to_end_fields_reach_http_in_lower_case() {
    let mut record = request_with(&[
        (b"X-Upper", b"1"),
        (b"Connection", b"keep-alive, X-Hop"),
        (b"x-hop", b"2"),
        (b"Transfer-Encoding", b"chunked"),
        (b"KHP-Anything", b"3"),
        (b"correlation_id", b"4"),
        (b"X-Kafka-Topic", b"5"),
        (b":unknown", b"6"),
    ]);
    record.headers.push((bytes(b"x-null"), None));
    assert_eq!(
        decode_request(&record).unwrap().headers,
        fields(&[("x-upper", b"1"), ("x-null", b"")])
    );

    let forged = fields(&[("khp-client-ip", b"10.0.0.1"), ("upgrade", b"x"), (":path", b"/admin")]);
    let decoded = decode_request(&sent(encode_request(Request {
        headers: forged,
        ..request()
    })))
    .unwrap();
    assert_eq!(
        decoded,
        Request {
            headers: vec![],
            ..request()
        }
    );
}

#[test]
fn far_too_many_headers_are_malformed_and_not_slow() {
    let many: Vec<(&[u8], &[u8])> = vec![(b"x-a", b"1"); 10_000];
    let listing = b"x-a,".repeat(250_000);
    let mut few = many[..990].to_vec();
    few.push((b"connection", &listing));
    let start = Instant::now();
    assert_eq!(
        decode_request(&request_with(&many)).unwrap_err().reason,
        "more than 1000 headers"
    );
    assert_eq!(
        decode_request(&request_with(&few)).unwrap_err().reason,
        "connection lists too many names"
    );
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(decode_request(&request_with(&many[..997])).is_ok());
}

#[test]
fn the_encoded_size_counts_what_is_written() {
    let record = Record {
        key: Some(bytes(b"key")),
        value: bytes(b"value"),
        headers: fields(&[("a", b"bc"), ("d", b"")]),
    };
    assert_eq!(record.encoded_size(), 61 + 36 + 3 + 5 + (10 + 3) + (10 + 1));
}

#[test]
fn a_request_that_waited_before_it_was_sent_says_when_it_was_sent() {
    let mut record = encode_request(request());
    set_timeout(&mut record, Duration::from_millis(28_900));
    let decoded = decode_request(&sent(record)).unwrap();
    assert_eq!(
        (decoded.deadline_ms, decoded.timeout_ms),
        (Some(1_700_000_030_000), Some(28_900))
    );
}
