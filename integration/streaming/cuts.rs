//! What cuts a client off, so that a part of an answer is never taken for whole.

use super::{CALL, FIRST, GET, MORE, Played};
use crate::harness::records::Header;

/// A stream that has begun, and the piece that ends it.
async fn cut_by(outcome: &str, seq: u64, body: &[u8], headers: &[Header<'_>]) -> Played {
    let played = Played::start(|spec| spec).await;
    let (mut client, request) = played.ask(GET).await;
    played.piece(&request, 0, b"begun", &FIRST).await;
    client.until("begun").await;
    played.piece(&request, seq, body, headers).await;
    client.assert_cut("begun").await;
    played.wait_for_outcome(outcome).await;
    let cancels = played.proxy.metrics().await.sum("proxy_cancels_total", &[]);
    let is_known = headers.iter().any(|(name, _)| *name == "khp-error");
    assert_eq!(cancels, if is_known { 0.0 } else { 1.0 }, "{outcome}");
    played
}

#[tokio::test]
async fn an_answer_that_its_backend_breaks_off_is_cut_off() {
    cut_by("backend-reset", 1, b"", &[("khp-error", b"backend-reset")]).await;
}

#[tokio::test]
async fn a_gap_cuts_the_client_off() {
    let played = cut_by("gap", 2, b"third", &[MORE]).await;
    assert_eq!(played.proxy.logged("broke the rules"), 1);
}

#[tokio::test]
async fn more_than_the_window_cuts_the_client_off() {
    let played = Played::start(|spec| spec.set("stream_window", 1000)).await;
    let (mut client, request) = played.ask(GET).await;
    assert_eq!(request.header_text("khp-window"), "1000");
    played.piece(&request, 0, b"begun", &FIRST).await;
    client.until("begun").await;
    played.piece(&request, 1, &[b'x'; 996], &[MORE]).await;
    client.assert_cut("begun").await;
    played.wait_for_outcome("over-window").await;
}

#[tokio::test]
async fn a_body_of_another_length_than_told_is_cut_off() {
    for (body, what) in [(&b"56"[..], "short"), (b"567890", "long")] {
        let mut played = Played::start(|spec| spec).await;
        let (mut client, request) = played.ask(GET).await;
        let with_length = [&FIRST[..], &[("content-length", &b"10"[..])]].concat();
        played.piece(&request, 0, b"01234", &with_length).await;
        client.until("01234").await;
        played
            .piece(&request, 1, body, if what == "short" { &[] } else { &[MORE] })
            .await;
        let text = client.until_end().await;
        let got = if what == "short" { "0123456" } else { "01234" };
        assert!(text.ends_with(&format!("\r\n\r\n{got}")), "{what}: {text}");
        played.wait_for_outcome("bad-length").await;
        if what == "long" {
            played.assert_cancelled(&request, Some(CALL)).await;
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_silent_or_takes_too_long_is_cut_off() {
    for (setting, outcome) in [("stream_idle_timeout", "idle"), ("stream_max_duration", "too-long")] {
        let mut played = Played::start(|spec| spec.set(setting, 2)).await;
        let (mut client, request) = played.ask(GET).await;
        played.piece(&request, 0, b"begun", &FIRST).await;
        client.until("begun").await;
        let began = std::time::Instant::now();
        let mut seq = 0;
        if outcome == "too-long" {
            // It is not silent meanwhile.
            while began.elapsed() < std::time::Duration::from_secs(1) {
                seq += 1;
                played.piece(&request, seq, b"", &[MORE]).await;
            }
        }
        client.assert_cut("begun").await;
        assert!(
            began.elapsed() >= std::time::Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        played.assert_cancelled(&request, Some(CALL)).await;
        played.wait_for_outcome(outcome).await;
    }
}

/// Its client would take the part for whole.
#[tokio::test]
async fn pieces_for_a_request_that_takes_none_are_no_answer() {
    let mut played = Played::start(|spec| spec.set("streaming", "off")).await;
    let (client, request) = played
        .ask("GET /events HTTP/1.1\nHost: shop.example\nConnection: close")
        .await;
    assert!(request.header("khp-accept").is_none());
    played.piece(&request, 0, b"begun", &FIRST).await;
    let text = client.until_end().await;
    assert!(text.starts_with("HTTP/1.1 502") && !text.contains("begun"), "{text}");
    played
        .proxy
        .wait_for_metric("proxy_malformed_replies_total", &[], 1.0)
        .await;
    assert!(played.control.up_to_now().await.is_empty(), "that topic is not used");
}
