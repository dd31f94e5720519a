//! Methods, targets, headers, bodies and statuses cross Kafka unchanged, and each answer reaches its own client.

use std::time::Duration;

use crate::harness::backend::{Answer, Backend, Received};
use crate::harness::client::{self, Body, Connection, Request};
use crate::harness::pair::Pair;

#[tokio::test]
async fn every_method_reaches_the_backend_and_its_answer_comes_back() {
    let answer = |received: &Received| {
        Answer::echo(received)
            .header("X-Method", &received.method)
            .header("X-Target", &received.target)
    };
    let pair = Pair::start(Backend::start(answer).await).await;
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "PURGE"] {
        let target = format!("/things/{}?q=two%20words&path=a%2Fb", method.to_lowercase());
        let mut request = Request::new(method, &target);
        if ["POST", "PUT", "PATCH"].contains(&method) {
            request = request.body(Body::Sized(format!("body of {method}").into_bytes()));
        }
        let answer = pair.request(request).await;
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
        assert_eq!(answer.header("x-method").as_deref(), Some(method));
        assert_eq!(answer.header("x-target").as_deref(), Some(target.as_str()));
        let received = pair.backend.last();
        assert_eq!(
            (received.method.as_str(), received.target.as_str()),
            (method, target.as_str())
        );
        if method != "HEAD" {
            assert_eq!(answer.json()["body"], received.text());
        }
    }
}

