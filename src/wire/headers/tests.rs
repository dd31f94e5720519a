//! Which fields pass, and which names and values are legal.

use super::*;

#[test]
fn reserved_names_are_known_in_any_case() {
    for name in [
        KHP_DEADLINE,
        KAFKA_CORRELATION_ID,
        DLT_ORIGINAL_OFFSET,
        METHOD,
        STATUS,
        ":",
        X_KAFKA_TOPIC,
    ] {
        assert!(is_reserved(name), "{name}");
    }
    for name in [
        "KHP-x",
        "Kafka_Anything",
        "spring_json_header_types",
        "__TypeId__",
        "X-KAFKA-TOPIC",
        "Correlation_ID",
        "khp_correlation_id",
        "X_Kafka_Topic",
    ] {
        assert!(is_reserved(name), "{name}");
    }
    for name in [
        "",
        "khp",
        "kafka-x",
        "_x",
        "x-kafka",
        "correlation_id2",
        "correlation-id",
        VIA,
        X_REQUEST_ID,
        "é",
    ] {
        assert!(!is_reserved(name), "{name}");
    }
}

#[test]
fn hop_by_hop_names_are_known_in_any_case() {
    for name in [
        "Connection",
        "KEEP-ALIVE",
        "Proxy-Connection",
        "te",
        "transfer-encoding",
        "Upgrade",
        "trailer",
        "Transfer_Encoding",
    ] {
        assert!(is_hop_by_hop(name), "{name}");
    }
    assert!(!is_hop_by_hop("Proxy-Authenticate") && !is_hop_by_hop("proxy-authorization"));
    assert!(!is_hop_by_hop("trailers") && !is_hop_by_hop("content-length") && !is_hop_by_hop("www-authenticate"));
}

#[test]
fn what_says_who_the_client_is_is_known_however_it_is_written() {
    for name in [
        "X-Forwarded-For",
        "x_forwarded_proto",
        "X-FORWARDED-anything",
        "Forwarded",
        "X-Real_IP",
    ] {
        assert!(is_about_client(name), "{name}");
    }
    for name in [
        "x-forwarded",
        "x-forward-for",
        "forwarded-for",
        "x-real-ip2",
        "via",
        "x-request-id",
        "",
    ] {
        assert!(!is_about_client(name), "{name}");
    }
}

#[test]
fn what_each_hop_writes_itself_is_known_however_it_is_written() {
    for name in ["Host", "content-length", "Content_Length", "expect"] {
        assert!(is_of_each_hop(name), "{name}");
    }
    assert!(!is_of_each_hop("content-type") && !is_of_each_hop("x-host"));
}

#[test]
fn connection_options_are_those_of_all_values() {
    let values = [&b"close, X-Hop ,,\t"[..], b"", b"x-other\xff"];
    assert_eq!(connection_options(values), [&b"close"[..], b"X-Hop", b"x-other\xff"]);
}

#[test]
fn connection_drops_nothing_that_says_who_asks() {
    let names = [
        "x-forwarded-for",
        "X-Forwarded-Proto",
        "forwarded",
        "x-real-ip",
        "Authorization",
        "cookie",
        "x-request-id",
        "traceparent",
    ];
    let listed: Vec<&[u8]> = names
        .iter()
        .map(|name| name.as_bytes())
        .chain([&b"x-hop"[..]])
        .collect();
    let fields = names.into_iter().chain(["x-hop"]).map(|name| (name, ()));
    let passed: Vec<&str> = end_to_end(fields, &listed).map(|(name, ())| name).collect();
    assert_eq!(passed, names);
}

#[test]
fn only_end_to_end_fields_pass_in_order() {
    let fields = [
        ("accept", 1),
        ("te", 2),
        ("x-hop", 3),
        ("khp-error", 4),
        ("accept", 5),
        ("X-HOP", 6),
        ("via", 7),
    ];
    let passed: Vec<_> = end_to_end(fields, &connection_options([&b"X-hop"[..]])).collect();
    assert_eq!(passed, [("accept", 1), ("accept", 5), ("via", 7)]);
}

#[test]
fn values_and_names_are_legal_as_http_has_them() {
    for value in [&b""[..], b"a b\tc", b"\x80\xff", b"\"quoted\" \\ ~", &[b'x'; 500]] {
        assert!(value_is_legal(value), "{}", value.escape_ascii());
    }
    for value in [&b"\r"[..], b"a\nb", b"\0", b"a\x7f", b"\x1b[0m"] {
        assert!(!value_is_legal(value), "{}", value.escape_ascii());
    }
    for name in ["a", "X-1", "!#$%&'*+-.^_`|~"] {
        assert!(name_is_legal(name), "{name}");
    }
    for name in ["", "a b", "a:", ":a", "a\n", "é", "a(b)", "\0"] {
        assert!(!name_is_legal(name), "{name}");
    }
}
