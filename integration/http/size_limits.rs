//! Bodies, heads and targets that are too large: their client gets an answer that it can read.

use std::time::Duration;

use tokio::time::timeout;

use crate::harness::client::{Body, Request};
use crate::harness::exchange::{assert_nothing_was_sent, connect, exchange, last_answer};
use crate::harness::names::Topics;
use crate::harness::spec::proxy;

#[tokio::test]
async fn a_body_that_is_too_large_is_a_413_however_it_is_framed() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).set("max_body_size", 1000).start().await;
    proxy
        .request(Request::post("/", vec![b'x'; 1001]))
        .await
        .assert_problem(413, "body-too-large");
    proxy
        .request(Request::post("/", vec![b'x'; 600_000]))
        .await
        .assert_problem(413, "body-too-large");
    let chunks = Body::Chunked(vec![vec![b'x'; 600]; 2]);
    proxy
        .request(Request::new("POST", "/").body(chunks))
        .await
        .assert_problem(413, "body-too-large");
    // The head says how large the body is, so none of it needs to come.
    let announced = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000000\r\n\r\n";
    exchange(&proxy, announced)
        .await
        .0
        .assert_problem(413, "body-too-large");
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn a_client_that_goes_on_sending_reads_its_413() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).set("max_body_size", 1000).start().await;
    let sized = [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n".to_vec(),
        vec![b'x'; 4_000_000],
    ]
    .concat();
    let answer = last_answer(&proxy, &sized).await;
    answer.assert_problem(413, "body-too-large");
    assert!(answer.closes(), "{answer:?}");

    // A chunked body is refused at the limit, and the rest of it is not read.
    let mut connection = connect(&proxy).await;
    connection
        .send_raw(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .expect("sent");
    let chunk = [&b"1000\r\n"[..], &[b'x'; 4096], b"\r\n"].concat();
    connection.send_raw(&chunk).await.expect("sent");
    let answer = connection.read_response(false).await.expect("an answer");
    answer.assert_problem(413, "body-too-large");
    assert!(answer.closes(), "{answer:?}");
    let cut_off = timeout(Duration::from_secs(20), async {
        while connection.send_raw(&chunk).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    cut_off.await.expect("cut off");
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_a_431_that_its_client_reads() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).start().await;
    let head = |fields: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let field = |size: usize| format!("X-Large: {}\r\n", "x".repeat(size));
    let answer = proxy
        .request(Request::get("/").header("X-Large", vec![b'x'; 70_000]))
        .await;
    answer.assert_problem(431, "head-too-large");
    // These are beyond the parser's own limits of size and number. The client still sends when the answer comes.
    for fields in [field(200_000), field(900_000), "X-A: 1\r\n".repeat(97)] {
        let answer = last_answer(&proxy, head(&fields).as_bytes()).await;
        assert_eq!((answer.status, answer.body.len()), (431, 0), "{answer:?}");
    }
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn a_target_or_a_name_of_64_kib_is_a_400() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).start().await;
    let target = |size: usize| format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "t".repeat(size - 1));
    let name = |size: usize| format!("GET / HTTP/1.1\r\nHost: x\r\n{}: 1\r\n\r\n", "n".repeat(size));
    for wire in [target(65_535), target(100_000), name(65_536), name(120_000)] {
        let answer = last_answer(&proxy, wire.as_bytes()).await;
        assert_eq!((answer.status, answer.body.len()), (400, 0), "{} bytes", wire.len());
    }
    // One byte less is only too large a head, and the connection stays open.
    let mut connection = connect(&proxy).await;
    for wire in [target(65_534), name(65_535)] {
        connection.send_raw(wire.as_bytes()).await.expect("sent");
        let answer = connection.read_response(false).await.expect("an answer");
        answer.assert_problem(431, "head-too-large");
    }
    assert_eq!(proxy.logged("panicked"), 0, "{}", proxy.log());
    assert_nothing_was_sent(&proxy, &topics).await;
}
