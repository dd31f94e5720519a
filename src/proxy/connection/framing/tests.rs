//! The parser itself is the yardstick: actix-http's codec, over the same bytes.

use actix_http::h1::{Codec, Message, MessageType};
use actix_http::{Request, ServiceConfig};
use bytes::BytesMut;
use proptest::prelude::*;
use tokio_util::codec::Decoder;

use super::*;

/// What the parser makes of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parsed {
    /// Method, target without its fragment, and body of each request.
    requests: Vec<(String, String, Vec<u8>)>,
    refused: bool,
}

thread_local! {
    /// Its clock is a task, which needs a runtime to be started in.
    static CONFIG: ServiceConfig = actix::System::new().block_on(async { ServiceConfig::default() });
}

fn parse(bytes: &[u8]) -> Parsed {
    let mut codec = Codec::new(CONFIG.with(Clone::clone));
    let (mut rest, mut parsed) = (BytesMut::from(bytes), Parsed::default());
    loop {
        match codec.decode(&mut rest) {
            Ok(Some(Message::Item(request))) => {
                parsed.requests.push(read(&request));
                if codec.message_type() == MessageType::Stream {
                    // All the rest is its body, which nobody reads (`is_tunnel`).
                    return parsed;
                }
            }
            Ok(Some(Message::Chunk(Some(chunk)))) => parsed.requests.last_mut().unwrap().2.extend_from_slice(&chunk),
            Ok(Some(Message::Chunk(None))) => {}
            Ok(None) => return parsed,
            Err(_) => {
                parsed.refused = true;
                return parsed;
            }
        }
    }
}

fn read(request: &Request) -> (String, String, Vec<u8>) {
    (request.method().to_string(), request.uri().to_string(), Vec::new())
}

/// A framing, and what came without being passed on yet.
#[derive(Debug, Default)]
struct Passing {
    framing: Framing,
    held: Vec<u8>,
}

impl Passing {
    /// Takes in what comes next; returns what is passed on, as if every request were answered at once.
    fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let mut passed = Vec::new();
        loop {
            let admitted = self.framing.pass(&mut self.held);
            if admitted == 0 {
                return passed;
            }
            passed.extend(self.held.drain(..admitted));
        }
    }
}

/// Passes a stream on in pieces of these lengths, the last one again and again. What is held at its end comes last.
fn pass(stream: &[u8], pieces: &[usize]) -> (Vec<u8>, Framing) {
    let (mut passing, mut passed) = (Passing::default(), Vec::new());
    let (mut rest, mut pieces) = (stream, pieces.iter().copied());
    let mut length = usize::MAX;
    while !rest.is_empty() {
        length = pieces.next().unwrap_or(length).max(1);
        let (piece, after) = rest.split_at(length.min(rest.len()));
        passed.extend(passing.pass(piece));
        rest = after;
    }
    passed.extend(passing.held);
    (passed, passing.framing)
}

