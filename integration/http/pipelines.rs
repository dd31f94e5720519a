//! Requests that a client sends before it has the answers to those before: each gets its own answer, in order.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::backend::{Answer, Backend, Received};
use crate::harness::client::Connection;
use crate::harness::pair::Pair;
use crate::harness::service::Service;

/// Answers with method, target and body. Paths with `slow` take a while, paths with `large` have a large answer.
fn script(received: &Received) -> Answer {
    let mut body = format!("{} {} ", received.method, received.target).into_bytes();
    body.extend_from_slice(&received.body);
    if received.target.contains("large") {
        body.resize(700_000, b'l');
    }
    let answer = Answer::body(body);
    match received.target.contains("slow") {
        true => answer.after(Duration::from_millis(400)),
        false => answer,
    }
}

/// Sends these bytes in pieces of this length; returns all that comes until the proxy closes.
async fn exchange(proxy: &Service, wire: &[u8], piece: usize) -> Vec<u8> {
    let stream = TcpStream::connect(proxy.address()).await.expect("the proxy listens");
    let (mut read, mut write) = stream.into_split();
    let mut answers = Vec::new();
    let send = async {
        for piece in wire.chunks(piece) {
            // Err: the proxy has closed.
            if write.write_all(piece).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let all = async { tokio::join!(read.read_to_end(&mut answers), send) };
    let (end, ()) = timeout(Duration::from_secs(60), all).await.expect("the proxy closes");
    end.expect("the proxy closes in order");
    answers
}

/// Status line, `Connection` and body of each answer; a HEAD's has no body. `Err`: what is not an answer.
fn split(mut bytes: &[u8], methods: &[&str]) -> Result<Vec<(String, String, Vec<u8>)>, String> {
    let mut answers = Vec::new();
    for method in methods {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end =
            end.ok_or_else(|| format!("{} answers, then {:?}", answers.len(), bytes.escape_ascii().to_string()))?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes = &bytes[end + 4..];
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        let length = match *method {
            "HEAD" => 0,
            _ => field("content-length:")
                .parse()
                .map_err(|_| format!("no length: {head}"))?,
        };
        if bytes.len() < length || !head.starts_with("HTTP/1.") {
            return Err(format!(
                "{} answers, then {head:?} and {} bytes",
                answers.len(),
                bytes.len()
            ));
        }
        let status = head.lines().next().unwrap_or_default().to_owned();
        answers.push((status, field("connection:"), bytes[..length].to_vec()));
        bytes = &bytes[length..];
    }
    match bytes {
        [] => Ok(answers),
        more => Err(format!("more came: {:?}", more.escape_ascii().to_string())),
    }
}

fn texts(answers: &[(String, String, Vec<u8>)]) -> Vec<String> {
    let text = |body: &Vec<u8>| String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
    answers.iter().map(|(.., body)| text(body)).collect()
}

#[tokio::test]
async fn each_gets_its_own_answer_and_head_none_of_their_bodies() {
    let pair = Pair::start(Backend::start(script).await).await;
    let body = "b".repeat(150_000);
    let wire = format!(
        "GET /slow-1 HTTP/1.1\r\nHost: x\r\n\r\n\
         HEAD /2 HTTP/1.1\r\nHost: x\r\n\r\n\
         POST /slow-3 HTTP/1.1\r\nHost: x\r\nContent-Length: 150000\r\n\r\n{body}\
         HEAD /slow-4 HTTP/1.1\r\nHost: x\r\n\r\n\
         GET /large-5 HTTP/1.1\r\nHost: x\r\n\r\n\
         HEAD /6 HTTP/1.1\r\nHost: x\r\n\r\n\r\n\
         PUT /7 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n\
         GET /8 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    let methods = ["GET", "HEAD", "POST", "HEAD", "GET", "HEAD", "PUT", "GET"];
    for piece in [usize::MAX, 20_000, 1_000] {
        let answers = exchange(&pair.proxy, wire.as_bytes(), piece).await;
        let answers = split(&answers, &methods).unwrap_or_else(|error| panic!("in pieces of {piece}: {error}"));
        let texts = texts(&answers);
        assert_eq!(texts[0], "GET /slow-1 ");
        assert_eq!((texts[1].as_str(), texts[3].as_str(), texts[5].as_str()), ("", "", ""));
        assert_eq!(answers[2].2, format!("POST /slow-3 {body}").into_bytes());
        assert!(answers[4].2.len() == 700_000 && answers[4].2.ends_with(b"lll"));
        assert_eq!((texts[6].as_str(), texts[7].as_str()), ("PUT /7 abc", "GET /8 "));
        let closing: Vec<_> = answers.iter().map(|(_, connection, _)| connection.as_str()).collect();
        assert_eq!(closing, ["", "", "", "", "", "", "", "close"]);
    }
}

#[tokio::test]
async fn each_answer_has_the_version_of_its_request() {
    let pair = Pair::start(Backend::start(script).await).await;
    let wire = b"GET /slow-1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\
                 GET /slow-2 HTTP/1.1\r\nHost: x\r\n\r\n\
                 GET /3 HTTP/1.0\r\n\r\n";
    let answers = exchange(&pair.proxy, wire, usize::MAX).await;
    let answers = split(&answers, &["GET"; 3]).unwrap_or_else(|error| panic!("{error}"));
    let seen: Vec<_> = answers
        .iter()
        .map(|(status, connection, _)| format!("{status} {connection}"))
        .collect();
    assert_eq!(
        seen,
        ["HTTP/1.0 200 OK keep-alive", "HTTP/1.1 200 OK ", "HTTP/1.0 200 OK "]
    );
    assert_eq!(texts(&answers), ["GET /slow-1 ", "GET /slow-2 ", "GET /3 "]);
}

#[tokio::test]
async fn what_follows_a_close_is_not_executed() {
    let pair = Pair::start(Backend::start(script).await).await;
    for first in [
        "GET /slow-large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /slow HTTP/1.0\r\nHost: x\r\n\r\n",
    ] {
        let wire = format!("{first}POST /never HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
        let answers = exchange(&pair.proxy, wire.as_bytes(), usize::MAX).await;
        let answers = split(&answers, &["GET"]).unwrap_or_else(|error| panic!("{first:?}: {error}"));
        assert!(answers[0].0.ends_with(" 200 OK"), "{:?}", answers[0].0);
        let closes = answers[0].1 == "close" || answers[0].0.starts_with("HTTP/1.0");
        assert!(closes, "{:?}", answers[0]);
    }
    let received = pair.backend.received();
    let targets: Vec<&str> = received.iter().map(|received| received.target.as_str()).collect();
    assert_eq!(targets, ["/slow-large", "/slow"]);
}

#[tokio::test]
async fn a_100_continue_comes_behind_the_answer_before_it() {
    let pair = Pair::start(Backend::start(script).await).await;
    let mut connection = Connection::open(&pair.proxy.address())
        .await
        .expect("the proxy listens");
    let wire = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n\
                 PUT /put HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    connection.send_raw(wire).await.expect("sent");
    // Passes over a 100 before it, which would be the next one's.
    let answer = connection.read_response(false).await.expect("an answer");
    assert_eq!(answer.text(), "GET /slow ");
    connection.read_continue().await.expect("told to go on");
    connection
        .send_raw(b"bodyHEAD /head HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("sent");
    let answer = connection.read_response(false).await.expect("an answer");
    assert_eq!(answer.text(), "PUT /put body");
    assert_eq!(connection.read_response(true).await.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_refused_request_does_not_take_the_answers_before_it() {
    let pair = Pair::start(Backend::start(script).await).await;
    for refused in [
        "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let wire = format!("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n{refused}");
        let answers = exchange(&pair.proxy, wire.as_bytes(), usize::MAX).await;
        let answers = split(&answers, &["GET", "GET"]).unwrap_or_else(|error| panic!("{refused:?}: {error}"));
        assert_eq!(texts(&answers)[0], "GET /slow ");
        assert_eq!(answers[1].0, "HTTP/1.1 400 Bad Request");
    }
}

#[tokio::test]
async fn a_client_that_leaves_its_pipeline_is_noticed() {
    let gate = tokio::sync::watch::Sender::new(false);
    let opened = gate.subscribe();
    let pair = Pair::start(Backend::start(move |_| Answer::body("late").until(&opened)).await).await;
    let mut connection = Connection::open(&pair.proxy.address())
        .await
        .expect("the proxy listens");
    let one = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    connection.send_raw(&one.repeat(3)).await.expect("sent");
    pair.proxy.wait_for_pending(1).await;
    drop(connection);
    // Long before its timeout.
    pair.proxy.wait_for_pending(0).await;
    gate.send_replace(true);
    assert!(pair.backend.count() <= 1, "the others were never begun");
}

#[tokio::test]
async fn a_bare_line_feed_in_a_trailer_is_refused() {
    let pair = Pair::start(Backend::start(script).await).await;
    for trailers in [
        "X-A: 1\n\r\n",
        "X-A: 1\n\n",
        "\n",
        "X-A: 1\r\n\n",
        "X-A: 1\nX-B: 2\r\n\r\n",
    ] {
        let wire = format!(
            "POST /sent HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailers}\
             GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
        );
        let answers = exchange(&pair.proxy, wire.as_bytes(), usize::MAX).await;
        let answers = split(&answers, &["POST"]).unwrap_or_else(|error| panic!("{trailers:?}: {error}"));
        assert_eq!(
            (answers[0].0.as_str(), answers[0].1.as_str()),
            ("HTTP/1.1 400 Bad Request", "close"),
            "{trailers:?}"
        );
    }
    assert_eq!(pair.backend.count(), 0);
}
