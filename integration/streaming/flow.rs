//! Windows and credit: a client that reads slowly slows its backend down.

use tokio::io::AsyncReadExt;

use super::{CALL, FIRST, GET, MORE, Played};
use crate::harness::records::Record;

const WINDOW: usize = 100_000;
const PIECE: usize = 25_000;

/// A replier that keeps to the rules sends what window and credit allow, and no more.
#[tokio::test]
async fn credit_comes_as_the_client_reads_and_not_before() {
    let mut played = Played::start(|spec| spec.set("stream_window", WINDOW)).await;
    let (mut client, request) = played.ask(GET).await;
    let (sent, allowed, seq) = played.send_to_who_reads_nothing(&request).await;
    let metrics = played.proxy.metrics().await;
    let held = metrics.sum("proxy_stream_buffered_bytes", &[]);
    assert!(held > 0.0 && held <= WINDOW as f64, "{held}");
    assert_eq!(held, metrics.sum("proxy_pending_bytes", &[]));
    println!("{sent} bytes sent to a client that reads nothing, {held} held");
    // It reads, and credit comes again.
    let mut read = 0;
    let mut buffer = vec![0; 1 << 20];
    while read < sent {
        read += client.stream.read(&mut buffer).await.expect("it is open");
    }
    let credit = played.next_credit(&request).await;
    assert!(credit > allowed && credit <= sent + WINDOW, "{credit} {allowed} {sent}");
    played.piece(&request, seq, b"last", &[]).await;
    client.until("last\r\n0\r\n\r\n").await;
    played.wait_for_outcome("complete").await;
}

/// The largest credit that has come within two seconds.
async fn newest_credit(played: &mut Played, request: &Record) -> Option<usize> {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(2);
    let mut newest = None;
    while newest.is_none() && std::time::Instant::now() < until {
        for record in played.control.up_to_now().await {
            if record.header_text("khp-control") == "credit" {
                assert_eq!(record.correlation_id(), request.correlation_id());
                assert_eq!(record.header("khp-stream"), Some(CALL));
                newest = newest.max(record.header_text("khp-credit").parse().ok());
            }
        }
    }
    newest
}

impl Played {
    /// Sends what window and credit allow to a client that reads nothing; returns how many bytes were sent, how many may be, and the number
    /// of the next piece.
    async fn send_to_who_reads_nothing(&mut self, request: &Record) -> (usize, usize, u64) {
        let (mut sent, mut allowed, mut seq) = (0, WINDOW, 0);
        // The client reads nothing. What its socket takes is credited; once that is full, nothing is.
        loop {
            while sent + PIECE <= allowed {
                let headers = if seq == 0 { &FIRST[..] } else { &[MORE][..] };
                self.piece(request, seq, &[b'x'; PIECE], headers).await;
                (sent, seq) = (sent + PIECE, seq + 1);
            }
            let newest = newest_credit(self, request).await;
            match newest {
                Some(credit) => {
                    assert!(credit > allowed && credit <= sent + WINDOW, "{credit} {sent}");
                    allowed = credit;
                }
                None => break,
            }
        }
        (sent, allowed, seq)
    }

    async fn next_credit(&mut self, request: &Record) -> usize {
        for _ in 0..10 {
            if let Some(credit) = newest_credit(self, request).await {
                return credit;
            }
        }
        panic!("no credit");
    }
}

/// Without credit a stream would stand still for ever, if a record with credit were lost: the topic was recreated, or its leader was.
#[tokio::test]
async fn credit_that_may_have_been_lost_is_given_again() {
    let mut played = Played::start(|spec| spec.set("stream_window", WINDOW)).await;
    let (mut client, request) = played.ask(GET).await;
    played.piece(&request, 0, &[b'x'; WINDOW], &FIRST).await;
    client.until(&"x".repeat(WINDOW / 2)).await;
    let first = played.next_credit(&request).await;
    let again = played.next_credit(&request).await;
    assert!(again >= first, "{first} {again}");
    played.piece(&request, 1, b"last", &[]).await;
    client.until("last\r\n0\r\n\r\n").await;
}

/// A call without credit sends nothing by which it could be found that it missed its cancel.
#[tokio::test]
async fn a_call_without_credit_is_cancelled_once_more() {
    let mut played = Played::start(|spec| spec.set("stream_window", WINDOW)).await;
    let (client, request) = played.ask(GET).await;
    let (sent, allowed, seq) = played.send_to_who_reads_nothing(&request).await;
    let held = played.proxy.metrics().await.sum("proxy_stream_buffered_bytes", &[]);
    let rest = vec![b'x'; allowed - sent];
    played.piece(&request, seq, &rest, &[MORE]).await;
    let (gauge, all) = ("proxy_stream_buffered_bytes", held + rest.len() as f64);
    played.proxy.wait_for_metric(gauge, &[], all).await;
    drop(client);
    for _ in 0..2 {
        played.assert_cancelled(&request, Some(CALL)).await;
    }
}
