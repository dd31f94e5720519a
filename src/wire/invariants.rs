//! What holds for every record that a decoder reads: checked by the property tests, by the fuzzer (`fuzz/`), and over the corpus that
//! it left.

use bytes::Bytes;

use super::body_pieces::BodyPiece;
use super::control::{Control, is_control};
use super::idempotency::memory::Mark;
use super::sealing::keys::SealingKey;
use super::sealing::{Binding, Sealing, is_sealed};
use super::stream::{self, Place, Then};
use super::{CorrelationId, Fields, RawFields, RawRecord, Record, Request, headers, http, json, native, path};

const NOW_MS: i64 = 1_700_000_000_123;

/// What a consumer gets of a record.
pub fn sent(record: Record) -> RawRecord {
    let bytes = |name: &str| Bytes::copy_from_slice(name.as_bytes());
    let headers = record.headers.into_iter();
    let headers = headers.map(|(name, value)| (bytes(&name), Some(value))).collect();
    received(record.key, Some(record.value), headers)
}

/// A record from somewhere.
pub fn received(key: Option<Bytes>, value: Option<Bytes>, headers: RawFields) -> RawRecord {
    RawRecord {
        topic: "orders".into(),
        partition: 0,
        offset: 0,
        timestamp: None,
        key,
        value,
        headers,
    }
}

/// The record that a fuzzer's input stands for: 0xFD between its parts, the last of which is the value. Each of the others is a header,
/// with 0xFE between name and value; without that the value is null.
pub fn record(input: &[u8]) -> RawRecord {
    let mut parts: Vec<&[u8]> = input.split(|byte| *byte == 0xfd).collect();
    let value = parts.pop().map(Bytes::copy_from_slice);
    let header = |part: &[u8]| {
        let mut halves = part.splitn(2, |byte| *byte == 0xfe).map(Bytes::copy_from_slice);
        (halves.next().unwrap_or_default(), halves.next())
    };
    received(None, value, parts.into_iter().map(header).collect())
}

/// Whatever is read as a native request is one that HTTP can carry, and survives the wire once more.
pub fn native_request(record: &RawRecord) {
    native::reply_address(record);
    if let Ok(request) = native::decode_request(record) {
        check_request(&request);
        let again = native::decode_request(&sent(native::encode_request(request.clone())));
        assert_eq!(again, Ok(request));
    }
}

/// As `native_request`, for a reply.
pub fn native_reply(record: &RawRecord) {
    if let Ok(response) = native::decode_response(record) {
        assert!(http::is_final_status(&response.status));
        check_fields(&response.headers);
        let again = native::decode_response(&sent(native::encode_response(response.clone())));
        assert_eq!(again, Ok(response));
    }
}

/// As `native_request`, for a piece of a streamed answer. What is read of it before its seal is taken off says the same.
pub fn piece(record: &RawRecord) {
    let (place, goes_on) = (stream::place_in_stream(record), stream::goes_on(record));
    if let Ok(piece) = stream::decode_piece(record) {
        let is_first = piece.seq == 0;
        assert_eq!(piece.head.is_some(), is_first);
        assert!(place == Some(Place::First) || !is_first, "{place:?}");
        assert!(piece.then != Then::More || goes_on == Some(piece.stream), "{goes_on:?}");
        if let Some(head) = &piece.head {
            assert!(http::is_final_status(&head.status));
            check_fields(&head.headers);
        }
        let again = sent(stream::encode_piece(piece.clone()));
        assert!(stream::is_piece(&again));
        assert_eq!(stream::decode_piece(&again), Ok(piece));
    }
}

/// As `native_request`, for a record of the control topic.
pub fn control(record: &RawRecord) {
    if let Ok(control) = Control::decode(record) {
        assert!(is_control(record));
        assert_eq!(Control::decode(&sent(control.clone().encode())), Ok(control));
    }
}

/// As `native_request`, for a piece of a request's body.
pub fn body_piece(record: &RawRecord) {
    if let Ok(piece) = BodyPiece::decode(record) {
        assert_eq!(BodyPiece::seq_of(record), Some(piece.seq));
        assert_eq!(BodyPiece::decode(&sent(piece.clone().encode())), Ok(piece));
    }
}

/// As `native_request`, for a record of the topic that remembers: its mark, and the answer in it.
pub fn memory_record(record: &RawRecord) {
    let record = RawRecord {
        key: Some(Bytes::from_static(b"key")),
        ..record.clone()
    };
    let Some(mark) = Mark::of(&record) else { return };
    let again = |answer| mark.encode(answer, None, &record.topic).map(sent);
    assert_eq!(again(None).as_ref().and_then(Mark::of).as_ref(), Some(&mark));
    let open = Sealing {
        keys: Vec::new(),
        require: false,
    };
    if let Ok(Some(remembered)) = mark.answer(&record, &open) {
        check_fields(&remembered.answer.headers);
        let again = again(Some(remembered.clone())).expect("it is not sealed");
        assert_eq!(Mark::of(&again).as_ref(), Some(&mark));
        assert_eq!(mark.answer(&again, &open).ok().flatten(), Some(remembered));
    }
}

/// As `native_request`, for the json format.
pub fn json_request(record: &RawRecord) {
    json::malformed(record, String::new());
    if let Ok(request) = json::decode_request(record) {
        check_request(&request);
        let again = json::decode_request(&sent(json::encode_request(request.clone(), NOW_MS)));
        let mut expected = as_json_tells(request);
        // A deadline without a time of sending gets one.
        if expected.timeout_ms.is_none() {
            expected.timeout_ms = again.as_ref().ok().and_then(|again| again.timeout_ms);
            expected.deadline_ms = again.as_ref().ok().and_then(|again| again.deadline_ms);
        }
        assert_eq!(again, Ok(expected));
    }
}

