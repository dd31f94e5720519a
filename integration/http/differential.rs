//! Generated requests go to the backend directly and through the service. Backend and client see the same both times, except for the
//! fields that a gateway has to add and those that belong to one hop.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_khp::wire::headers::is_reserved;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::harness::backend::{Answer, Backend, Received};
use crate::harness::client::{Body, Connection, Request, Response};
use crate::harness::message::{Fields, values, write_field};
use crate::harness::pair::Pair;

const CASES: usize = 400;
/// The environment variable with the seed of the cases. Each run prints its seed, which repeats its cases.
const SEED: &str = "KHP_DIFFERENTIAL_SEED";
/// The header that names the case to the backend.
const CASE: &str = "X-Case";

/// The fields that the service adds to a request.
const GAINED_BY_REQUESTS: [&str; 8] = [
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-real-ip",
    "x-original-method",
    "x-request-id",
    "khp-correlation-id",
];
/// The fields that the service adds to an answer. `Date` is added where the backend sent none (RFC 9110 6.6.1).
const GAINED_BY_ANSWERS: [&str; 2] = ["khp-correlation-id", "date"];
/// The fields that frame a message on each hop. They are compared by their meaning.
const FRAMING: [&str; 3] = ["content-length", "transfer-encoding", "connection"];

#[derive(Debug, Clone)]
struct Case {
    request: Request,
    answer: Scripted,
}

/// The backend's answer to a case.
#[derive(Debug, Clone)]
struct Scripted {
    interim: bool,
    status: u16,
    headers: Fields,
    body: Vec<u8>,
    framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Fixed,
    Chunked,
    /// The end of the connection ends the body.
    Close,
}

impl Scripted {
    fn answer(&self, method: &str) -> Answer {
        let mut wire = Vec::new();
        if self.interim {
            wire.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        }
        wire.extend_from_slice(format!("HTTP/1.1 {} Any Reason\r\n", self.status).as_bytes());
        for (name, value) in &self.headers {
            write_field(&mut wire, name, value);
        }
        let no_content = self.status == 204;
        match self.framing {
            _ if no_content => {}
            Framing::Fixed => wire.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes()),
            Framing::Chunked => wire.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Framing::Close => wire.extend_from_slice(b"Connection: close\r\n"),
        }
        wire.extend_from_slice(b"\r\n");
        if method == "HEAD" || no_content || self.status == 304 {
            return match self.framing {
                Framing::Close if !no_content => Answer::Raw(wire),
                _ => Answer::Wire(wire),
            };
        }
        if self.framing != Framing::Chunked {
            wire.extend_from_slice(&self.body);
            return match self.framing {
                Framing::Close => Answer::Raw(wire),
                _ => Answer::Wire(wire),
            };
        }
        for chunk in self.body.chunks(100) {
            wire.extend_from_slice(format!("{:x};ext=\"a\"\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\nX-Trailer: 1\r\n\r\n");
        Answer::Wire(wire)
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "(X-[AaBb]|x-[ab]|Accept|Cookie|Content-Type|User-Agent|ETag|Location|Set-Cookie|Date|Server|Vary)",
        1 => "[!#$%&'*+.^_`|~a-zA-Z0-9]{1,3}-Q[a-z]{0,8}",
    ]
    .prop_filter("a reserved name does not pass", |name| !is_reserved(name))
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => "[ -~]{0,30}".prop_map(String::into_bytes),
        1 => "[ -~\u{80}-\u{fff}]{1,12}".prop_map(String::into_bytes),
        1 => prop::collection::vec(prop_oneof![0x20..0x7f_u8, 0x80..=0xff_u8, Just(b'\t')], 0..12),
        1 => "(a, b,,c|\"quoted, \\\\\" pair\"|,|;q=0\\.5|)".prop_map(String::into_bytes),
    ]
    .prop_map(|value| value.trim_ascii().to_vec())
}

fn fields() -> impl Strategy<Value = Fields> {
    prop::collection::vec((name(), value()), 0..8)
}

fn target() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        2 => "(|\\.|\\.\\.|%2[fF]|%2e|%00|%|a%20b|~|;p=1|:80@x|\\{id\\}|\\||\"|\\^)",
        3 => "[a-zA-Z0-9._~!$&'()*+,;=:@-]{1,8}",
    ];
    let path = prop::collection::vec(segment, 0..5).prop_map(|segments| format!("/{}", segments.join("/")));
    let parameter = "(|=|a|a=|=a|k=[a-z0-9%+/?:@]{0,6}|k=\\{\"j\\}?|[a-z]{1,3}=[a-z&=]{0,5})"
        .prop_map(|text| text.replace('"', "'"));
    let query = prop::option::of(prop::collection::vec(parameter, 0..5).prop_map(|parameters| parameters.join("&")));
    (path, query).prop_map(|(path, query)| match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    })
}

