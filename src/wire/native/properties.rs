//! What holds for every request, response and record.

use proptest::prelude::*;

use super::tests::{raw, reply_with, request_with};
use super::*;
use crate::wire::idempotency::identity::Fingerprint;
use crate::wire::idempotency::{Idempotency, Store};
use crate::wire::invariants::{native_reply, native_request, sent};

pub(in crate::wire) fn any_bytes(size: std::ops::Range<usize>) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), size).prop_map(Bytes::from)
}

fn legal_fields() -> impl Strategy<Value = Fields> {
    let passes = |name: &String| !headers::is_reserved(name) && !headers::is_hop_by_hop(name);
    // Few names, so that some repeat, and any name.
    let name = prop_oneof!["[ab]", "[a-z0-9!#$%&'*+.^_`|~-]{1,12}"].prop_filter("end-to-end", passes);
    let byte = any::<u8>().prop_map(|byte| {
        if headers::value_is_legal(&[byte]) {
            byte
        } else {
            byte | 0x80
        }
    });
    let value = prop::collection::vec(byte, 0..20).prop_map(Bytes::from);
    prop::collection::vec((name.prop_map(Cow::Owned), value), 0..12)
}

prop_compose! {
    pub(in crate::wire) fn any_request()(
        correlation_id in any_bytes(1..40),
        (method, path) in prop_oneof![
            (
                "[A-Za-z!#$%&'*+.^_`|~-]{1,10}".prop_filter("has no path", |method| method != "CONNECT"),
                "/[^# \\pC]{0,40}",
            ),
            Just(("OPTIONS".to_owned(), "*".to_owned())),
        ],
        (authority, scheme) in ("[^\\pC]{0,20}", "(https?)?"),
        headers in legal_fields(),
        (body, key) in (prop::option::of(any_bytes(0..60)), prop::option::of(any_bytes(0..10))),
        (reply_topic, client_ip) in (prop::option::of("[a-zA-Z0-9._-]{1,249}"), prop::option::of("[0-9a-f:.]{1,39}")),
        principal in prop::option::of("[^\\pC]{1,20}"),
        reply_partition in prop::option::of(0..1 << 24),
        (deadline_ms, timeout_ms) in (prop::option::of(0..=MAX_TIME_MS), prop::option::of(0..=MAX_TIME_MS)),
        accepts_stream in prop::option::of(prop_oneof![
            any::<u64>().prop_map(|window| StreamOffer { window, instance: InstanceId::new() }),
            Just(StreamOffer::STORED),
        ]),
        idempotency in prop::option::of((any::<[u8; 16]>(), any::<u64>(), prop::sample::select(vec![Store::Success, Store::All]))),
        place in prop::option::of((any::<u16>(), any::<u32>(), any::<u32>(), any::<u64>())),
    ) -> Request {
        let place = place.filter(|_| body.is_none());
        let body_elsewhere = place.map(|(partition, first, more, length)| BodyPlace {
            partition: partition.into(), first: first.into(), last: i64::from(first) + i64::from(more), length,
        });
        let idempotency = idempotency.filter(|_| key.as_ref().is_some_and(|key| !key.is_empty()));
        let idempotency = idempotency.map(|(fingerprint, ttl_ms, store)| Idempotency {
            fingerprint: Fingerprint(fingerprint), ttl_ms, store,
        });
        Request {
            correlation_id, method, path, authority, scheme, headers, body, body_elsewhere, accepts_stream, reply_topic, reply_partition, deadline_ms,
            timeout_ms, client_ip, principal, key, idempotency,
        }
    }
}

prop_compose! {
    pub(in crate::wire) fn any_response()(
        correlation_id in any_bytes(1..40),
        status in 200..=599_u16,
        headers in legal_fields(),
        body in any_bytes(0..60),
        error in prop::option::of(prop::sample::select(ReplyError::ALL.to_vec())),
    ) -> Response {
        Response { correlation_id, status, headers, body, error }
    }
}

prop_compose! {
    /// Arbitrary records, many of them close to legal ones: names of ours and of HTTP, in any case, with arbitrary or
    /// null values.
    fn any_record()(
        start in prop_oneof![Just(request_with(&[])), Just(reply_with(&[])), Just(raw(None, &[]))],
        more in prop::collection::vec((
            prop_oneof![
                any_bytes(0..12),
                prop::sample::select(&[
                    "KHP-version", ":status", ":path", ":Method", "kafka_correlationId", "khp-deadline", "khp-body",
                    "khp-error", "kafka_replyTopic", "kafka_replyPartition", "Connection", "TE", "Content-Type", "x-a",
                ][..]).prop_map(|name| Bytes::from_static(name.as_bytes())),
            ],
            prop::option::of(prop_oneof![
                any_bytes(0..20),
                "[ -~]{0,20}".prop_map(Bytes::from),
                Just(Bytes::from_static(b"1")),
            ]),
        ), 0..8),
        (key, value) in (prop::option::of(any_bytes(0..10)), prop::option::of(any_bytes(0..60))),
    ) -> RawRecord {
        let headers = [start.headers, more].concat();
        RawRecord { key, value, headers, ..raw(None, &[]) }
    }
}

proptest! {
    #[test]
    fn a_request_survives_the_wire(request in any_request()) {
        let record = sent(encode_request(request.clone()));
        prop_assert!(is_native(&record));
        prop_assert_eq!(decode_request(&record), Ok(request));
    }

    #[test]
    fn a_response_survives_the_wire(response in any_response()) {
        let record = sent(encode_response(response.clone()));
        prop_assert!(is_native(&record));
        prop_assert_eq!(decode_response(&record), Ok(response));
    }

    #[test]
    fn no_record_makes_a_decoder_panic_or_lets_reserved_fields_out(record in any_record()) {
        is_native(&record);
        native_request(&record);
        native_reply(&record);
    }
}
