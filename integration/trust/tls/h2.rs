//! HTTP/2, and what bounds it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{HeaderMap, Request, Version};
use serde_json::json;

use super::start;
use crate::harness::backend::{Answer, Backend};
use crate::harness::pair::Pair;
use crate::harness::spec::Spec;
use crate::harness::tls::{Authority, connect};
use crate::harness::wait::{PATIENCE, within};

/// A connection of HTTP/2.
pub struct Client {
    requests: SendRequest<Bytes>,
    /// How the connection ends.
    pub end: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

/// An answer, read whole.
pub struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Client {
    pub async fn connect(authority: &Authority, pair: &Pair) -> Self {
        let mut builder = h2::client::Builder::new();
        Self::connect_as(authority, pair, builder.max_concurrent_reset_streams(10_000)).await
    }

    /// One that tells the server of itself what `builder` says.
    pub async fn connect_as(authority: &Authority, pair: &Pair, builder: &h2::client::Builder) -> Self {
        let client = authority.client(&[b"h2"], None);
        let stream = connect(&client, &pair.proxy.address()).await.expect("TLS");
        let (requests, connection) = builder.handshake(stream).await.expect("HTTP/2");
        Client {
            requests,
            end: tokio::spawn(connection),
        }
    }

    /// Begins a request; `ends`: no body follows.
    pub async fn begin(
        &self,
        request: Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.requests.clone().ready().await?.send_request(request, ends)
    }

    pub async fn request(&self, request: Request<()>, body: Option<&[u8]>) -> Result<Answered, h2::Error> {
        let (answer, mut stream) = self.begin(request, body.is_none()).await?;
        if let Some(body) = body {
            // Err: it was answered before all was sent.
            let _ = stream.send_data(Bytes::copy_from_slice(body), true);
        }
        read(answer).await
    }
}

async fn read(answer: ResponseFuture) -> Result<Answered, h2::Error> {
    let (head, mut stream) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = match chunk {
            // The answer is whole, and the server wants no more of the request (RFC 9113 8.1).
            Err(error) if error.reason() == Some(Reason::NO_ERROR) => break,
            chunk => chunk?,
        };
        stream.flow_control().release_capacity(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    Ok(Answered {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    })
}

fn to(method: &str, path: &str) -> http::request::Builder {
    let uri = format!("https://shop.example{path}");
    Request::builder().method(method).uri(uri).version(Version::HTTP_2)
}

pub fn get(path: &str) -> Request<()> {
    to("GET", path).body(()).expect("a request")
}

/// TLS, and a backend that hangs on `/hang` and echoes the rest.
async fn pair(authority: &Authority, configure: impl FnOnce(Spec) -> Spec) -> Pair {
    let pair = start(authority, configure).await;
    pair.backend.answer_with(|received| match &*received.target {
        "/hang" => Answer::Hang,
        "/large" => Answer::body(vec![b'x'; 300_000]).header("X-B", [b'a', 0xe9]),
        "/unchanged" => Answer::status(304).header("Content-Length", "25").header("ETag", "a"),
        _ => Answer::echo(received),
    });
    pair
}

#[tokio::test]
async fn requests_and_answers_pass_byte_for_byte() {
    let authority = Authority::new();
    let pair = pair(&authority, |spec| spec).await;
    let client = Client::connect(&authority, &pair).await;
    let request = to("PURGE", "/a//b/../%2F?x=1&&y=")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-a", "one")
        .header("x-a", http::HeaderValue::from_bytes(b"caf\xe9\xff").expect("legal"))
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let answer = client.request(request, Some(b"hello")).await.expect("an answer");
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains_key("date") && !answer.headers.contains_key("connection"));
    assert_eq!(answer.headers["content-length"], answer.body.len().to_string());
    let received = pair.backend.last();
    assert_eq!(
        (&*received.method, &*received.target),
        ("PURGE", "/a//b/../%2F?x=1&&y=")
    );
    assert_eq!(received.body, b"hello");
    assert_eq!(received.all("cookie"), ["a=1; b=2"]);
    assert_eq!(received.all_bytes("x-a"), [&b"one"[..], b"caf\xe9\xff"]);
    assert_eq!(received.all("x-forwarded-host"), ["shop.example"]);
    assert_eq!(received.all("te"), Vec::<String>::new());

    let large = client.request(get("/large"), None).await.expect("an answer");
    assert_eq!((large.status, large.body.len()), (200, 300_000));
    assert_eq!(large.headers["x-b"].as_bytes(), b"a\xe9");
    let head = client
        .request(to("HEAD", "/large").body(()).expect("a request"), None)
        .await;
    let head = head.expect("an answer");
    assert_eq!(
        (head.headers["content-length"].as_bytes(), head.body.len()),
        (&b"300000"[..], 0)
    );
    let unchanged = client.request(get("/unchanged"), None).await.expect("an answer");
    assert_eq!(
        (unchanged.status, unchanged.headers["content-length"].as_bytes()),
        (304, &b"25"[..])
    );
    // No body, and an empty one, are told apart.
    client.request(get("/none"), None).await.expect("an answer");
    assert_eq!(pair.backend.last().header("content-length"), None);
    client
        .request(to("POST", "/empty").body(()).expect("a request"), Some(b""))
        .await
        .expect("an answer");
    assert_eq!(pair.backend.last().header("content-length").as_deref(), Some("0"));
    // Many at once on one connection.
    let paths: Vec<String> = (0..200).map(|number| format!("/many/{number}")).collect();
    let all = join_all(paths.iter().map(|path| client.request(get(path), None))).await;
    for (path, answer) in paths.iter().zip(all) {
        let body = String::from_utf8(answer.expect("an answer").body).expect("JSON");
        assert!(body.contains(&format!("\"{path}\"")), "{path}: {body}");
    }
}

#[tokio::test]
async fn what_is_too_much_or_no_request_is_refused() {
    let authority = Authority::new();
    let pair = pair(&authority, |spec| spec.set("max_body_size", 1000)).await;
    let client = Client::connect(&authority, &pair).await;
    let connect = Request::builder().method("CONNECT").uri("shop.example:443").body(());
    let answer = client
        .request(connect.expect("a request"), None)
        .await
        .expect("an answer");
    assert_eq!(answer.status, 501);
    let declared = to("POST", "/")
        .header("content-length", "1001")
        .body(())
        .expect("a request");
    let (answer, _stream) = client.begin(declared, false).await.expect("it is sent");
    assert_eq!(
        read(answer).await.expect("an answer").status,
        413,
        "before a byte of the body has come"
    );
    let sent = client
        .request(to("POST", "/").body(()).expect("a request"), Some(&[b'x'; 2000]))
        .await;
    assert_eq!(sent.expect("an answer").status, 413);
    // Over 64 KiB the service says so; over 96 fields, and over 128 KiB, HTTP/2 itself.
    let problem = client.request(
        to("GET", "/")
            .header("x-a", "a".repeat(70 << 10))
            .body(())
            .expect("a request"),
        None,
    );
    let problem = problem.await.expect("an answer");
    let code: serde_json::Value = serde_json::from_slice(&problem.body).expect("a problem document");
    assert_eq!((problem.status, &code["code"]), (431, &json!("head-too-large")));
    let fields = (0..100).fold(to("GET", "/"), |request, number| {
        request.header(format!("x-{number}"), "a")
    });
    let answer = client
        .request(fields.body(()).expect("a request"), None)
        .await
        .expect("an answer");
    assert_eq!((answer.status, answer.body.len()), (431, 0));
    let huge = to("GET", "/")
        .header("x-a", "a".repeat(140 << 10))
        .body(())
        .expect("a request");
    let answer = client.request(huge, None).await.expect("an answer");
    assert_eq!((answer.status, answer.body.len()), (431, 0));
    // A body that is shorter than it says is never sent on.
    let short = to("POST", "/")
        .header("content-length", "10")
        .body(())
        .expect("a request");
    let broken = client.request(short, Some(b"12345")).await.err().expect("it is reset");
    assert_eq!(broken.reason(), Some(Reason::PROTOCOL_ERROR));
    assert_eq!(
        client
            .request(get("/"), None)
            .await
            .expect("the connection lives on")
            .status,
        200
    );
    assert_eq!(pair.backend.count(), 1);
}

#[tokio::test]
async fn a_request_that_its_client_resets_is_forgotten_at_once() {
    let authority = Authority::new();
    let pair = pair(&authority, |spec| spec).await;
    let client = Client::connect(&authority, &pair).await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(client.begin(get("/hang"), true).await.expect("it is sent"));
    }
    pair.proxy.wait_for_pending(20).await;
    for (_, stream) in &mut waiting {
        stream.send_reset(Reason::CANCEL);
    }
    let soon = Duration::from_secs(25);
    let forgotten = async |number: f64| {
        within(soon, "they are forgotten", async || {
            let metrics = pair.proxy.metrics().await;
            metrics.expect_sum("proxy_pending_requests", &[], 0.0)?;
            metrics.expect_sum("proxy_client_disconnects_total", &[], number)
        })
        .await;
    };
    forgotten(20.0).await;
    assert_eq!(
        client
            .request(get("/"), None)
            .await
            .expect("the connection lives on")
            .status,
        200
    );
    // The client leaves.
    let _waiting = client.begin(get("/hang"), true).await.expect("it is sent");
    pair.proxy.wait_for_pending(1).await;
    client.end.abort();
    forgotten(21.0).await;
}

