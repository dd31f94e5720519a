//! What holds for every request, response and record.

use proptest::prelude::*;

use super::*;
use crate::wire::invariants::{as_json_tells, json_reply, json_request, sent};
use crate::wire::native::properties::{any_bytes, any_request, any_response};
use crate::wire::native::tests::raw;
use crate::wire::{Format, native};

const NOW_MS: i64 = 1_700_000_000_123;

prop_compose! {
    /// Arbitrary envelopes, many of them close to legal ones.
    fn any_envelope()(
        mut envelope in prop_oneof![
            any_request().prop_map(|request| encode_request(request, NOW_MS).value),
            any_response().prop_map(|response| encode_response(response, NOW_MS).value),
        ].prop_map(|value| serde_json::from_slice::<Value>(&value).unwrap()),
        changes in prop::collection::vec((
            prop::sample::select(&[
                "correlation_id", "timestamp", "method", "path", "query", "query_params", "headers", "header_list", "body",
                "body_encoding", "client_ip", "deadline", "status_code", "error", "backend_url", "response_topic",
            ][..]),
            prop_oneof![
                Just(None),
                prop::sample::select(&[
                    "null", "7", "-1", "1e300", "true", "\"\"", "\"/a b?c#d%\\u0000\"", "\"base64\"", "[]", "{}", "[[\"A\",\"b\"]]",
                    "[[\"a\",{\"base64\":\"/w==\"}]]", "[[\"a\",{\"base64\":\"?\"}]]", "{\"A b\":\"c\"}", "{\"X\":\"\\n\"}",
                    "{\"a\":[1,null,true,\"x\"],\"b\":{}}", "{\"connection\":\"x, close\",\"x\":\"1\",\"Khp-A\":\"2\"}",
                ][..]).prop_map(|text| Some(serde_json::from_str::<Value>(text).unwrap())),
            ],
        ), 0..4),
        cut in prop::option::of(0..200_usize),
        with_header: bool,
    ) -> RawRecord {
        for (name, value) in changes {
            match value {
                Some(value) => envelope[name] = value,
                None => drop(envelope.as_object_mut().unwrap().remove(name)),
            }
        }
        let mut value = serde_json::to_vec(&envelope).unwrap();
        value.truncate(cut.unwrap_or(value.len()));
        raw(Some(&value), if with_header { &[(b"correlation_id", b"id")] } else { &[] })
    }
}

fn check(record: &RawRecord) {
    json_request(record);
    json_reply(record);
}

proptest! {
    #[test]
    fn a_request_survives_the_wire(request in any_request()) {
        let request = as_json_tells(request);
        let record = sent(encode_request(request.clone(), NOW_MS));
        prop_assert_eq!(Format::of(&record), Format::Json);
        prop_assert_eq!(decode_request(&record), Ok(request));
    }

    #[test]
    fn a_response_survives_the_wire(response in any_response()) {
        let record = sent(encode_response(response.clone(), NOW_MS));
        prop_assert_eq!(Format::of(&record), Format::Json);
        prop_assert_eq!(decode_response(&record), Ok(response));
    }

    #[test]
    fn the_envelope_alone_is_enough(mut response in any_response(), id in "[^\\pC]{1,40}") {
        response.correlation_id = id.into();
        let record = sent(encode_response(response.clone(), NOW_MS));
        let bare = RawRecord { headers: Vec::new(), ..record };
        prop_assert_eq!(envelope_id(bare.value.as_deref().unwrap()), Some(response.correlation_id.clone()));
        prop_assert_eq!(decode_response(&bare), Ok(response));
    }

    #[test]
    fn no_envelope_makes_a_decoder_panic_or_lets_reserved_fields_out(record in any_envelope()) {
        check(&record);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(value in prop_oneof![any_bytes(0..60), "[\\[\\]{}:,\"0-9a-z\\\\]{0,40}".prop_map(Bytes::from)]) {
        check(&raw(Some(&value), &[]));
        check(&raw(Some(&value), &[(b"correlation_id", b"\xff")]));
    }

    #[test]
    fn formats_are_told_apart(request in any_request()) {
        prop_assert_eq!(Format::of(&sent(native::encode_request(request.clone()))), Format::Native);
        prop_assert_eq!(Format::of(&sent(encode_request(request, NOW_MS))), Format::Json);
    }
}
