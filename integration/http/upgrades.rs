//! An offer to upgrade is an offer: it is passed over, and the request answered in HTTP/1.1. Only websocket is refused.

use std::time::Duration;

use tokio::process::Command;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{self, Body, Connection, Request};
use crate::harness::load::{Load, OnClose};
use crate::harness::names::Topics;
use crate::harness::nginx::Nginx;
use crate::harness::pair::Pair;
use crate::harness::spec::{processor, proxy};
use crate::harness::temp_dir::TempDir;

/// Headers that offer an upgrade, or name one, and are no request for a websocket over HTTP/1.1.
const OFFERS: [&[(&str, &str)]; 12] = [
    &[
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"),
    ],
    &[("Connection", "Upgrade"), ("Upgrade", "TLS/1.0")],
    &[("Connection", "upgrade"), ("Upgrade", "TLS/1.0, h2c")],
    &[("Connection", "Upgrade"), ("Upgrade", "")],
    &[("Connection", "Upgrade"), ("Upgrade", ", ,")],
    &[("Upgrade", "h2c")],
    &[("Upgrade", "websocket")],
    &[("Upgrade", "WebSocket"), ("Connection", "keep-alive")],
    &[("Connection", "upgrade")],
    &[("Connection", "keep-alive, Upgrade")],
    &[("Connection", "x-a"), ("Connection", "UPGRADE"), ("X-A", "1")],
    &[("Connection", "Upgrade"), ("Upgrade", "h2c"), ("Upgrade", "IRC/6.9")],
];