#[tokio::test]
async fn a_client_that_resets_without_end_is_cut_off() {
    let authority = Authority::new();
    let pair = pair(&authority, |spec| spec).await;
    let client = Client::connect(&authority, &pair).await;
    let mut sent = 0;
    while sent < 5_000 {
        let Ok((_answer, mut stream)) = client.begin(get("/hang"), true).await else {
            break;
        };
        // It reaches the proxy before it is reset.
        tokio::task::yield_now().await;
        stream.send_reset(Reason::CANCEL);
        sent += 1;
    }
    let end = tokio::time::timeout(PATIENCE, client.end).await.expect("it ends");
    let error = end.expect("no panic").expect_err("it is cut off");
    assert_eq!(
        error.reason(),
        Some(Reason::ENHANCE_YOUR_CALM),
        "after {sent}: {error:?}"
    );
    assert!(sent < 5_000, "{sent}");
}

#[tokio::test]
async fn no_more_than_128_requests_of_a_connection_are_under_way() {
    let authority = Authority::new();
    let pair = pair(&authority, |spec| spec).await;
    let client = Client::connect(&authority, &pair).await;
    // The client learns the limit with its first answer.
    client.request(get("/"), None).await.expect("an answer");
    let mut waiting = Vec::new();
    for _ in 0..128 {
        waiting.push(client.begin(get("/hang"), true).await.expect("it is sent"));
    }
    pair.proxy.wait_for_pending(128).await;
    let one_more = tokio::time::timeout(Duration::from_secs(1), client.begin(get("/"), true));
    let one_more = one_more.await.ok().and_then(Result::ok);
    if let Some((answer, _stream)) = one_more {
        // The client keeps it back.
        let answered = tokio::time::timeout(Duration::from_secs(1), read(answer)).await;
        assert!(answered.is_err(), "129 are under way");
    }
    drop(waiting);
    client.end.abort();
    pair.proxy.wait_until_idle().await;
}

#[tokio::test]
async fn a_proxy_that_drains_finishes_what_is_under_way_and_says_go_away() {
    let authority = Authority::new();
    let (open, gate) = tokio::sync::watch::channel(false);
    let backend = Backend::start(move |received| Answer::echo(received).until(&gate)).await;
    let identity = authority.issue("localhost");
    let mut pair = Pair::start_with(backend, |spec| super::with_tls(spec, &identity)).await;
    let client = Client::connect(&authority, &pair).await;
    let (answer, _stream) = client.begin(get("/"), true).await.expect("it is sent");
    pair.backend.wait_for_calls(1).await;
    pair.proxy.signal("TERM");
    // The proxy has closed its listener, and waits for this one.
    within(
        PATIENCE,
        "it takes no connection",
        async || match tokio::net::TcpStream::connect(pair.proxy.address()).await {
            Ok(_) => Err("open".to_owned()),
            Err(_) => Ok(()),
        },
    )
    .await;
    open.send_replace(true);
    assert_eq!(read(answer).await.expect("an answer").status, 200);
    let end = tokio::time::timeout(PATIENCE, client.end).await.expect("it ends");
    end.expect("no panic").expect("without an error");
    assert_eq!(pair.proxy.wait_exit().await, Some(0));
}
