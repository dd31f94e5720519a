#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::wire::invariants::sent;
use crate::wire::native::tests::{bytes, raw};
use crate::wire::{self, Format};

/// Records as kafka-http-proxy 1.0.1 writes them.
pub(super) const GOLDEN_GET: &[u8] = include_bytes!("golden/request-get.json");
const GOLDEN_POST: &[u8] = include_bytes!("golden/request-post.json");
pub(super) const GOLDEN_REPLY: &[u8] = include_bytes!("golden/reply-text.json");
const GOLDEN_REPLY_JSON: &[u8] = include_bytes!("golden/reply-json.json");

pub(super) const ID_TEXT: &str = "3f1c9a52-7d0e-4b6a-9c41-5e2d8f7a6b10";
/// One of ours, and its text.
const OUR_ID: &[u8] = b"\x12\x34\x56\x78\x9a\xbc\x8d\xef\x80\x01\x02\x03\x04\x05\x06\x07";
const OUR_ID_TEXT: &str = "12345678-9abc-8def-8001-020304050607";

pub(super) fn fields(fields: &[(&'static str, &'static [u8])]) -> Fields {
    fields
        .iter()
        .map(|(name, value)| (Cow::Borrowed(*name), Bytes::from_static(value)))
        .collect()
}

pub(super) fn from_predecessor(value: &[u8]) -> RawRecord {
    raw(Some(value), &[(b"correlation_id", ID_TEXT.as_bytes())])
}

fn envelope(record: &Record) -> Value {
    serde_json::from_slice(&record.value).unwrap()
}

fn request() -> Request {
    Request {
        correlation_id: Bytes::from_static(OUR_ID),
        method: "POST".into(),
        path: "/a%20b//c/?k=2&x=%C3%BC+1&k=1&flag".into(),
        authority: "shop.example:8080".into(),
        scheme: "http".into(),
        headers: fields(&[("accept", b"text/plain"), ("x-id", b"7")]),
        body: Some(Bytes::from_static("žluť".as_bytes())),
        body_elsewhere: None,
        accepts_stream: None,
        reply_topic: Some("replies".into()),
        reply_partition: Some(3),
        deadline_ms: Some(1_700_000_030_500),
        timeout_ms: Some(30_000),
        client_ip: Some("192.0.2.1".into()),
        principal: None,
        idempotency: None,
        key: Some(Bytes::from_static(b"k")),
    }
}

fn response() -> Response {
    Response {
        correlation_id: ID_TEXT.into(),
        status: 201,
        headers: fields(&[("content-type", b"text/plain")]),
        body: Bytes::from_static(b"done"),
        error: None,
    }
}

/// A request's envelope with these fields changed.
pub(super) fn request_with(changes: Value) -> RawRecord {
    let mut value: Value = serde_json::from_slice(GOLDEN_GET).unwrap();
    for (name, change) in changes.as_object().unwrap() {
        value[name] = change.clone();
    }
    raw(Some(value.to_string().as_bytes()), &[])
}

pub(super) fn reply_with(changes: Value) -> RawRecord {
    let mut value: Value = serde_json::from_slice(GOLDEN_REPLY).unwrap();
    for (name, change) in changes.as_object().unwrap() {
        value[name] = change.clone();
    }
    raw(Some(value.to_string().as_bytes()), &[])
}

#[test]
fn the_predecessors_requests_are_read() {
    let get = Request {
        correlation_id: ID_TEXT.into(),
        method: "GET".into(),
        path: "/orders/7?colour=blue+green&empty=".into(),
        authority: "shop.example".into(),
        scheme: String::new(),
        headers: fields(&[("accept", b"*/*"), ("user-agent", b"curl/7.88.1")]),
        body: None,
        body_elsewhere: None,
        accepts_stream: None,
        reply_topic: None,
        reply_partition: None,
        deadline_ms: None,
        timeout_ms: None,
        client_ip: Some("192.0.2.7".into()),
        principal: None,
        idempotency: None,
        key: None,
    };
    assert_eq!(wire::decode_request(&from_predecessor(GOLDEN_GET)), Ok(get.clone()));
    // Without the record header.
    assert_eq!(wire::decode_request(&raw(Some(GOLDEN_GET), &[])), Ok(get.clone()));
    let post = Request {
        method: "POST".into(),
        path: "/orders".into(),
        headers: fields(&[("content-type", b"application/json"), ("content-length", b"16")]),
        body: Some(Bytes::from_static(b"{\"colour\":\"blue\"}")),
        ..get
    };
    assert_eq!(wire::decode_request(&from_predecessor(GOLDEN_POST)), Ok(post));
}

