//! A backend's response reaches the client unchanged but for its framing.

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Connection, Request};
use crate::harness::names::Topics;
use crate::harness::pair::Pair;
use crate::harness::records::{Header, Reader, produce};
use crate::harness::spec::proxy;
use crate::harness::topics::create_topic;

async fn pair_that_answers(wire: &'static [u8]) -> Pair {
    Pair::start(Backend::start(move |_| Answer::Raw(wire.to_vec())).await).await
}

#[tokio::test]
async fn content_length_passes_where_no_body_is_sent() {
    let pair = Pair::start(Backend::echo().await).await;
    let mut connection = Connection::open(&pair.proxy.address())
        .await
        .expect("the proxy listens");
    for (method, head, lengths) in [
        ("HEAD", "200 OK\r\nContent-Length: 1234", &["1234"][..]),
        ("HEAD", "200 OK\r\nContent-Length: 0", &["0"]),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked", &[]),
        ("HEAD", "404 Not Found\r\nContent-Length: 7", &["7"]),
        ("HEAD", "304 Not Modified\r\nContent-Length: 99", &["99"]),
        (
            "GET",
            "304 Not Modified\r\nContent-Length: 1234\r\nETag: \"a\"",
            &["1234"],
        ),
        ("GET", "304 Not Modified\r\nETag: \"a\"", &[]),
        ("GET", "204 No Content", &[]),
        ("DELETE", "204 No Content\r\nX-A: 1", &[]),
        ("GET", "200 OK\r\nContent-Length: 0", &["0"]),
    ] {
        pair.backend
            .answer_with(move |_| Answer::Wire(format!("HTTP/1.1 {head}\r\n\r\n").into_bytes()));
        // All on one connection: a body that should not be there would be read as the next answer.
        let answer = connection
            .request(&Request::new(method, "/file"))
            .await
            .expect("an answer");
        assert!(head.starts_with(&answer.status.to_string()), "{head}: {answer:?}");
        assert_eq!(answer.all("content-length"), lengths, "{method} {head}: {answer:?}");
        assert!(
            answer.all("transfer-encoding").is_empty() && answer.body.is_empty(),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn hundreds_of_fields_arrive_whole() {
    let pair = Pair::start(Backend::echo().await).await;
    for count in [96, 97, 500, 880] {
        pair.backend.answer_with(move |_| {
            (0..count).fold(Answer::body("all"), |answer, number| {
                answer.header(&format!("X-{number}"), format!("value {number}"))
            })
        });
        let answer = pair.request(Request::get("/")).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "all"));
        for number in 0..count {
            assert_eq!(answer.all(&format!("x-{number}")), [format!("value {number}")]);
        }
    }
    pair.backend.answer_with(|_| {
        (0..2_000).fold(Answer::body("all"), |answer, number| {
            answer.header(&format!("X-{number}"), "1")
        })
    });
    pair.request(Request::get("/"))
        .await
        .assert_problem(502, "backend-reset");
}

#[tokio::test]
async fn encoded_bodies_are_not_decoded() {
    // gzip of "hello".
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcbH\xcd\xc9\xc9\x07\0\x86\xa6\x106\x05\0\0\0";
    let answer = |_: &_| {
        Answer::body(&gzip[..])
            .header("Content-Encoding", "gzip")
            .header("Vary", "Accept-Encoding")
    };
    let pair = Pair::start(Backend::start(answer).await).await;
    let answer = pair
        .request(Request::get("/").header("Accept-Encoding", "gzip, br;q=0.5"))
        .await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &gzip[..]));
    assert_eq!(answer.all("content-encoding"), ["gzip"]);
    assert_eq!(pair.backend.last().all("accept-encoding"), ["gzip, br;q=0.5"]);
}

#[tokio::test]
async fn interim_answers_and_trailers_are_dropped() {
    let pair = pair_that_answers(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTrailer: X-Sum\r\n\
          Transfer-Encoding: chunked\r\n\r\n5;x=1\r\nfinal\r\n0\r\nX-Sum: 7\r\n\r\n",
    )
    .await;
    let answer = pair.request(Request::get("/hints")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "final"));
    assert_eq!(answer.all("content-length"), ["5"]);
    for name in ["link", "trailer", "x-sum", "transfer-encoding"] {
        assert_eq!(answer.header(name), None, "{answer:?}");
    }
}

#[tokio::test]
async fn a_body_that_the_end_of_the_connection_frames_arrives_whole() {
    let pair = pair_that_answers(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nuntil the end").await;
    let answer = pair.request(Request::get("/")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "until the end"));
    pair.backend.answer_with(|_| {
        Answer::Raw(
            b"HTTP/1.0 200 OK\r\n\r\n"
                .iter()
                .copied()
                .chain([b'x'; 300_000])
                .collect(),
        )
    });
    let answer = pair.request(Request::get("/")).await;
    assert_eq!((answer.status, answer.body.len()), (200, 300_000));
    // A chunked body that is cut off is an error.
    pair.backend
        .answer_with(|_| Answer::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfinal\r\n".to_vec()));
    pair.request(Request::get("/"))
        .await
        .assert_problem(502, "backend-reset");
}

#[tokio::test]
async fn an_illegal_status_is_a_502() {
    let pair = Pair::start(Backend::echo().await).await;
    for status in ["101 Switching Protocols", "600 Beyond", "999 Beyond", "099 Below"] {
        let wire = format!("HTTP/1.1 {status}\r\nContent-Length: 1\r\n\r\nx");
        pair.backend
            .answer_with(move |_| Answer::Raw(wire.clone().into_bytes()));
        let answer = pair.request(Request::get("/")).await;
        answer.assert_problem(502, "backend-reset");
    }
}

#[tokio::test]
async fn a_replier_cannot_add_a_body_to_a_status_without_one() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let proxy = proxy(&topics).start().await;
    let mut connection = Connection::open(&proxy.address()).await.expect("the proxy listens");
    let requests = Reader::open(&topics.request);
    for status in ["204", "205", "304", "200"] {
        connection.send(&Request::get("/")).await.expect("sent");
        let id = requests.next().await.correlation_id().to_vec();
        let body = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nEVIL!";
        let headers: [Header<'_>; 2] = [("kafka_correlationId", &id), (":status", status.as_bytes())];
        produce(&topics.response, 0, body, &headers).await;
        let answer = connection.read_response(false).await.expect("an answer");
        // On the same connection: a body that should not be there would be read as the next answer.
        assert_eq!(answer.status.to_string(), status, "{answer:?}");
        assert_eq!(answer.body.len(), if status == "200" { body.len() } else { 0 });
    }
}