/// As `native_request`, for a reply in the json format.
pub fn json_reply(record: &RawRecord) {
    if let Ok(response) = json::decode_response(record) {
        assert!(http::is_final_status(&response.status));
        check_fields(&response.headers);
        let again = json::decode_response(&sent(json::encode_response(response.clone(), NOW_MS)));
        assert_eq!(again, Ok(response));
    }
}

/// Nobody without the key makes a record that opens, and what is sealed opens to what it was. The key is one that no input holds.
pub fn sealed_record(record: &RawRecord) {
    let Ok(key) = SealingKey::new("k", &rand::random::<u128>().to_string()) else {
        return;
    };
    let sealing = Sealing {
        keys: vec![key],
        require: true,
    };
    let binding = Binding::Request {
        request_topic: "orders",
    };
    assert!(sealing.open(record, binding).is_err());
    if let Ok(request) = native::decode_request(record)
        && let Ok(sealed) = sealing.seal(native::encode_request(request.clone()), binding)
    {
        let sealed = sent(sealed);
        assert!(is_sealed(&sealed));
        let opened = sealing.open(&sealed, binding).expect("it was just sealed");
        assert_eq!(native::decode_request(&opened), Ok(request));
    }
}

/// A request as the json format carries it: no reply topic or partition, no scheme or principal, ids of ours as text, a span only with a deadline.
pub fn as_json_tells(mut request: Request) -> Request {
    let id = CorrelationId::from_bytes(&request.correlation_id);
    if let (Some(id), 16) = (id, request.correlation_id.len()) {
        request.correlation_id = id.to_string().into();
    }
    let both = request.deadline_ms.zip(request.timeout_ms);
    Request {
        scheme: String::new(),
        body_elsewhere: None,
        accepts_stream: None,
        principal: None,
        idempotency: None,
        reply_topic: None,
        reply_partition: None,
        deadline_ms: both.map(|(deadline, _)| deadline),
        timeout_ms: both.map(|(_, timeout)| timeout),
        ..request
    }
}

fn check_request(request: &Request) {
    assert_eq!(http::check_target(&request.method, &request.path), Ok(()));
    assert!(!request.correlation_id.is_empty());
    let texts = [
        Some(&request.authority),
        Some(&request.scheme),
        request.client_ip.as_ref(),
        request.principal.as_ref(),
    ];
    assert!(
        texts
            .into_iter()
            .flatten()
            .all(|text| headers::value_is_legal(text.as_bytes()))
    );
    check_fields(&request.headers);
}

fn check_fields(fields: &Fields) {
    for (name, value) in fields {
        assert!(!headers::is_reserved(name) && !headers::is_hop_by_hop(name), "{name}");
        assert!(
            headers::name_is_legal(name) && name.to_ascii_lowercase() == *name,
            "{name}"
        );
        assert!(headers::value_is_legal(value), "{name}");
    }
}

/// What a text may be as a host, and as a path: neither check panics, and what they let through is what it says.
pub fn host_and_path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if http::is_authority(text) {
        let ends = |byte: u8| !byte.is_ascii_graphic() || b"/?#@\\<>\"".contains(&byte);
        assert!(!text.bytes().any(ends), "{text:?}");
    }
    let path = format!("/{text}");
    for merges_slashes in [false, true] {
        let resolved = path::resolved(&path, merges_slashes);
        assert!(
            resolved.starts_with('/') && !path::has_dots(&resolved),
            "{path:?} {resolved:?}"
        );
    }
    let below = path::resolved(&format!("/base{path}"), true);
    let stays = below == "/base" || below.starts_with("/base/");
    assert!(stays || path::climbs(&path), "{path:?} {below:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fuzzers_input_is_a_record() {
        let read = record(b"a\xfeb\xfec\xfdnull\xfd\xfe\xfdvalue");
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        let headers = [
            (bytes("a"), Some(Bytes::from_static(b"b\xfec"))),
            (bytes("null"), None),
            (bytes(""), Some(bytes(""))),
        ];
        assert_eq!((read.value, read.headers), (Some(bytes("value")), headers.to_vec()));
    }

    /// The corpus that the fuzzer reduced its finds to, seeds included (`fuzz/run`).
    #[test]
    fn the_fuzzers_corpus_holds() {
        type Check = fn(&RawRecord);
        let targets: [(&str, Check); 9] = [
            ("memory_record", memory_record),
            ("piece", piece),
            ("control", control),
            ("body_piece", body_piece),
            ("sealed_record", sealed_record),
            ("native_request", native_request),
            ("native_reply", native_reply),
            ("json_request", json_request),
            ("json_reply", json_reply),
        ];
        for (name, check) in targets {
            let dir = format!("{}/fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
            let files: Vec<_> = std::fs::read_dir(&dir).unwrap().collect();
            assert!(files.len() > 3, "{dir}: {}", files.len());
            for file in files {
                check(&record(&std::fs::read(file.unwrap().path()).unwrap()));
            }
        }
    }

    #[test]
    fn the_corpus_of_hosts_and_paths_holds() {
        let files = std::fs::read_dir(format!("{}/fuzz/corpus/host_and_path", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let read = files.map(|file| host_and_path(&std::fs::read(file.unwrap().path()).unwrap()));
        assert!(read.count() >= 2);
    }
}
