//! Certificates that change while the process runs, and those that cannot be used at its start.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::with_tls;
use crate::harness::backend::Backend;
use crate::harness::command::run;
use crate::harness::names::Topics;
use crate::harness::pair::Pair;
use crate::harness::spec::proxy;
use crate::harness::tls::{Authority, Identity, connect};
use crate::harness::wait::{eventually, long};

/// Sends one request on a connection of its own; returns the serial number of the certificate that it was served with.
async fn serial(authority: &Authority, address: &str) -> Result<String, String> {
    let client = authority.client(&[b"http/1.1"], None);
    let mut stream = connect(&client, address).await.map_err(|error| error.to_string())?;
    let shown = stream.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec());
    let mut answer = String::new();
    let exchange = async {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        stream.read_to_string(&mut answer).await
    };
    exchange.await.map_err(|error| error.to_string())?;
    if !answer.starts_with("HTTP/1.1 200 ") {
        return Err(answer);
    }
    let certificate = openssl::x509::X509::from_der(&shown.ok_or("no certificate")?);
    let serial = certificate.and_then(|certificate| certificate.serial_number().to_bn());
    let hex = serial.and_then(|serial| serial.to_hex_str());
    hex.map(|hex| hex.to_string()).map_err(|error| error.to_string())
}

/// Puts another certificate in the place of one.
fn replace(served: &Identity, by: &Identity) {
    std::fs::copy(&by.cert, &served.cert).expect("the certificate is replaced");
    std::fs::copy(&by.key, &served.key).expect("the key is replaced");
}

#[tokio::test]
async fn certificates_are_replaced_under_load_and_no_request_fails() {
    let authority = Authority::new();
    let served = authority.issue("localhost");
    let pair = Pair::start_with(Backend::echo().await, |spec| with_tls(spec, &served)).await;
    let address = pair.proxy.address();
    let clients = async {
        // Ends only with a failure.
        loop {
            if let Err(failure) = serial(&authority, &address).await {
                return failure;
            }
        }
    };
    let replacements = async {
        for _ in 0..if long() { 10 } else { 2 } {
            let next = authority.issue("localhost");
            replace(&served, &next);
            eventually("the new one is served", async || {
                match serial(&authority, &address).await {
                    Ok(serial) if serial == next.serial => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
        }
    };
    tokio::select! {
        failure = clients => panic!("{failure}"),
        () = replacements => {}
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_refused_and_the_old_ones_stay() {
    let authority = Authority::new();
    let served = authority.issue("localhost");
    let pair = Pair::start_with(Backend::echo().await, |spec| with_tls(spec, &served)).await;
    let refused = "changed certificates are refused, and the old ones stay";
    let address = pair.proxy.address();
    // The key is another's.
    std::fs::copy(&authority.issue("localhost").cert, &served.cert).expect("it is replaced");
    eventually("it is logged", async || match pair.proxy.logged(refused) {
        1 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    assert_eq!(serial(&authority, &address).await.as_deref(), Ok(&*served.serial));
    std::fs::remove_file(&served.cert).expect("it is removed");
    eventually("it is logged", async || match pair.proxy.logged(refused) {
        2 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    // Another turn logs nothing more.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(pair.proxy.logged(refused), 2);
    assert_eq!(serial(&authority, &address).await.as_deref(), Ok(&*served.serial));
    let next = authority.issue("localhost");
    replace(&served, &next);
    eventually("the new one is served", async || {
        match serial(&authority, &address).await {
            Ok(serial) if serial == next.serial => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_faults_before_the_start() {
    let authority = Authority::new();
    let (one, other) = (authority.issue("one"), authority.issue("other"));
    let spec = || with_tls(proxy(&Topics::unique("orders")), &one);
    let text = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let check = async |spec| run(&spec, &["check", "--mode", "proxy"]).await;
    check(spec()).await.assert_accepted();
    let expired = authority.issue_expired("old");
    let warned = check(with_tls(proxy(&Topics::unique("orders")), &expired)).await;
    warned.assert_accepted();
    warned.assert_shows(&["warning: tls.cert: the certificate has expired"]);
    for (spec, said) in [
        (spec().set("tls.key", text(&other.key)), "tls.key: "),
        (
            spec().set("tls.cert", "/nowhere/tls.crt"),
            "tls.cert: /nowhere/tls.crt: No such file",
        ),
        (spec().set("tls.cert", text(&one.key)), "tls.cert: "),
        (spec().set("tls.client_auth", "required"), "tls.client_ca: is required"),
        (spec().set("tls.client_ca", text(&one.key)), "tls.client_ca: "),
        (
            spec().set("tls.min_version", "1.1"),
            "tls.min_version: \"1.1\" is not 1.2 or 1.3",
        ),
    ] {
        let ended = check(spec).await;
        assert_eq!(ended.code, Some(64), "{said}: {}", ended.text());
        ended.assert_shows(&["1 fault", said]);
    }
}