fn body() -> impl Strategy<Value = Body> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..600);
    prop_oneof![
        2 => Just(Body::None),
        1 => Just(Body::Empty),
        2 => bytes().prop_map(Body::Sized),
        2 => prop::collection::vec(bytes(), 0..4).prop_map(Body::Chunked),
        1 => Just(Body::Sized(b"GET /#x HTTP/1.1\r\nHost: x\r\n\r\n".to_vec())),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let method = prop_oneof![
        3 => "(GET|POST|PUT|DELETE|PATCH|OPTIONS|TRACE)",
        1 => Just("HEAD".to_owned()),
        2 => "(get|Post|PROPFIND|M-SEARCH|purge)",
        1 => "[A-Za-z!*+.^_`|~-]{1,20}".prop_filter("CONNECT is refused", |method| method != "CONNECT"),
    ];
    let request = (method, target(), fields(), body()).prop_map(|(method, target, headers, body)| Request {
        method,
        target,
        headers,
        body,
    });
    let status = prop_oneof![3 => Just(200_u16), 2 => 200..600_u16, 1 => prop::sample::select(&[204_u16, 304, 301, 404, 503][..])];
    let framing = prop_oneof![2 => Just(Framing::Fixed), 2 => Just(Framing::Chunked), 1 => Just(Framing::Close)];
    let body = prop_oneof![1 => Just(Vec::new()), 4 => prop::collection::vec(any::<u8>(), 1..600)];
    let answer = (prop::bool::weighted(0.1), status, fields(), body, framing);
    (request, answer).prop_map(|(request, (interim, status, headers, body, framing))| Case {
        request,
        answer: Scripted {
            interim,
            status,
            headers,
            // A server must not generate content in a 205 (RFC 9110 15.3.6), and the proxy passes none.
            body: if status == 205 { Vec::new() } else { body },
            framing,
        },
    })
}

/// The values of each name, in their order. The order of different names means nothing in HTTP and is not kept.
fn by_name(fields: &Fields, without: &[&[&str]]) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut named = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in fields {
        let name = name.to_ascii_lowercase();
        if !without.concat().contains(&name.as_str()) {
            named.entry(name).or_default().push(value.clone());
        }
    }
    named
}

/// The parts of a request that the backend must see alike both times.
fn seen(received: &Received) -> impl PartialEq + std::fmt::Debug {
    let has_body = FRAMING[..2].iter().any(|name| received.header(name).is_some());
    let fields = by_name(&received.headers, &[&GAINED_BY_REQUESTS, &FRAMING]);
    (
        received.method.clone(),
        received.target.clone(),
        fields,
        has_body,
        received.body.clone(),
    )
}

/// The parts of an answer that the client must see alike both times.
fn got(case: &Case, answer: &Response) -> impl PartialEq + std::fmt::Debug {
    let own_date = values(&case.answer.headers, "date").is_empty();
    let gained = if own_date {
        &GAINED_BY_ANSWERS[..]
    } else {
        &GAINED_BY_ANSWERS[..1]
    };
    // Where no body is sent, Content-Length still has its length. Elsewhere the length follows from the body, and that of a 205 is 0.
    let announced = (case.request.method == "HEAD" && answer.status != 205) || answer.status == 304;
    let length = announced.then(|| answer.all("content-length"));
    (
        answer.status,
        by_name(&answer.headers, &[gained, &FRAMING]),
        length,
        answer.body.clone(),
    )
}

#[tokio::test]
async fn requests_are_seen_and_answered_alike_with_the_service_and_without_it() {
    let seed = std::env::var(SEED)
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("{SEED}={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let cases: Vec<Case> = (0..CASES)
        .map(|number| {
            let mut case = case().new_tree(&mut runner).expect("a case").current();
            // The processor's `host` is `preserve`, so that the backend sees the same Host both times.
            case.request = case
                .request
                .header("Host", "shop.example")
                .header(CASE, number.to_string());
            case
        })
        .collect();
    let cases = Arc::new(cases);
    let scripts = cases.clone();
    let backend = Backend::start(move |received| {
        let number = received
            .header("x-case")
            .and_then(|number| number.parse::<usize>().ok());
        scripts[number.expect("every request names its case")]
            .answer
            .answer(&received.method)
    })
    .await;
    let pair = Pair::start(backend).await;
    // The connection to the service is kept, so that an answer that is too long or too short would spoil the next one.
    let mut through = Connection::open(&pair.proxy.address())
        .await
        .expect("the proxy listens");
    for (number, case) in cases.iter().enumerate() {
        let mut direct = Connection::open(&pair.backend.address())
            .await
            .expect("the backend listens");
        let answers = (
            direct.request(&case.request).await,
            through.request(&case.request).await,
        );
        let context = || format!("{SEED}={seed}, case {number}: {case:#?}\n{answers:?}");
        let (Ok(direct), Ok(through_it)) = &answers else {
            panic!("{}", context());
        };
        assert_eq!(got(case, direct), got(case, through_it), "{}", context());
        let received = pair.backend.received();
        assert_eq!(
            received.len(),
            2 * (number + 1),
            "each was executed once: {}",
            context()
        );
        assert_eq!(
            seen(&received[2 * number]),
            seen(&received[2 * number + 1]),
            "{}",
            context()
        );
        let id = received[2 * number + 1].header("khp-correlation-id");
        assert!(
            id.is_some() && id == through_it.header("khp-correlation-id"),
            "{}",
            context()
        );
    }
}