#[test]
fn the_predecessors_replies_are_read() {
    let text = Response {
        correlation_id: ID_TEXT.into(),
        status: 404,
        headers: fields(&[("content-type", b"text/plain; charset=utf-8"), ("x-backend", b"orders")]),
        body: bytes("nicht gefunden: Stück 7\n".as_bytes()),
        error: None,
    };
    assert_eq!(wire::decode_response(&from_predecessor(GOLDEN_REPLY)), Ok(text.clone()));
    assert_eq!(wire::decode_response(&raw(Some(GOLDEN_REPLY), &[])), Ok(text.clone()));
    // A body that is JSON is passed on as it was written, numbers that no float can hold included.
    let json = Response {
        status: 200,
        headers: fields(&[("content-type", b"application/json")]),
        body: bytes(br#"{"z": 1.10, "a": [12345678901234567890, null]}"#),
        ..text
    };
    assert_eq!(wire::decode_response(&from_predecessor(GOLDEN_REPLY_JSON)), Ok(json));
}

#[test]
fn a_request_is_written_as_the_readme_has_it() {
    let record = encode_request(request(), 5);
    assert_eq!(record.key, Some(bytes(b"k")));
    assert_eq!(record.headers, fields(&[("correlation_id", OUR_ID_TEXT.as_bytes())]));
    let golden = json!({
        "correlation_id": OUR_ID_TEXT,
        "timestamp": 1_700_000_000.5,
        "method": "POST",
        "path": "/a%20b//c/",
        "query_params": { "k": ["2", "1"], "x": "ü 1", "flag": "" },
        "query": "k=2&x=%C3%BC+1&k=1&flag",
        "headers": { "host": "shop.example:8080", "accept": "text/plain", "x-id": "7" },
        "body": "žluť",
        "client_ip": "192.0.2.1",
        "deadline": 1_700_000_030_500_i64,
    });
    assert_eq!(envelope(&record), golden);
}

#[test]
fn a_reply_is_written_as_the_readme_has_it() {
    let record = encode_response(response(), 1_700_000_000_500);
    assert_eq!(
        (record.key.clone(), record.headers.clone()),
        (None, fields(&[("correlation_id", ID_TEXT.as_bytes())]))
    );
    let golden = json!({
        "correlation_id": ID_TEXT,
        "timestamp": 1_700_000_000.5,
        "status_code": 201,
        "headers": { "content-type": "text/plain" },
        "body": "done",
    });
    assert_eq!(envelope(&record), golden);
    let failed = Response {
        error: Some(ReplyError::BackendTimeout),
        ..response()
    };
    assert_eq!(envelope(&encode_response(failed, 0))["error"], "backend-timeout");
}

#[test]
fn what_an_object_cannot_say_is_listed_beside_it() {
    let many = fields(&[
        ("a", b"1"),
        ("set-cookie", b"x=1"),
        ("a", b"2"),
        ("set-cookie", b"y=2"),
        ("l", b"caf\xe9"),
    ]);
    let record = encode_response(
        Response {
            headers: many.clone(),
            body: bytes(b"\0\xff"),
            ..response()
        },
        0,
    );
    let written = envelope(&record);
    assert_eq!(
        written["headers"],
        json!({ "a": "1, 2", "set-cookie": "y=2", "l": "café" })
    );
    let list =
        json!([["a", "1"], ["set-cookie", "x=1"], ["a", "2"], ["set-cookie", "y=2"], ["l", { "base64": "Y2Fm6Q==" }]]);
    assert_eq!(written["header_list"], list);
    assert_eq!(
        (&written["body"], &written["body_encoding"]),
        (&json!("AP8="), &json!("base64"))
    );
    assert_eq!(decode_response(&sent(record)).unwrap().headers, many);
}

#[test]
fn no_body_and_an_empty_one_are_told_apart() {
    for (body, written) in [(None, Value::Null), (Some(Bytes::new()), json!(""))] {
        let record = encode_request(
            Request {
                body: body.clone(),
                ..request()
            },
            0,
        );
        assert_eq!(envelope(&record)["body"], written);
        assert_eq!(decode_request(&sent(record)).unwrap().body, body);
    }
    assert_eq!(
        decode_response(&reply_with(json!({ "body": null }))).unwrap().body,
        Bytes::new()
    );
}

#[test]
fn a_query_is_as_it_was_received_or_made_of_its_parameters() {
    let path = |changes| decode_request(&request_with(changes)).map(|request| request.path);
    for target in ["/", "/?", "/a//b/../%2F", "/ü?a=%zz&&=&a", "/x??y=?"] {
        let sent = sent(encode_request(
            Request {
                path: target.into(),
                ..request()
            },
            0,
        ));
        assert_eq!(decode_request(&sent).unwrap().path, target);
    }
    let text = |path: &str, params: Value| json!({ "path": path, "query_params": params });
    assert_eq!(
        path(text("/a b/ü%2F%/<x>", json!({}))).unwrap(),
        "/a%20b/%C3%BC%2F%25/%3Cx%3E"
    );
    assert_eq!(path(text("/\r\n#", json!(null))).unwrap(), "/%0D%0A%23");
    assert_eq!(path(text("/x?y=1", json!({ "z": 2 }))).unwrap(), "/x?y=1&z=2");
    let mixed = json!({ "b": ["1", 2, true, null], "a": "&=" });
    // serde_json's own maps are sorted.
    assert_eq!(path(text("/", mixed)).unwrap(), "/?a=%26%3D&b=1&b=2&b=true&b=");
    assert!(path(text("/", json!({ "b": {} }))).is_err());
}

#[test]
fn times_tell_how_long_somebody_waits() {
    let times = |changes| {
        let request = decode_request(&request_with(changes)).unwrap();
        (request.deadline_ms, request.timeout_ms)
    };
    assert_eq!(
        times(json!({ "timestamp": 1000.25, "deadline": 1_001_500 })),
        (Some(1_001_500), Some(1250))
    );
    assert_eq!(
        times(json!({ "timestamp": 5000, "deadline": 1_001_500 })),
        (Some(1_001_500), Some(0))
    );
    assert_eq!(
        times(json!({ "timestamp": null, "deadline": i64::MAX })),
        (Some(MAX_TIME_MS), None)
    );
    assert_eq!(times(json!({ "timestamp": 1e300, "deadline": 7 })), (Some(7), Some(0)));
    assert_eq!(times(json!({ "timestamp": 5000, "deadline": null })), (None, None));
}

#[test]
fn what_a_message_says_of_backends_and_reply_topics_is_passed_over() {
    let record =
        request_with(json!({ "backend_url": "http://elsewhere/", "response_topic": "ledger", "target_url": 7 }));
    assert_eq!(decode_request(&record), decode_request(&raw(Some(GOLDEN_GET), &[])));
}

#[test]
fn reserved_fields_and_those_of_one_hop_do_not_cross() {
    let headers = json!({ "X-End": "1", "Connection": "x-hop", "x-hop": "2", "KHP-Deadline": "3", "correlation_id": "4", "te": "5" });
    let request = decode_request(&request_with(json!({ "headers": headers }))).unwrap();
    assert_eq!(request.headers, fields(&[("x-end", b"1")]));
    let forged = fields(&[("khp-client-ip", b"10.0.0.1"), ("upgrade", b"x"), ("x", b"1")]);
    let record = encode_response(
        Response {
            headers: forged,
            ..response()
        },
        0,
    );
    assert_eq!(envelope(&record)["headers"], json!({ "x": "1" }));
}

#[test]
fn a_body_of_json_gets_a_type_where_it_lacks_one() {
    let headers = |body: Value, headers: Value| {
        decode_response(&reply_with(json!({ "body": body, "headers": headers })))
            .unwrap()
            .headers
    };
    assert_eq!(
        headers(json!([1]), json!({})),
        fields(&[("content-type", b"application/json")])
    );
    assert_eq!(
        headers(json!([1]), json!({ "Content-Type": "a/b" })),
        fields(&[("content-type", b"a/b")])
    );
    assert_eq!(headers(json!("text"), json!(null)), []);
}

#[test]
fn a_format_is_told_by_the_record() {
    assert_eq!(Format::of(&from_predecessor(GOLDEN_GET)), Format::Json);
    let both = [(&b"correlation_id"[..], &b"x"[..]), (b"kafka_correlationId", OUR_ID)];
    assert_eq!(Format::of(&raw(Some(GOLDEN_GET), &both)), Format::Native);
    for format in [Format::Native, Format::Json] {
        let record = format.encode_response(response());
        assert_eq!(
            record.format_and_id(),
            Some((format, &Bytes::from_static(ID_TEXT.as_bytes())))
        );
        assert_eq!(wire::decode_response(&sent(record)).unwrap(), response());
    }
}

#[test]
fn many_names_in_a_query_take_no_time() {
    const NAMES: usize = 200_000;
    let query: String = (0..NAMES).map(|number| format!("{number}={number}&0=x&")).collect();
    let began = std::time::Instant::now();
    let Object(params) = query_params(&query);
    // A tenth of a second; each name compared with all before it, 40 s.
    assert!(
        began.elapsed() < std::time::Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(params.len(), NAMES);
    assert_eq!(params[0].1.as_array().map(Vec::len), Some(NAMES + 1));
    assert_eq!(params[NAMES - 1], ("199999".into(), json!("199999")));
}
