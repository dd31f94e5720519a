//! Connections whose client sends slowly or ambiguously, or does not read, end with an answer that it can read.

use std::time::{Duration, Instant};

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::exchange::{assert_nothing_was_sent, connect, last_answer};
use crate::harness::management::TOKEN;
use crate::harness::names::Topics;
use crate::harness::pair::Pair;
use crate::harness::spec::proxy;
use crate::harness::wait::eventually;

#[tokio::test]
async fn a_body_that_trickles_is_a_408() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).set("default_timeout", 1).start().await;
    for wire in [
        &b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc"[..],
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let answer = last_answer(&proxy, wire).await;
        answer.assert_problem(408, "body-timeout");
        assert!(answer.closes(), "{answer:?}");
    }
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_off_on_every_request_of_a_connection() {
    let topics = Topics::unique("orders");
    // Longer than the 10 s that a head may take. No processor answers.
    let proxy = proxy(&topics)
        .set("default_timeout", 12)
        .set("topic_headers", true)
        .start()
        .await;
    let began = Instant::now();
    let first = async {
        let answer = last_answer(&proxy, b"GET / HTT").await;
        assert_eq!((answer.status, answer.body.len()), (408, 0));
        began.elapsed()
    };
    let second = async {
        let mut connection = connect(&proxy).await;
        let answer = connection
            .request(&Request::get("/health/live"))
            .await
            .expect("an answer");
        assert_eq!(answer.status, 200);
        for piece in ["GET ", "/ HTTP/1.1\r\n", "Ho"] {
            connection.send_raw(piece.as_bytes()).await.expect("sent");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        connection
            .read_response(false)
            .await
            .expect_err("closed without an answer");
        began.elapsed()
    };
    // Only a line end of the next head arrives.
    let line_end = async {
        let mut connection = connect(&proxy).await;
        let answer = connection.request(&Request::get("/health/live")).await;
        assert_eq!(answer.expect("an answer").status, 200);
        connection.send_raw(b"\r\n").await.expect("sent");
        connection
            .read_response(false)
            .await
            .expect_err("closed without an answer");
        began.elapsed()
    };
    // A client that waits for its answer is not cut off, although half of its next head has come.
    let waiting = async {
        let mut connection = connect(&proxy).await;
        connection
            .send_raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP")
            .await
            .expect("sent");
        connection
            .read_response(false)
            .await
            .expect("an answer")
            .assert_problem(504, "reply-timeout");
    };
    // Neither is one that waits behind another answer, or behind a 100 Continue.
    let pipelined = async {
        let mut connection = connect(&proxy).await;
        connection
            .send_raw(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP")
            .await
            .expect("sent");
        let first = connection.read_response(false).await.expect("an answer");
        assert_eq!(first.status, 200);
        let second = connection.read_response(false).await.expect("an answer");
        second.assert_problem(504, "reply-timeout");
    };
    let continued = async {
        let mut connection = connect(&proxy).await;
        connection
            .send_raw(b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
            .await
            .expect("sent");
        tokio::time::sleep(Duration::from_millis(500)).await;
        connection.send_raw(b"xGET / HTTP").await.expect("sent");
        let answer = connection.read_response(false).await.expect("an answer");
        answer.assert_problem(504, "reply-timeout");
    };
    let (first, second, third, (), (), ()) = tokio::join!(first, second, line_end, waiting, pipelined, continued);
    for took in [first, second, third] {
        assert!(
            took >= Duration::from_secs(9) && took < Duration::from_secs(25),
            "{took:?}"
        );
    }
}

#[tokio::test]
async fn an_unread_body_ends_its_connection() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).set("management_token", TOKEN).start().await;
    for (path, status) in [
        ("/health", 200),
        ("/health/live", 200),
        ("/health/ready", 200),
        ("/metrics", 401),
    ] {
        // The body is announced, and no chunk of it ever comes.
        let wire = format!("GET {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        let answer = last_answer(&proxy, wire.as_bytes()).await;
        assert!(answer.status == status && answer.closes(), "{path}: {answer:?}");
        // Without a body, the connection stays open.
        let mut connection = connect(&proxy).await;
        for _ in 0..2 {
            let answer = connection.request(&Request::get(path)).await.expect("an answer");
            assert!(answer.status == status && !answer.closes(), "{path}: {answer:?}");
        }
    }
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn ambiguous_requests_are_a_400_and_end_the_connection() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).start().await;
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n{body}");
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let wires = [
        "this is no HTTP\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        post("Host: y", ""),
        post("Content-Length: 4\r\nTransfer-Encoding: chunked", smuggled),
        post("Transfer-Encoding: chunked\r\nContent-Length: 4", smuggled),
        post("Content-Length: 4\r\nContent-Length: 5", "abcde"),
        post("Content-Length: 4\r\nContent-Length: 4", "abcd"),
        post("Content-Length: 4, 4", "abcd"),
        post("Content-Length: +4", "abcd"),
        post("Content-Length: -0", ""),
        post("Content-Length: 0x4", "abcd"),
        post("Content-Length: 18446744073709551616", "abcd"),
        post("Transfer-Encoding: gzip, chunked", smuggled),
        post("Transfer-Encoding: chunked, identity", smuggled),
        post("Transfer-Encoding: identity", ""),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", smuggled),
        post("Transfer-Encoding: \x0bchunked", smuggled),
        post("Transfer-Encoding : chunked", smuggled),
        post("Content-Length : 4", "abcd"),
        post("X-Fold: a\r\n b", ""),
        post("X-Fold: a\r\n\tContent-Length: 4", "abcd"),
        post(" X-Space: a", ""),
        post("X-Nul: a\0b", ""),
        post("X-Cr: a\rContent-Length: 4", "abcd"),
        post("X Space: a", ""),
        post("no colon", ""),
        "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
    ];
    for wire in wires {
        let answer = last_answer(&proxy, wire.as_bytes()).await;
        assert_eq!(answer.status, 400, "{wire:?}: {answer:?}");
    }
    // Where the head is legal and the chunks are not, the refusal is a problem document.
    for body in [
        "x\r\n",
        "-1\r\n",
        "5\r\nabcdefg\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "3\nabc\r\n0\r\n\r\n",
    ] {
        last_answer(&proxy, post("Transfer-Encoding: chunked", body).as_bytes())
            .await
            .assert_problem(400, "bad-request");
    }
    // A large body behind a refused head does not reset the connection before the answer is read.
    let large = post(
        "Content-Length: 800000\r\nTransfer-Encoding: chunked",
        &"x".repeat(800_000),
    );
    assert_eq!(last_answer(&proxy, large.as_bytes()).await.status, 400);
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn a_bare_line_feed_ends_a_line_and_does_not_pass() {
    let pair = Pair::start(Backend::echo().await).await;
    let mut connection = connect(&pair.proxy).await;
    let wire = b"PUT /lf HTTP/1.1\nHost: x\nX-A: 1\nContent-Length: 12\nX-B: 2\n\nX-C: 3\n\nbody";
    connection.send_raw(wire).await.expect("sent");
    let answer = connection.read_response(false).await.expect("an answer");
    answer.assert_echo("X-C: 3\n\nbody");
    let received = pair.backend.last();
    assert_eq!(
        (received.all("x-a"), received.all("x-b"), received.all("x-c")),
        (vec!["1".into()], vec!["2".into()], vec![])
    );
}

#[tokio::test]
async fn tunnels_and_upgrades_are_refused_at_once_with_their_bodies_unread() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).start().await;
    for head in [
        "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432",
        "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\nContent-Length: 500000",
        "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket",
        "POST /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 500000",
        "POST /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked",
    ] {
        // The proxy waits 10 s for a body that does not come.
        let began = Instant::now();
        let mut connection = connect(&proxy).await;
        connection
            .send_raw(format!("{head}\r\n\r\n").as_bytes())
            .await
            .expect("sent");
        let answer = connection.read_response(false).await.expect("an answer");
        answer.assert_problem(501, "upgrade-unsupported");
        assert!(
            began.elapsed() < Duration::from_secs(9),
            "{head}: {:?}",
            began.elapsed()
        );
    }
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn an_answer_that_its_client_does_not_read_stays_in_flight() {
    const SIZE: usize = 800_000;
    let backend = Backend::start(|received| match received.target.as_str() {
        "/large" => Answer::body(vec![b'x'; SIZE]),
        _ => Answer::body("small"),
    })
    .await;
    let pair = Pair::start(backend).await;
    let mut unread = connect(&pair.proxy).await;
    // More than the buffers of the sockets hold.
    const ANSWERS: usize = 12;
    for _ in 0..ANSWERS {
        unread.send(&Request::get("/large")).await.expect("sent");
    }
    // They are pipelined, so they are answered in turn: no call follows one whose answer is stuck.
    let mut calls = 0;
    eventually("one answer is stuck", async || {
        let before = std::mem::replace(&mut calls, pair.backend.received().len());
        tokio::time::sleep(Duration::from_secs(1)).await;
        match (calls == before, calls) {
            (true, 1..ANSWERS) => Ok(()),
            _ => Err(format!("{calls} calls")),
        }
    })
    .await;
    pair.proxy.wait_for_pending(1).await;
    // Another client is served meanwhile, and the late answers are whole.
    assert_eq!(pair.proxy.request(Request::get("/small")).await.text(), "small");
    for _ in 0..ANSWERS {
        let answer = unread.read_response(false).await.expect("an answer");
        assert!(answer.body.len() == SIZE && answer.body.iter().all(|byte| *byte == b'x'));
    }
}
