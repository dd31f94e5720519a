//! Handshakes that fail, and many of them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{start, url};
use crate::harness::client::{Connection, Request};
use crate::harness::curl::curl;
use crate::harness::tls::{Authority, connect};
use crate::harness::wait::{eventually, long};

#[tokio::test]
async fn a_client_that_speaks_plain_http_learns_that_the_port_speaks_tls() {
    let authority = Authority::new();
    let pair = start(&authority, |spec| spec).await;
    let mut connection = Connection::open(&pair.proxy.address()).await.expect("it listens");
    let answer = connection
        .request(&Request::post("/", vec![b'x'; 100_000]))
        .await
        .expect("an answer");
    assert_eq!((answer.status, answer.closes()), (400, true));
    assert_eq!(answer.json()["code"].as_str(), Some("tls-required"));
    assert_eq!(answer.json()["detail"], "this port speaks TLS: use https");
    connection.read_end().await.expect("it is closed");
    assert_eq!(pair.backend.count(), 0);
    pair.proxy
        .wait_for_metric("proxy_tls_handshakes_total", &[("result", "plain-http")], 1.0)
        .await;
}

#[tokio::test]
async fn old_versions_of_tls_and_strange_bytes_are_refused() {
    let authority = Authority::new();
    let pair = start(&authority, |spec| spec.set("tls.min_version", "1.3")).await;
    let (ca, url) = (authority.file(), url(&pair));
    let ca = ca.to_str().expect("UTF-8");
    for (flags, code) in [
        (&["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"][..], 35),
        (&["--tls-max", "1.2"], 35),
        (&["--tlsv1.3"], 0),
    ] {
        let answer = curl(&[flags, &["--cacert", ca, &url]].concat()).await;
        assert_eq!(answer.code, Some(code), "{flags:?}: {answer:?}");
    }
    pair.proxy
        .wait_for_metric("proxy_tls_handshakes_total", &[("result", "incompatible")], 2.0)
        .await;
    // A record of TLS with nonsense in it, and one that says nothing at all.
    for (sent, result) in [(&b"\x16\x03\x01\x00\x05hello"[..], "malformed"), (b"", "closed")] {
        let mut stream = TcpStream::connect(pair.proxy.address()).await.expect("it listens");
        stream.write_all(sent).await.expect("it is sent");
        stream.shutdown().await.expect("it is open");
        let mut answer = Vec::new();
        // Err: it was reset.
        let _ = stream.read_to_end(&mut answer).await;
        pair.proxy
            .wait_for_metric("proxy_tls_handshakes_total", &[("result", result)], 1.0)
            .await;
    }
    // A client that does not trust the certificate.
    let answer = curl(&[&*url]).await;
    assert_eq!(answer.code, Some(60), "{answer:?}");
    pair.proxy
        .wait_for_metric("proxy_tls_handshakes_total", &[("result", "refused-by-client")], 1.0)
        .await;
}

#[tokio::test]
async fn descriptors_and_memory_come_back_after_many_handshakes() {
    const AT_ONCE: usize = 50;
    let authority = Authority::new();
    let pair = start(&authority, |spec| spec).await;
    let (client, address) = (authority.client(&[b"h2"], None), pair.proxy.address());
    let round = async || {
        let all = (0..AT_ONCE).map(|_| async {
            let mut stream = connect(&client, &address).await.expect("TLS");
            stream.shutdown().await.expect("it is open");
        });
        futures_util::future::join_all(all).await;
    };
    round().await;
    pair.proxy.wait_for_metric("proxy_tls_connections", &[], 0.0).await;
    let (descriptors, memory) = (pair.proxy.descriptors(), pair.proxy.resident_memory());
    let rounds = if long() { 200 } else { 6 };
    for _ in 0..rounds {
        round().await;
    }
    eventually("descriptors are back", async || match pair.proxy.descriptors() {
        open if open <= descriptors + 2 => Ok(()),
        open => Err(format!("{open}, before {descriptors}")),
    })
    .await;
    let made = pair
        .proxy
        .metrics()
        .await
        .sum("proxy_tls_handshakes_total", &[("result", "ok")]);
    assert_eq!(made as usize, (rounds + 1) * AT_ONCE);
    let grown = pair.proxy.resident_memory().saturating_sub(memory);
    assert!(grown < 8 << 20, "{grown} bytes more than before");
}

/// Takes as long as a handshake may.
#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_cut_off() {
    if !long() {
        return;
    }
    let authority = Authority::new();
    let pair = start(&authority, |spec| spec).await;
    let mut slow = TcpStream::connect(pair.proxy.address()).await.expect("it listens");
    slow.write_all(&[22, 3]).await.expect("it is sent");
    let mut answer = Vec::new();
    let _ = slow.read_to_end(&mut answer).await;
    pair.proxy
        .wait_for_metric("proxy_tls_handshakes_total", &[("result", "timeout")], 1.0)
        .await;
}