#[tokio::test]
async fn bodies_pass_byte_for_byte_both_ways() {
    let pair = Pair::start(Backend::start(Answer::same_body).await).await;
    let every_byte: Vec<u8> = (0..=255).cycle().take(256 * 40).collect();
    let large: Vec<u8> = every_byte.iter().copied().cycle().take(700 * 1024).collect();
    let chunks = vec![b"one, ".to_vec(), every_byte.clone(), b"three".to_vec()];
    let bodies = [
        (Body::Sized(b"plain text".to_vec()), b"plain text".to_vec()),
        (Body::Sized("žluťoučký kůň".into()), "žluťoučký kůň".into()),
        (Body::Sized(every_byte.clone()), every_byte.clone()),
        (Body::Sized(large.clone()), large),
        (Body::Chunked(chunks.clone()), chunks.concat()),
    ];
    for (body, bytes) in bodies {
        let answer = pair.request(Request::new("POST", "/").body(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(
            answer.body == bytes,
            "{} bytes came back for {}",
            answer.body.len(),
            bytes.len()
        );
        assert!(pair.backend.last().body == bytes);
    }
}

#[tokio::test]
async fn no_body_and_an_empty_body_are_told_apart() {
    let pair = Pair::start(Backend::echo().await).await;
    for method in ["GET", "POST", "DELETE", "PURGE"] {
        let answer = pair.request(Request::new(method, "/none")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let received = pair.backend.last();
        assert!(
            received.header("content-length").is_none(),
            "{method} without a body: {:?}",
            received.headers
        );
        assert!(
            received.header("transfer-encoding").is_none(),
            "{method} without a body: {:?}",
            received.headers
        );

        let answer = pair.request(Request::new(method, "/empty").body(Body::Empty)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let received = pair.backend.last();
        assert_eq!(
            received.all("content-length"),
            ["0"],
            "{method} with an empty body: {:?}",
            received.headers
        );
    }
}

#[tokio::test]
async fn repeated_headers_and_query_keys_keep_their_order() {
    let answer = |_: &_| {
        let answer = Answer::body("ok")
            .header("Set-Cookie", "a=1")
            .header("X-Back", "1")
            .header("Set-Cookie", "b=2");
        answer
            .header("X-Back", "2")
            .header("X-Back", "1")
            .header("Set-Cookie", "a=3")
            .header("X-Latin", b"caf\xe9")
    };
    let pair = Pair::start(Backend::start(answer).await).await;
    let target = "/search?k=2&other=x&k=1&k=3&empty=&flag&k=2";
    let mut request = Request::get(target).header("X-Latin", b"caf\xe9");
    for value in ["first", "second, with a comma", "first", ""] {
        request = request.header("X-Many", value);
    }
    let answer = pair.request(request).await;
    assert_eq!(answer.all("set-cookie"), ["a=1", "b=2", "a=3"]);
    assert_eq!(answer.all("x-back"), ["1", "2", "1"]);
    let received = pair.backend.last();
    assert_eq!(received.target, target);
    assert_eq!(received.all("x-many"), ["first", "second, with a comma", "first", ""]);
    for message in [&*answer, &*received] {
        assert_eq!(message.all_bytes("x-latin"), [b"caf\xe9"], "bytes stay bytes");
    }
}

#[tokio::test]
async fn headers_of_one_hop_stay_on_that_hop() {
    let answer = |_: &_| {
        Answer::body("ok")
            .header("Connection", "X-Hop-Back")
            .header("X-Hop-Back", "1")
            .header("Keep-Alive", "timeout=9")
    };
    let pair = Pair::start(Backend::start(answer).await).await;
    let request = Request::get("/")
        .header("Connection", "keep-alive, X-Hop")
        .header("X-Hop", "1")
        .header("TE", "trailers");
    let answer = pair.request(request.header("X-End", "1")).await;
    let received = pair.backend.last();
    for name in [
        "x-hop",
        "te",
        "keep-alive",
        "x-kafka-topic",
        "khp-deadline",
        "kafka_correlationid",
    ] {
        assert_eq!(received.header(name), None, "{:?}", received.headers);
    }
    assert_eq!(received.header("x-end").as_deref(), Some("1"));
    assert_eq!(answer.header("x-hop-back"), None, "{answer:?}");
    assert_eq!(answer.header("keep-alive"), None, "{answer:?}");
}

#[tokio::test]
async fn the_backend_learns_who_asked_and_the_client_which_request_it_was() {
    let pair = Pair::start(Backend::echo().await).await;
    let answer = pair
        .request(
            Request::get("/who")
                .header("Host", "shop.example")
                .header("khp-correlation-id", "forged"),
        )
        .await;
    let received = pair.backend.last();
    let id = received.header("khp-correlation-id").expect("an id");
    assert_ne!(id, "forged", "never taken from a client");
    assert_eq!(answer.header("khp-correlation-id").as_ref(), Some(&id));
    assert_eq!(received.all("x-request-id"), [id], "the client named none");
    assert_eq!(received.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(received.all("x-forwarded-proto"), ["http"]);
    assert_eq!(received.all("x-forwarded-host"), ["shop.example"]);
    assert_eq!(received.all("x-original-method"), ["GET"]);
    assert!(received.header("via").is_some(), "{:?}", received.headers);
    assert_eq!(received.all("host"), ["shop.example"], "`host: preserve`");

    pair.request(Request::get("/who").header("X-Request-ID", "from-the-client"))
        .await;
    assert_eq!(pair.backend.last().all("x-request-id"), ["from-the-client"]);
}

#[tokio::test]
async fn the_client_gets_the_backends_status() {
    let answer = |received: &Received| {
        let status = received.target[1..].parse().expect("the path is the status");
        Answer::Respond {
            status,
            headers: vec![("Location".into(), b"/elsewhere".to_vec())],
            body: b"as it was".to_vec(),
        }
    };
    let pair = Pair::start(Backend::start(answer).await).await;
    for status in [
        200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 409, 410, 418, 422, 429, 451,
        500, 501, 502, 503, 504, 599,
    ] {
        let answer = pair.request(Request::get(&format!("/{status}"))).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(
            answer.header("location").as_deref(),
            Some("/elsewhere"),
            "redirects are the client's to follow"
        );
        if status != 204 && status != 304 {
            assert_eq!(answer.text(), "as it was");
        }
    }
}

#[tokio::test]
async fn expect_100_continue_is_answered_by_the_proxy_and_does_not_pass() {
    let pair = Pair::start(Backend::start(Answer::same_body).await).await;
    let mut connection = Connection::open(&pair.proxy.address())
        .await
        .expect("the proxy listens");
    let head = "PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n";
    for waits in [true, false] {
        connection.send_raw(head.as_bytes()).await.expect("sent");
        if waits {
            connection.read_continue().await.expect("the proxy asks for the body");
        }
        connection.send_raw(b"upload").await.expect("sent");
        let answer = connection.read_response(false).await.expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "upload"));
        assert_eq!(pair.backend.last().header("expect"), None);
    }
}

#[tokio::test]
async fn a_thousand_concurrent_requests_each_get_their_own_answer() {
    let answer = |received: &Received| {
        // Each takes another time, so that the answers come out of order.
        let delay = Duration::from_millis(received.body.iter().map(|byte| u64::from(*byte)).sum::<u64>() % 40);
        Answer::body([b"answer to ", received.body.as_slice()].concat()).after(delay)
    };
    let pair = Pair::start(Backend::start(answer).await).await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let address = pair.proxy.address();
        clients.spawn(async move {
            let body = format!("request {number} {}", "x".repeat(number % 700));
            let answer = client::request(&address, Request::post("/", body.clone())).await;
            assert_eq!((answer.status, answer.text()), (200, format!("answer to {body}")));
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("each client gets its own answer");
    }
    assert_eq!(pair.backend.received().len(), 1000, "each was executed once");
}