#[test]
fn a_fragment_is_refused_wherever_its_request_stands() {
    for (before, target) in [
        ("", "/#"),
        ("", "/orders/#7"),
        ("\r\n\n", "/?a=b#c?d"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "http://x/a#b"),
        ("GET / HTTP/1.1\nHost: x\n\n", "*#"),
        ("PUT / HTTP/1.1\r\nhost: x\r\nCONTENT-length:\t 3 \r\n\r\nabc", "/#a"),
        (
            "PUT / HTTP/1.1\r\nhost: x\r\nTransfer-Encoding: Chunked\r\n\r\n0003 ; #x\r\nabc\r\n0\r\nA: #\r\n\r\n",
            "/a%23#",
        ),
    ] {
        let request = format!("DELETE {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        let stream = [before, &request].concat();
        for piece in [1, 2, 3, 7, usize::MAX] {
            let (passed, _) = pass(stream.as_bytes(), &[piece]);
            let parsed = parse(&passed);
            assert!(parsed.refused, "{stream:?}");
            assert!(
                parsed.requests.iter().all(|(method, ..)| method != "DELETE"),
                "{parsed:?}"
            );
        }
    }
}

#[test]
fn what_only_looks_like_a_target_passes() {
    let body = "GET /#x HTTP/1.1\r\n\r\nGET /#y HTTP/1.1\r\n\r\n";
    let streams = [
        format!(
            "PUT /%23 HTTP/1.1\r\nHost: x\r\nX-A: /#b\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
        format!(
            "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:X};#\r\n{body}\r\n0\r\n#: #\r\n\r\n",
            body.len()
        ),
        "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET /#x HTTP/1.1\r\n\r\n".to_owned(),
    ];
    for stream in streams {
        for piece in [1, 2, 5, 64, usize::MAX] {
            let twice = stream.repeat(2);
            let (passed, framing) = pass(twice.as_bytes(), &[piece]);
            assert_eq!(String::from_utf8_lossy(&passed), twice);
            assert!(framing.is_between_requests() && framing.heads() == 2, "{framing:?}");
        }
    }
}

#[test]
fn a_head_is_seen_until_it_is_complete() {
    let (head, body) = ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", "ab");
    let mut passing = Passing::default();
    for (at, byte) in head.bytes().enumerate() {
        assert_eq!(passing.framing.is_in_head(), at > 0, "{at}");
        passing.pass(&[byte]);
    }
    let framing = &passing.framing;
    assert!(!framing.is_in_head() && !framing.is_between_requests() && framing.heads() == 1);
    passing.pass(body.as_bytes());
    assert!(passing.framing.is_between_requests() && !passing.framing.is_in_head());
    passing.pass(b"\r\n");
    assert!(passing.framing.is_between_requests() && passing.framing.is_in_head());
}

#[test]
fn what_comes_without_an_end_is_not_kept() {
    let endless = |head: &str| {
        let mut passing = Passing::default();
        passing.pass(head.as_bytes());
        for _ in 0..64 {
            passing.pass(&[b'x'; 64 << 10]);
            assert!(passing.held.len() <= MAX_FIELD, "{head:?}");
        }
        passing
    };
    for head in [
        "",
        "GET / HTTP/1.1\r\nX: ",
        "GET / HTTP/1.1\r\nX",
        "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcA B C\nX: ",
    ] {
        endless(head);
    }
    // The parser takes all that follows for one body.
    for head in [
        "CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    ] {
        let Passing { framing, held } = endless(&format!("{head}A B C\nX"));
        assert_eq!((framing.part, held.len()), (Part::Unknown, 0), "{head:?}");
        assert_eq!(framing.heads(), 1);
    }
    // Their opposite: what looks alike, and is followed by another request.
    for head in [
        "CONNECTED a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        "connect a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nUPGRADE: WebSocket \r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nUpgrade: websocket\r\n\r\nabc",
        "PUT / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        for piece in [1, 3, usize::MAX] {
            let (passed, framing) = pass(head.repeat(2).as_bytes(), &[piece]);
            assert!(framing.is_between_requests() && framing.heads() == 2, "{head:?}");
            assert_eq!(parse(&passed).requests.len(), 2, "{head:?}");
        }
    }
}

#[test]
fn only_a_websocket_over_http_1_1_is_wanted_and_the_parser_sees_no_offer() {
    for (version, fields, wanted) in [
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket", true),
        ("1.1", "upgrade:WebSocket/13\nCONNECTION:x-a,\tUPGRADE ", true),
        (
            "1.1",
            "Upgrade: h2c, websocket\r\nConnection: keep-alive\r\nConnection: upgrade",
            true,
        ),
        ("1.1", "Upgrade: websocket", false),
        (
            "1.1",
            "Upgrade: websocket\r\nConnection: x-upgrade, upgrade-x, keep-alive",
            false,
        ),
        ("1.1", "Upgrade: websockets, h2c\r\nConnection: upgrade", false),
        ("1.1", "Upgrade:\r\nConnection: Upgrade", false),
        ("1.1", "X-Upgrade: websocket\r\nConnection: upgrade", false),
        ("1.0", "Connection: Upgrade, keep-alive\r\nUpgrade: websocket", false),
    ] {
        let head = format!("PUT / HTTP/{version}\r\nHost: x\r\n{fields}\r\nContent-Length: 4\r\n\r\nbody");
        for piece in [1, 2, 3, 7, usize::MAX] {
            let (passed, framing) = pass(head.as_bytes(), &[piece]);
            assert_eq!(framing.wants_websocket(), wanted, "{head:?}");
            assert!(framing.is_between_requests());
            let parsed = parse(&passed);
            assert_eq!(
                (parsed.requests[0].2.as_slice(), parsed.refused),
                (&b"body"[..], false),
                "{head:?}"
            );
            let passed = String::from_utf8(passed).unwrap().to_lowercase();
            let connection = |line: &str| line.strip_prefix("connection:").map(str::to_owned);
            let options: Vec<String> = passed.lines().filter_map(connection).collect();
            let options: Vec<&str> = options
                .iter()
                .flat_map(|options| options.split(','))
                .map(str::trim)
                .collect();
            assert!(!options.contains(&"upgrade"), "{passed:?}");
            // What it nominates besides stays nominated.
            assert_eq!(options.contains(&"x-a"), head.contains("x-a"), "{passed:?}");
        }
    }
    // The next request asks for nothing.
    let wants = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    let (_, framing) = pass(format!("{wants}GET / HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(), &[5]);
    assert!(!framing.wants_websocket() && framing.heads() == 2);
}

#[test]
fn a_bare_line_feed_in_a_trailer_is_refused() {
    for trailers in ["\n", "a\n\r\n", "a: b\n\n", "a: b\r\n\n", "a: b\nc: d\r\n\r\n"] {
        let stream = format!(
            "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailers}GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        );
        for piece in [1, 2, 5, usize::MAX] {
            let (passed, _) = pass(stream.as_bytes(), &[piece]);
            let parsed = parse(&passed);
            assert_eq!((parsed.requests.len(), parsed.refused), (1, true), "{trailers:?}");
        }
    }
}

#[test]
fn it_stops_at_the_end_of_each_request() {
    let requests = [
        "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n",
        "\r\nPUT /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        "PUT /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nt: 1\r\n\r\n",
        "GET /4 HTTP/1.1\r\n\r\n",
    ];
    let (mut stream, mut framing) = (requests.concat().into_bytes(), Framing::default());
    for (number, request) in requests.iter().enumerate() {
        let passed = framing.pass(&mut stream);
        assert_eq!(String::from_utf8_lossy(&stream[..passed]), *request);
        assert!(framing.is_between_requests() && framing.heads() == number as u64 + 1);
        stream.drain(..passed);
    }
    assert!(stream.is_empty());
}

#[test]
fn a_name_that_would_make_the_parser_panic_is_refused() {
    for (length, is_refused) in [(MAX_NAME, false), (MAX_NAME + 1, true), (100_000, true)] {
        let (before, name) = ("GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\n", "n".repeat(length));
        // Its value may be as long.
        let stream = format!("{before}{name}: {}\r\n\r\n", "v:".repeat(10_000));
        for piece in [1, 1000, usize::MAX] {
            let (passed, framing) = pass(stream.as_bytes(), &[piece]);
            assert_eq!(
                framing.is_between_requests(),
                !is_refused,
                "{length} in pieces of {piece}"
            );
            let parsed = parse(&passed);
            assert_eq!(
                (parsed.refused, parsed.requests.len()),
                (is_refused, usize::from(!is_refused))
            );
        }
    }
    // A value of any length is no name.
    let stream = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "v".repeat(120_000));
    let (passed, framing) = pass(stream.as_bytes(), &[8000]);
    assert!(framing.is_between_requests() && passed == stream.as_bytes());
}

/// Pieces of streams: such as are well formed when they are put together, and such as break or blur what is around them.
fn piece() -> impl Strategy<Value = String> {
    let line = "(GET|PUT|CONNECT|M#) (/|/a#b|/\\?#|\\*|http://x/#|/%23) HTTP/1\\.[01]\r?\n";
    let fields = "(Host: x\r?\n)?(Content-Length: ?[0-9]{1,2}\r?\n|Transfer-Encoding: ?(chunked|CHUNKED|identity)\r\n|X-A: #b\r\n){0,2}";
    let sized = "[a#\r\n ]{0,12}".prop_map(|body| {
        format!(
            "PUT /s HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    });
    let chunks = prop::collection::vec(("0{0,2}", "( ?;[a#\"= ]{0,4})?", "[a#\r\n ]{1,20}"), 0..4);
    let chunked = (chunks, "([A-Z#][a#: ]{0,5}\r\n){0,2}").prop_map(|(chunks, trailers)| {
        let chunks = chunks
            .into_iter()
            .map(|(zeros, extension, data)| format!("{zeros}{:x}{extension}\r\n{data}\r\n", data.len()));
        let chunks: String = chunks.collect();
        format!("PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n{trailers}\r\n")
    });
    prop_oneof![
        4 => sized,
        4 => chunked,
        2 => "GET (/|/a#b|/\\?x#) HTTP/1\\.1\r?\nHost: x\r?\n(X-B: #\r?\n)?\r?\n",
        1 => (line, fields, "\r?\n").prop_map(|(line, fields, end)| [line, fields, end].concat()),
        1 => "[\r\n #a0:;]{1,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// The parser sees the same requests with the same bodies, up to the first target with a fragment, and refuses that.
    #[test]
    fn the_parser_agrees(pieces in prop::collection::vec(piece(), 1..6), reads in prop::collection::vec(1_usize..40, 0..20)) {
        let stream = pieces.concat().into_bytes();
        let (passed, _) = pass(&stream, &reads);
        let (before, after) = (parse(&stream), parse(&passed));
        if before == after {
            prop_assert!(!before.requests.iter().any(|(_, target, _)| target == "/a" || target == "/?x"), "a fragment passed: {before:?}");
        } else {
            let (kept, cut) = before.requests.split_at(after.requests.len());
            prop_assert!(after.refused, "{:?}", String::from_utf8_lossy(&passed));
            prop_assert_eq!(kept, &after.requests[..]);
            let has_fragment = |target: &str| stream.windows(target.len() + 2).any(|window| window == [b" ", target.as_bytes(), b"#"].concat());
            // The target as it is shown may have gained a slash.
            prop_assert!(cut.first().is_none_or(|(_, target, _)| has_fragment(target)), "{cut:?} cut off");
        }
        let is_same = |(before, after): (&u8, &u8)| before == after || (*before == b'#' && *after == REFUSED);
        // What follows a refused head may be taken for a trailer, and a bare LF in it be broken.
        prop_assert!(after.refused || stream.iter().zip(&passed).all(is_same));
    }
}
