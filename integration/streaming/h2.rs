//! HTTP/2 clients.

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{Request, Version};
use tokio::time::timeout;

use super::{CALL, FIRST, MORE, Played};
use crate::harness::records::Record;
use crate::harness::tls::{Authority, connect};
use crate::harness::wait::PATIENCE;

async fn start(authority: &Authority) -> Played {
    let identity = authority.issue("localhost");
    Played::start(|spec| {
        spec.set("management_port", 1)
            .set("tls.cert", identity.cert.to_str().expect("UTF-8"))
            .set("tls.key", identity.key.to_str().expect("UTF-8"))
    })
    .await
}

async fn client(authority: &Authority, played: &Played) -> SendRequest<Bytes> {
    let connector = authority.client(&[b"h2"], None);
    let stream = connect(&connector, &played.proxy.address()).await.expect("TLS");
    let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    // Err: the test ends before the connection does.
    tokio::spawn(async move { drop(connection.await) });
    requests
}

/// Sends a request whose answer has begun.
async fn begin(requests: &SendRequest<Bytes>, played: &Played, headers: &[(&str, &[u8])]) -> (RecvStream, Record) {
    let request = Request::get("https://shop.example/events").version(Version::HTTP_2);
    let request = request.body(()).expect("a request");
    let mut ready = requests.clone().ready().await.expect("it is open");
    let (answer, _) = ready.send_request(request, true).expect("sent");
    let record = played.requests.next().await;
    assert_eq!(record.header_text("khp-accept"), "stream");
    let first = [&FIRST[..], headers].concat();
    played.piece(&record, 0, b"begun", &first).await;
    let mut body = answer.await.expect("an answer").into_body();
    assert_eq!(next(&mut body).await.expect("data"), "begun");
    (body, record)
}

async fn next(body: &mut RecvStream) -> Result<String, h2::Error> {
    let data = timeout(PATIENCE, body.data())
        .await
        .expect("in time")
        .expect("not the end")?;
    Ok(String::from_utf8_lossy(&data).into_owned())
}

#[tokio::test]
async fn pieces_come_one_by_one_and_a_cut_resets_the_stream() {
    let authority = Authority::new();
    let played = start(&authority).await;
    let requests = client(&authority, &played).await;
    let (mut whole, of_whole) = begin(&requests, &played, &[]).await;
    let (mut cut, of_cut) = begin(&requests, &played, &[]).await;
    for number in 1..=5 {
        for (body, request) in [(&mut whole, &of_whole), (&mut cut, &of_cut)] {
            let event = format!("data: {number}\n\n");
            played.piece(request, number, event.as_bytes(), &[MORE]).await;
            assert_eq!(next(body).await.expect("data"), event);
        }
    }
    played.piece(&of_cut, 6, b"", &[("khp-error", b"backend-reset")]).await;
    let error = next(&mut cut).await.expect_err("it is reset");
    assert!(error.is_reset(), "{error}");
    played.piece(&of_whole, 6, b"last", &[]).await;
    assert_eq!(next(&mut whole).await.expect("data"), "last");
    while let Some(data) = timeout(PATIENCE, whole.data()).await.expect("in time") {
        assert!(data.expect("no reset").is_empty(), "the frame that ends it");
    }
    played.wait_for_outcome("complete").await;
    played.wait_for_outcome("backend-reset").await;
}

/// It stays connected, and resets one request while the backend is quiet.
#[tokio::test]
async fn a_client_that_resets_a_quiet_stream_ends_the_call() {
    let authority = Authority::new();
    let mut played = start(&authority).await;
    let requests = client(&authority, &played).await;
    let (body, request) = begin(&requests, &played, &[]).await;
    drop(body);
    played.assert_cancelled(&request, Some(CALL)).await;
    played.wait_for_outcome("client-left").await;
    let (mut body, request) = begin(&requests, &played, &[("content-length", b"9")]).await;
    played.piece(&request, 1, b"last", &[]).await;
    assert_eq!(next(&mut body).await.expect("data"), "last");
    played.wait_for_outcome("complete").await;
    assert_eq!(played.proxy.metrics().await.sum("proxy_cancels_total", &[]), 1.0);
}
