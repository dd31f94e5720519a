//! HTTP/1.1 over TLS: what stands before the parser holds there, too.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{start, url, with_tls};
use crate::harness::command::Running;
use crate::harness::curl::curl;
use crate::harness::kafka::free_port;
use crate::harness::names::Topics;
use crate::harness::spec::proxy;
use crate::harness::tls::{Authority, connect};
use crate::harness::wait::eventually;

#[tokio::test]
async fn curl_is_served_over_tls_in_each_version_of_http() {
    let authority = Authority::new();
    let pair = start(&authority, |spec| spec).await;
    let (ca, url) = (authority.file(), url(&pair));
    let ca = ca.to_str().expect("UTF-8");
    for (version, flags, via) in [
        ("2", &["--http2"][..], "2 actix-khp"),
        ("1.1", &["--http1.1"], "1.1 actix-khp"),
        ("1.1", &["--no-alpn"], "1.1 actix-khp"),
        ("1.1", &["--http1.1", "--tls-max", "1.2"], "1.1 actix-khp"),
        ("2", &["--http2", "--tls-max", "1.2"], "2 actix-khp"),
    ] {
        let target = format!("{url}/a//b/%2F?x=1&&y=");
        let args = [
            flags,
            &[
                "--cacert",
                ca,
                "-w",
                "\n%{http_version}",
                "-d",
                "hello",
                "-H",
                "X-A: caf\u{e9}",
            ],
            &[&target],
        ]
        .concat();
        let answer = curl(&args).await;
        assert_eq!(answer.code, Some(0), "{flags:?} {answer:?}");
        let (body, spoken) = answer.out.rsplit_once('\n').expect("two lines");
        assert_eq!(spoken, version, "{flags:?}");
        assert!(body.contains("\"body\":\"hello\""), "{body}");
        let received = pair.backend.last();
        assert_eq!(received.target, "/a//b/%2F?x=1&&y=");
        assert_eq!(received.all("via"), [via]);
        assert_eq!(received.all("x-forwarded-proto"), ["https"]);
        assert_eq!(received.all("x-a"), ["caf\u{e9}"]);
        assert_eq!(received.all("host"), [url.trim_start_matches("https://")]);
        assert_eq!(received.all("x-forwarded-host"), [url.trim_start_matches("https://")]);
    }
    let tls = pair.proxy.metrics().await;
    assert_eq!(tls.sum("proxy_tls_handshakes_total", &[("result", "ok")]), 5.0);
    assert!(tls.sum("proxy_tls_certificate_expiry_seconds", &[]) > 1.7e9);
    pair.proxy.wait_for_metric("proxy_tls_connections", &[], 0.0).await;
}

#[tokio::test]
async fn framing_is_checked_inside_tls() {
    let authority = Authority::new();
    let pair = start(&authority, |spec| spec).await;
    let client = authority.client(&[b"http/1.1"], None);
    let exchange = async |sent: &[u8]| {
        let mut stream = connect(&client, &pair.proxy.address()).await.expect("TLS");
        stream.write_all(sent).await.expect("it is sent");
        let mut answer = Vec::new();
        // Err: it was closed without a close_notify.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let refused = exchange(b"DELETE /orders/#7 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    // One at a time reaches the parser: the first answer has its body, and the second has none.
    let both = exchange(
        b"GET /first HTTP/1.1\r\nHost: x\r\n\r\nHEAD /second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    let (first, second) = both.split_once("/first").expect("the body of the first");
    assert!(
        first.starts_with("HTTP/1.1 200 ") && second.contains("HTTP/1.1 200 "),
        "{both}"
    );
    assert!(second.ends_with("\r\n\r\n"), "{both}");
    assert_eq!(pair.backend.count(), 2);
}

#[tokio::test]
async fn health_is_served_on_the_port_with_tls() {
    let authority = Authority::new();
    let spec = with_tls(proxy(&Topics::unique("orders")), &authority.issue("localhost"));
    let port = free_port();
    let _running = Running::start(&spec.set("port", port).set("management_port", 0), &["--mode", "proxy"]);
    let ca = authority.file();
    let url = format!("https://localhost:{port}/health/ready");
    for flag in ["--http1.1", "--http2"] {
        eventually("ready", async || {
            let args = [
                flag,
                "--cacert",
                ca.to_str().expect("UTF-8"),
                "-w",
                "%{http_code}",
                &url,
            ];
            match curl(&args).await {
                answer if answer.out.ends_with("200") => Ok(()),
                answer => Err(format!("{answer:?}")),
            }
        })
        .await;
    }
}
