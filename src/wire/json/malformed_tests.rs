//! What is no envelope, and what HTTP could not carry.

use serde_json::json;

use super::tests::{GOLDEN_GET, GOLDEN_REPLY, ID_TEXT, fields, from_predecessor, reply_with, request_with};
use super::*;
use crate::wire::Format;
use crate::wire::native::tests::{bytes, raw};

#[test]
fn what_makes_no_sense_is_malformed_and_still_tells_who_waits() {
    let reason = |record: &RawRecord| {
        let error = decode_request(record).unwrap_err();
        assert_eq!(error.correlation_id, Some(ID_TEXT.into()), "{error}");
        assert_eq!((error.reply_topic, error.reply_partition), (None, None));
        error.reason
    };
    for (changes, expected) in [
        (json!({ "method": "GE T" }), ":method is not a legal method"),
        (json!({ "method": "CONNECT" }), ":method is not a legal method"),
        (
            json!({ "path": "http://elsewhere/" }),
            ":path does not begin with a slash",
        ),
        (
            json!({ "query": "a b" }),
            ":path has a fragment, a space or a control byte",
        ),
        (
            json!({ "path": "/a\r\n", "query": null }),
            ":path has a fragment, a space or a control byte",
        ),
        (
            json!({ "headers": { "x-a": "1\r\nx-b: 2" } }),
            "header x-a: its value has control bytes",
        ),
        (
            json!({ "headers": { "x a": "1" } }),
            "header x a: its name is not a token",
        ),
        (json!({ "client_ip": "1\n" }), "client_ip is not legal text"),
        (json!({ "deadline": -1 }), "deadline is not a number of milliseconds"),
        (json!({ "body": "?", "body_encoding": "base64" }), "body is not base64"),
        (
            json!({ "body": "eA==", "body_encoding": "gzip" }),
            "body_encoding does not fit the body",
        ),
        (
            json!({ "header_list": [["a", { "base64": "?" }]] }),
            "header_list has a value that is not base64",
        ),
        (
            json!({ "header_list": vec![("a", "b"); 1001] }),
            "more than 1000 headers",
        ),
    ] {
        assert_eq!(reason(&request_with(changes)), expected);
    }
    let secret = json!("s3cret");
    for name in ["timestamp", "query_params", "headers", "header_list", "deadline"] {
        let reason = reason(&request_with(json!({ name: secret })));
        assert!(
            reason.contains("of a wrong type") && !reason.contains("s3cret"),
            "{reason}"
        );
    }
    assert!(reason(&request_with(json!({ "method": null }))).contains("of a wrong type"));
    assert!(reason(&from_predecessor(&GOLDEN_GET[..40])).contains("cut off"));
    assert!(reason(&from_predecessor(b"\xff")).contains("not JSON"));
    assert!(
        reason(&RawRecord {
            value: None,
            ..from_predecessor(b"")
        })
        .contains("cut off")
    );
    assert!(reason(&from_predecessor(&b"[".repeat(100_000))).contains("not an envelope"));
}

#[test]
fn a_message_without_an_id_is_malformed() {
    for id in [json!(null), json!("")] {
        let error = decode_request(&request_with(json!({ "correlation_id": id }))).unwrap_err();
        assert_eq!(
            (error.reason.as_str(), error.correlation_id),
            ("no correlation_id", None)
        );
    }
    let garbage = raw(Some(b"\xff garbage"), &[]);
    assert_eq!(Format::of(&garbage), Format::Json);
    assert_eq!(decode_request(&garbage).unwrap_err().correlation_id, None);
    // The header goes before the envelope, and is echoed as it was, text or not.
    let both = raw(Some(GOLDEN_REPLY), &[(b"correlation_id", b"\xff")]);
    let response = decode_response(&both).unwrap();
    assert_eq!(response.correlation_id, bytes(b"\xff"));
    assert_eq!(
        encode_response(response, 0).headers,
        fields(&[("correlation_id", b"\xff")])
    );
}

#[test]
fn a_status_is_200_to_599() {
    let read = |status: Value| {
        decode_response(&reply_with(json!({ "status_code": status })))
            .map(|reply| reply.status)
            .ok()
    };
    assert_eq!((read(json!(200)), read(json!(599))), (Some(200), Some(599)));
    for bad in [
        json!(99),
        json!(199),
        json!(600),
        json!(-1),
        json!("200"),
        json!(2e2),
        json!(null),
        json!(70_000),
    ] {
        assert_eq!(read(bad.clone()), None, "{bad}");
    }
}
