//! What of a letter is printed without `--reveal`: the values of names that are known to hold no secret. Nobody can list the names that do.

use std::borrow::Cow;

use crate::wire::headers;

/// Printed in the place of any other value.
pub const MASK: &str = "*** (--reveal shows it)";

/// Header fields of records and of HTTP, in lower case.
const HARMLESS: [&str; 74] = [
    // Ours, and Spring Kafka's.
    headers::KHP_VERSION,
    headers::KHP_DEADLINE,
    headers::KHP_TIMEOUT,
    headers::KHP_BODY,
    headers::KHP_BODY_PARTITION,
    headers::KHP_BODY_FIRST,
    headers::KHP_BODY_LAST,
    headers::KHP_BODY_LENGTH,
    headers::KHP_CLIENT_IP,
    headers::KHP_ERROR,
    headers::KHP_ATTEMPTS,
    headers::KHP_TRUNCATED,
    headers::KHP_REDRIVE,
    headers::KHP_SEAL_KEY,
    headers::KHP_CORRELATION_ID,
    headers::KAFKA_CORRELATION_ID,
    headers::KAFKA_REPLY_TOPIC,
    headers::KAFKA_REPLY_PARTITION,
    headers::DLT_ORIGINAL_TOPIC,
    headers::DLT_ORIGINAL_PARTITION,
    headers::DLT_ORIGINAL_OFFSET,
    headers::DLT_ORIGINAL_TIMESTAMP,
    headers::DLT_ORIGINAL_CONSUMER_GROUP,
    headers::DLT_EXCEPTION_MESSAGE,
    "kafka_dlt-original-timestamp-type",
    "kafka_dlt-exception-fqcn",
    "kafka_dlt-exception-cause-fqcn",
    headers::METHOD,
    // Without its query.
    headers::PATH,
    headers::AUTHORITY,
    headers::SCHEME,
    headers::STATUS,
    headers::CORRELATION_ID,
    // Of HTTP.
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    headers::CONTENT_TYPE,
    "date",
    "etag",
    "expires",
    "host",
    headers::IDEMPOTENCY_KEY,
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    headers::RETRY_AFTER,
    "server",
    "traceparent",
    "user-agent",
    "vary",
    headers::VIA,
    headers::X_FORWARDED_FOR,
    headers::X_FORWARDED_HOST,
    "x-forwarded-port",
    headers::X_FORWARDED_PROTO,
    headers::X_ORIGINAL_METHOD,
    headers::X_REQUEST_ID,
    "x-correlation-id",
];

/// Members of the json envelope that are printed as they are; its headers and its query are looked into.
const HARMLESS_MEMBERS: [&str; 9] = [
    "correlation_id",
    "timestamp",
    "method",
    "body",
    "body_encoding",
    "client_ip",
    "deadline",
    "status_code",
    "error",
];

/// Is the value of this header field, in whatever case, printed?
pub fn is_harmless(name: &str) -> bool {
    HARMLESS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Is this member of the json envelope printed?
pub fn is_harmless_member(name: &str) -> bool {
    HARMLESS_MEMBERS.contains(&name)
}

/// A path, its query masked: tokens travel there too.
pub fn without_query(path: &str) -> Cow<'_, str> {
    match path.split_once('?') {
        Some((path, query)) if !query.is_empty() => format!("{path}?{MASK}").into(),
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_whatever_name_are_not_harmless() {
        for name in [
            "authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "x-auth",
            "x-amz-security-token",
            "x-csrf",
            "sec-websocket-key",
            "referer",
            "location",
            "x-session",
            "khp-principal-secret",
        ] {
            assert!(!is_harmless(name), "{name}");
        }
        assert!(is_harmless("Content-Type") && is_harmless("KHP-Error") && is_harmless(":path"));
    }

    #[test]
    fn a_query_is_masked() {
        assert_eq!(without_query("/a?token=s3cret"), "/a?*** (--reveal shows it)");
        assert_eq!((without_query("/a"), without_query("/a?")), ("/a".into(), "/a?".into()));
    }
}
