//! A request's target reaches the backend byte for byte, or is refused. Nothing is cut off or corrected on the way.

use crate::harness::backend::Backend;
use crate::harness::client::{Connection, Request};
use crate::harness::exchange::exchange;
use crate::harness::pair::Pair;

#[tokio::test]
async fn every_legal_target_arrives_byte_for_byte() {
    let pair = Pair::start(Backend::echo().await).await;
    let long = format!("/{}?{}", "x".repeat(20_000), "y".repeat(20_000));
    for target in [
        "/",
        "/?",
        "/??a",
        "//",
        "//a//b/",
        "/./a/../b/.",
        "/%2e%2E/%2f%2F%00%ff%zz%",
        "/?a=1&&a=&=b&a&%61",
        "/;p=1,2:@!$'()*+~-._&",
        "/\"{}|\\^[]",
        "/?`{}|\\^[]/?:@'",
        &long,
    ] {
        let answer = pair.request(Request::get(target)).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        assert_eq!(pair.backend.last().target, target);
    }
    for (method, target, expected) in [
        ("OPTIONS", "*", "*"),
        ("GET", "http://shop.example/a/../?b", "/a/../?b"),
        ("PUT", "HTTP://shop.example:81?x", "/?x"),
        ("GET", "https://shop.example", "/"),
    ] {
        let answer = pair.request(Request::new(method, target)).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        let received = pair.backend.last();
        assert_eq!((received.method.as_str(), received.target.as_str()), (method, expected));
        let host = received.header("x-forwarded-host").unwrap_or_default();
        assert!(
            target == "*" || host.starts_with("shop.example"),
            "{:?}",
            received.headers
        );
    }
}

#[tokio::test]
async fn an_illegal_target_is_a_400_and_never_another_target() {
    let pair = Pair::start(Backend::echo().await).await;
    for request in [
        "GET shop.example",
        "GET shop.example:80",
        "GET orders",
        "GET *",
        "OPTIONS *x",
        "GET http://user:password@shop.example/",
        "GET ftp://shop.example/",
    ] {
        let (answer, _) = exchange(&pair.proxy, format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        answer.assert_problem(400, "bad-request");
    }
    // These are refused by the parser: without a body, and the connection ends.
    for request in [
        &b"DELETE /orders/#7"[..],
        b"DELETE /orders#",
        b"DELETE #",
        b"GET /?a=b#c",
        b"GET http://shop.example#x",
        b"GET http://shop.example/a#x?y",
        b"OPTIONS *#",
        b"GET /caf\xc3\xa9",
        b"GET /caf\xe9",
        b"GET /a<b",
        b"GET /a\tb",
        b"GET /a b",
        b"GET ",
        b"G#T /",
        b"G(T /",
    ] {
        let wire = [request, b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
        let (answer, mut connection) = exchange(&pair.proxy, &wire).await;
        assert_eq!(
            (answer.status, answer.body.len()),
            (400, 0),
            "{}",
            request.escape_ascii()
        );
        connection.read_response(false).await.expect_err("closed");
    }
    let (answer, _) = exchange(&pair.proxy, b"GET / HTTP/1.1\r\nHost: caf\xe9\r\n\r\n").await;
    answer.assert_problem(400, "bad-request");
    assert_eq!(pair.backend.received().len(), 0, "{:?}", pair.backend.received());
}

#[tokio::test]
async fn a_fragment_is_refused_in_every_target_of_a_connection_and_nowhere_else() {
    let pair = Pair::start(Backend::echo().await).await;
    let body = "GET /#x HTTP/1.1\r\nHost: x\r\n\r\nDELETE /#y HTTP/1.1\r\n\r\n";
    let sized = format!(
        "PUT /1%23 HTTP/1.1\r\nHost: x\r\nX-A: /#\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let chunked = format!(
        "PUT /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x};a=#\r\n{body}\r\n0\r\nX: #\r\n\r\n",
        body.len()
    );
    let mut connection = Connection::open(&pair.proxy.address())
        .await
        .expect("the proxy listens");
    // At once, and in pieces that end anywhere.
    connection.send_raw(sized.repeat(2).as_bytes()).await.expect("sent");
    connection.send_raw(chunked.as_bytes()).await.expect("sent");
    for piece in chunked.as_bytes().chunks(11) {
        connection.send_raw(piece).await.expect("sent");
        tokio::task::yield_now().await;
    }
    for _ in 0..4 {
        let answer = connection.read_response(false).await.expect("an answer");
        assert_eq!(
            (answer.status, answer.json()["body"].as_str()),
            (200, Some(body)),
            "{answer:?}"
        );
    }
    assert_eq!(pair.backend.received()[0].header("x-a").as_deref(), Some("/#"));

    for piece in b"DELETE /orders/#7 HTTP/1.1\r\nHost: x\r\n\r\n".chunks(16) {
        connection.send_raw(piece).await.expect("sent");
        tokio::task::yield_now().await;
    }
    let answer = connection.read_response(false).await.expect("an answer");
    assert_eq!((answer.status, answer.body.len()), (400, 0), "{answer:?}");
    connection.read_response(false).await.expect_err("closed");

    // Pipelined behind a request that is still under way.
    let mut ahead = Connection::open(&pair.proxy.address())
        .await
        .expect("the proxy listens");
    let wire = [sized.as_bytes(), b"DELETE /orders/#7 HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
    ahead.send_raw(&wire).await.expect("sent");
    while let Ok(answer) = ahead.read_response(false).await {
        assert!([200, 400].contains(&answer.status), "{answer:?}");
    }
    assert!(pair.backend.received().iter().all(|received| received.method == "PUT"));
}