#[tokio::test]
async fn an_offer_is_passed_over_and_the_connection_lives_on() {
    let pair = Pair::start(Backend::echo().await).await;
    let large = "x".repeat(100_000);
    for offer in OFFERS {
        let mut connection = Connection::open(&pair.proxy.address())
            .await
            .expect("the proxy listens");
        for body in [
            Body::None,
            Body::Sized(b"sized".to_vec()),
            Body::Chunked(vec![b"chu".to_vec(), b"nked".to_vec()]),
            Body::Sized(large.clone().into_bytes()),
            Body::Empty,
        ] {
            let sent = match &body {
                Body::None | Body::Empty => String::new(),
                Body::Sized(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Body::Chunked(chunks) => String::from_utf8_lossy(&chunks.concat()).into_owned(),
            };
            let method = if sent.is_empty() { "GET" } else { "POST" };
            let mut request = Request::new(method, "/offered").body(body);
            for (name, value) in offer {
                request = request.header(name, value);
            }
            let answer = connection.request(&request).await;
            let answer = answer.unwrap_or_else(|error| panic!("{offer:?} {method}: {error}"));
            assert_eq!(answer.status, 200, "{offer:?} {method}: {}", answer.text());
            assert!(
                answer.json()["body"] == sent.as_str(),
                "{offer:?}: {} bytes",
                answer.body.len()
            );
            assert!(answer.all("connection").is_empty(), "{offer:?}: {answer:?}");
            let received = pair.backend.last();
            for dropped in ["upgrade", "http2-settings", "x-a"] {
                assert!(received.all(dropped).is_empty(), "{offer:?}: {received:?}");
            }
        }
    }
}

#[tokio::test]
async fn in_http_1_0_every_offer_is_passed_over() {
    let pair = Pair::start(Backend::echo().await).await;
    for wire in [
        "POST /ten HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nbody",
        "POST /ten HTTP/1.0\r\nConnection: upgrade\r\nContent-Length: 4\r\n\r\nbody",
    ] {
        let mut connection = Connection::open(&pair.proxy.address())
            .await
            .expect("the proxy listens");
        connection.send_raw(wire.as_bytes()).await.expect("sent");
        let answer = connection.read_response(false).await.expect("an answer");
        assert_eq!(
            (answer.status, answer.json()["body"].as_str()),
            (200, Some("body")),
            "{wire:?}"
        );
        connection.read_end().await.expect("closed, as HTTP/1.0 has it");
    }
    let wire = b"GET /ten HTTP/1.0\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut connection = Connection::open(&pair.proxy.address())
        .await
        .expect("the proxy listens");
    for _ in 0..2 {
        connection.send_raw(wire).await.expect("sent");
        let answer = connection.read_response(false).await.expect("an answer");
        assert_eq!(
            (answer.status, answer.all("connection")),
            (200, vec!["keep-alive".into()])
        );
    }
}

#[tokio::test]
async fn a_websocket_is_refused_and_the_connection_lives_on() {
    let pair = Pair::start(Backend::echo().await).await;
    for (connections, upgrades) in [
        (&["Upgrade"][..], &["websocket"][..]),
        (&["keep-alive, upgrade"], &["WebSocket"]),
        (&["keep-alive", "UPGRADE"], &["websocket/13"]),
        (&["Upgrade"], &["h2c, websocket"]),
        (&["Upgrade"], &["h2c", "websocket"]),
    ] {
        let mut connection = Connection::open(&pair.proxy.address())
            .await
            .expect("the proxy listens");
        let mut request = Request::get("/socket").header("Sec-WebSocket-Version", "13");
        for value in connections {
            request = request.header("Connection", value);
        }
        for value in upgrades {
            request = request.header("Upgrade", value);
        }
        for body in [Body::None, Body::Empty] {
            let answer = connection
                .request(&request.clone().body(body))
                .await
                .expect("an answer");
            answer.assert_problem(501, "upgrade-unsupported");
            assert!(answer.all("connection").is_empty(), "{answer:?}");
            let answer = connection
                .request(&Request::post("/next", "it"))
                .await
                .expect("an answer");
            assert_eq!((answer.status, answer.json()["body"].as_str()), (200, Some("it")));
        }
        // Its body is not read, so the answer says that the connection ends.
        let mut wire = request.encode("x");
        wire.truncate(wire.len() - 2);
        wire.extend_from_slice(b"Content-Length: 500000\r\n\r\n");
        connection.send_raw(&wire).await.expect("sent");
        let answer = connection.read_response(false).await.expect("an answer");
        answer.assert_problem(501, "upgrade-unsupported");
        assert!(answer.closes(), "{answer:?}");
        connection.read_end().await.expect("closed");
    }
}

/// Offers h2c with each request, as it does unless it is told not to.
const JAVA: &str = r#"
import java.net.URI;
import java.net.http.*;
import java.net.http.HttpRequest.BodyPublishers;
import java.util.concurrent.CompletableFuture;
import java.util.stream.*;

class Client {
    public static void main(String[] arguments) throws Exception {
        String url = System.getenv("URL");
        HttpClient client = HttpClient.newHttpClient();
        HttpResponse.BodyHandler<String> text = HttpResponse.BodyHandlers.ofString();
        String large = "j".repeat(300_000);
        for (int i = 0; i < 5; i++) {
            for (String body : new String[] {"", "small " + i, large}) {
                for (boolean chunked : new boolean[] {false, true}) {
                    byte[] bytes = body.getBytes();
                    var publisher = chunked
                        ? BodyPublishers.ofInputStream(() -> new java.io.ByteArrayInputStream(bytes))
                        : BodyPublishers.ofByteArray(bytes);
                    var request = HttpRequest.newBuilder(URI.create(url + "/bytes")).POST(publisher).build();
                    check(client.send(request, text), body);
                }
            }
            check(client.send(HttpRequest.newBuilder(URI.create(url + "/bytes")).build(), text), "");
        }
        var many = IntStream.range(0, 30).mapToObj(n -> {
            var request = HttpRequest.newBuilder(URI.create(url + "/bytes")).PUT(BodyPublishers.ofString("n" + n)).build();
            return client.sendAsync(request, text).thenAccept(answer -> check(answer, "n" + n));
        }).toArray(CompletableFuture[]::new);
        CompletableFuture.allOf(many).get();
        System.out.println("ok");
    }

    static void check(HttpResponse<String> answer, String body) {
        if (answer.statusCode() != 200 || !answer.body().equals(body) || answer.version() != HttpClient.Version.HTTP_1_1)
            throw new IllegalStateException(answer + " " + answer.version() + " " + answer.body().length() + " bytes");
    }
}
"#;

#[tokio::test]
async fn the_jdks_http_client_is_answered() {
    let pair = Pair::start(Backend::start(|received| Answer::body(received.body.clone())).await).await;
    let dir = TempDir::new();
    let output = Command::new("java")
        .arg(dir.write("Client.java", JAVA))
        .env("URL", format!("http://{}", pair.proxy.address()))
        .output()
        .await
        .unwrap_or_else(|error| panic!("java: {error}; integration/install installs it"));
    let (printed, complained) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success() && printed == "ok\n", "{printed}\n{complained}");
    for received in pair.backend.received() {
        for dropped in ["upgrade", "http2-settings"] {
            assert!(received.all(dropped).is_empty(), "{received:?}");
        }
    }
}

/// The recipe of nginx's own page on WebSocket proxying, for all requests, as people have it in their `server` blocks.
const RECIPE: &str = r#"
upstream proxy_backend {
    server proxy:8080;
    keepalive 16;
}
server {
    listen 80;
    location / {
        proxy_pass http://proxy_backend;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
    }
}
"#;

#[tokio::test]
async fn behind_nginxs_websocket_recipe_no_post_fails() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::body(received.body.clone())).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    let nginx = Nginx::start(&RECIPE.replace("proxy:8080", &proxy.address())).await;
    let load = Load::start(&nginx.address(), 16, OnClose::Persist, |body| Request::post("/", body));
    load.wait_for_more(1_500).await;
    let report = load.finish().await;
    println!("{} answered, failed: {:?}", report.answered, report.kinds);
    assert_eq!(report.failures, Vec::<String>::new());
    let socket = Request::get("/socket")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket");
    let answer = tokio::time::timeout(Duration::from_secs(20), client::request(&nginx.address(), socket)).await;
    answer.expect("an answer").assert_problem(501, "upgrade-unsupported");
}
