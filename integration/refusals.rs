//! What the proxy does not carry, it refuses with a definite error, before anything is sent.

use serde_json::json;

use crate::harness::app::{App, proxy};
use crate::harness::client::{Body, Connection, Request, Response};
use crate::harness::records::{count, partitions};
use crate::harness::{Topics, unique};

async fn exchange(proxy: &App, wire: &[u8]) -> Response {
    let mut connection = Connection::open(&proxy.address()).await.expect("the proxy listens");
    connection.send_raw(wire).await.expect("sent");
    connection.read_response(false).await.expect("an answer")
}

async fn assert_nothing_was_sent(proxy: &App, topics: &Topics) {
    proxy.wait_until_idle().await;
    assert_eq!(count(&topics.request), 0);
    proxy
        .metrics()
        .await
        .expect_sum("actor_restarts_total", &[], 0.0)
        .expect("nothing broke");
}

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
    // Known from the head: nothing of the body needs to come.
    let announced = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000000\r\n\r\n";
    exchange(&proxy, announced).await.assert_problem(413, "body-too-large");
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_a_431() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).start().await;
    let answer = proxy
        .request(Request::get("/").header("X-Large", vec![b'x'; 70_000]))
        .await;
    assert_eq!(answer.status, 431, "{}", answer.text());
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn a_topic_that_clients_may_not_name_is_refused() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).start().await;
    for topic in ["not a topic", "..", "a/b", &"x".repeat(250)] {
        proxy
            .request(Request::get("/").via(topic, &topics.response))
            .await
            .assert_problem(400, "bad-topic");
        proxy
            .request(Request::get("/").via(&topics.request, topic))
            .await
            .assert_problem(400, "bad-topic");
    }
    for topic in ["__consumer_offsets", "__transaction_state"] {
        proxy
            .request(Request::get("/").via(topic, &topics.response))
            .await
            .assert_problem(403, "topic-not-allowed");
        proxy
            .request(Request::get("/").via(&topics.request, topic))
            .await
            .assert_problem(403, "topic-not-allowed");
    }
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn only_allowed_topics_can_be_named_and_only_so_many() {
    let topics = Topics::unique("orders");
    let allowed = unique("shop");
    let patterns = json!([format!("{allowed}-*")]);
    let proxy = proxy(&topics)
        .set("allowed_topics", patterns)
        .set("max_client_topics", 2)
        .set("default_timeout", 1)
        .start()
        .await;
    let other = unique("bank-requests");
    proxy
        .request(Request::get("/").via(&other, &topics.response))
        .await
        .assert_problem(403, "topic-not-allowed");
    assert_eq!(partitions(&other), 0, "nothing is created for a refused request");
    for number in [1, 2, 3] {
        let request = Request::get("/").via(&format!("{allowed}-{number}-requests"), &topics.response);
        let answer = proxy.request(request).await;
        if number <= 2 {
            answer.assert_problem(504, "reply-timeout");
        } else {
            answer.assert_problem(403, "topic-not-allowed");
        }
    }
    proxy.wait_until_idle().await;
}

#[tokio::test]
async fn upgrades_and_tunnels_are_refused() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).start().await;
    let websocket = Request::get("/socket")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket");
    proxy
        .request(websocket)
        .await
        .assert_problem(501, "upgrade-unsupported");
    exchange(&proxy, b"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n")
        .await
        .assert_problem(501, "upgrade-unsupported");
    assert_nothing_was_sent(&proxy, &topics).await;
}

#[tokio::test]
async fn what_is_no_http_is_a_400_and_smuggling_is_refused() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics).start().await;
    let wires: [&[u8]; 4] = [
        b"this is no HTTP\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: x\r\nX-Split: a\0b\r\n\r\n",
    ];
    for wire in wires {
        let answer = exchange(&proxy, wire).await;
        assert_eq!(answer.status, 400, "{:?}: {answer:?}", String::from_utf8_lossy(wire));
    }
    assert_nothing_was_sent(&proxy, &topics).await;
}
