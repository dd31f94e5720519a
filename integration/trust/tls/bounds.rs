//! What one client may take of a port with TLS.

use h2::Reason;
use h2::client::Builder;
use tokio::net::TcpStream;

use super::h2::{Client, get};
use super::start;
use crate::harness::pair::Pair;
use crate::harness::tls::Authority;
use crate::harness::wait::{PATIENCE, eventually};

/// So many that each of the server's threads gets its share.
const MAX: usize = 100;
const MANY: usize = 2 * MAX;

async fn assert_answers(client: &Client) {
    let answer = client.request(get("/"), None).await.expect("an answer");
    assert_eq!(answer.status, 200);
}

async fn closed(pair: &Pair) -> usize {
    let metrics = pair.proxy.metrics().await;
    metrics.sum("proxy_idle_connections_closed_total", &[]) as usize
}

#[tokio::test]
async fn handshakes_that_do_not_go_on_make_room() {
    let authority = Authority::new();
    let pair = start(&authority, |spec| spec.set("max_connections", MAX)).await;
    let mut silent = Vec::new();
    for _ in 0..MANY {
        silent.push(TcpStream::connect(pair.proxy.address()).await.expect("it listens"));
    }
    assert_answers(&Client::connect(&authority, &pair).await).await;
    eventually("all but the latest made room", async || match closed(&pair).await {
        closed if closed >= MANY - MAX => Ok(()),
        closed => Err(closed.to_string()),
    })
    .await;
}

#[tokio::test]
async fn idle_connections_of_http_2_make_room() {
    let authority = Authority::new();
    let pair = start(&authority, |spec| spec.set("max_connections", MAX)).await;
    let mut idle = Vec::new();
    for _ in 0..MANY {
        let client = Client::connect(&authority, &pair).await;
        assert_answers(&client).await;
        idle.push(client);
    }
    assert!(closed(&pair).await >= MANY - MAX, "{}", closed(&pair).await);
    // The last one lives, and the first was told to go.
    assert_answers(idle.last().expect("there are many")).await;
    let first = tokio::time::timeout(PATIENCE, idle.swap_remove(0).end).await;
    let end = first.expect("it ends").expect("no panic");
    assert!(
        end.as_ref()
            .err()
            .is_none_or(|error| error.reason() == Some(Reason::NO_ERROR)),
        "{end:?}"
    );
}

#[tokio::test]
async fn answers_that_nobody_reads_count() {
    const ANSWERS: usize = 100;
    let authority = Authority::new();
    let pair = start(&authority, |spec| spec).await;
    // It lets the server send nothing of any body.
    let client = Client::connect_as(&authority, &pair, Builder::new().initial_window_size(0)).await;
    let mut unread = Vec::new();
    for _ in 0..ANSWERS {
        unread.push(client.begin(get("/"), true).await.expect("it is sent"));
    }
    pair.backend.wait_for_calls(ANSWERS).await;
    // Each is an echo of this many bytes at least.
    let least = 30 * ANSWERS;
    eventually("they are held", async || {
        let metrics = pair.proxy.metrics().await;
        metrics.expect_sum("proxy_pending_requests", &[], 0.0)?;
        match metrics.sum("proxy_pending_bytes", &[]) as usize {
            held if held >= least => Ok(()),
            held => Err(held.to_string()),
        }
    })
    .await;
    client.end.abort();
    pair.proxy.wait_for_metric("proxy_pending_bytes", &[], 0.0).await;
}
