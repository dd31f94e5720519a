//! What one party may take of memory, connections and time.

use std::time::{Duration, Instant};

use crate::harness::backend::Backend;
use crate::harness::client::{Connection, Request};
use crate::harness::exchange::connect;
use crate::harness::names::Topics;
use crate::harness::spec::{processor, proxy};
use crate::harness::wait::eventually;

const MIB: usize = 1 << 20;

/// Begins an upload of 900,000 bytes and sends this many of them.
async fn upload(proxy: &str, sent: usize) -> Connection {
    let mut connection = Connection::open(proxy).await.expect("it takes connections");
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n";
    // Err: it was refused meanwhile.
    let _ = connection.send_raw(head.as_bytes()).await;
    let _ = connection.send_raw(&vec![b'x'; sent]).await;
    connection
}

#[tokio::test]
async fn stalled_uploads_hold_no_more_than_their_bytes() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).set("max_pending_bytes", "64MiB").start().await;
    let before = proxy.resident_memory();
    let mut stalled = Vec::new();
    for _ in 0..600 {
        stalled.push(upload(&proxy.address(), 850_000).await);
    }
    let metrics = proxy.metrics().await;
    let (held, grown) = (
        metrics.sum("proxy_pending_bytes", &[]) as usize,
        proxy.resident_memory().saturating_sub(before),
    );
    println!("{} MiB held, {} MiB grown", held / MIB, grown / MIB);
    assert!((32 * MIB..=64 * MIB).contains(&held), "{held}");
    // Each body was copied to twice the room as it grew, and the allocator may keep what the smaller copies took: as much again as is held.
    // Beside bodies, a connection takes what `check` says, 160 KiB. Without the bound on bodies, the 600 would take 486 MiB of them alone.
    assert!(grown < 2 * 64 * MIB + 600 * (160 << 10), "{} MiB", grown / MIB);
    let refused = metrics.sum("proxy_rejected_total", &[("reason", "overloaded")]);
    assert!(refused > 300.0, "{refused}");
    assert_eq!(metrics.sum("proxy_pending_requests", &[]), 0.0, "they take no places");
    // What has no body is answered.
    assert_eq!(proxy.request(Request::get("/")).await.status, 200);
    drop(stalled);
    proxy.wait_for_metric("proxy_pending_bytes", &[], 0.0).await;
    assert_eq!(proxy.request(Request::post("/", vec![b'x'; 900_000])).await.status, 200);
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_gets_408_and_takes_no_place() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).set("max_pending", 1).start().await;
    let began = Instant::now();
    let mut slow = upload(&proxy.address(), 1).await;
    proxy.wait_for_metric("proxy_pending_bytes", &[], 1.0).await;
    assert_eq!(
        proxy.request(Request::get("/")).await.status,
        200,
        "the only place is free"
    );
    let answer = loop {
        // One byte a second is below 240.
        let byte = tokio::time::timeout(Duration::from_secs(1), slow.read_response(false)).await;
        match byte {
            Ok(answer) => break answer.expect("an answer"),
            Err(_) => slow.send_raw(b"x").await.expect("it still reads"),
        }
    };
    answer.assert_problem(408, "body-timeout");
    let took = began.elapsed();
    assert!(
        (Duration::from_secs(9)..Duration::from_secs(20)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test]
async fn idle_connections_make_room_when_files_run_out() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let settings = proxy(&topics).set("management_port", 0).set("keep_alive", 300);
    let proxy = settings.open_files(1024).start().await;
    let mut idle = Vec::new();
    for _ in 0..1100 {
        let mut one = connect(&proxy).await;
        // One that has served is idle for as long as `keep_alive`; on a busy machine, a first head's time would end before all are open.
        assert_eq!(
            one.request(&Request::get("/health/live"))
                .await
                .expect("an answer")
                .status,
            200
        );
        idle.push(one);
    }
    assert_eq!(proxy.health("/health/live").await, Some(200));
    assert_eq!(proxy.request(Request::post("/", "hello")).await.status, 200);
    let metrics = proxy.metrics().await;
    let open = metrics.sum("proxy_open_connections", &[]);
    assert!((800.0..=924.0).contains(&open), "{open}");
    assert!(metrics.sum("proxy_idle_connections_closed_total", &[]) >= 176.0);
    idle[0].read_end().await.expect("the first was idle longest");
    // The last one lives.
    let last = idle.last_mut().expect("there are many");
    assert_eq!(last.request(&Request::get("/")).await.expect("an answer").status, 200);
}

#[tokio::test]
async fn one_client_has_its_share_of_connections() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics)
        .set("max_connections_per_client", 3)
        .set("management_port", 0)
        .start()
        .await;
    let mut busy = Vec::new();
    for number in 0..3 {
        busy.push(proxy.leave_waiting(&Request::post("/", number.to_string())).await);
    }
    proxy.wait_for_pending(3).await;
    let mut refused = connect(&proxy).await;
    refused.read_end().await.expect("it closes at once");
    let refused = proxy.metrics().await.sum("proxy_connections_refused_total", &[]);
    assert_eq!(refused, 1.0);
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    for client in &mut busy {
        assert_eq!(client.read_response(false).await.expect("an answer").status, 200);
    }
    // Now they are idle. Of two threads, one may have none.
    eventually("an idle one makes room", async || {
        match proxy.metrics().await.sum("proxy_idle_connections_closed_total", &[]) {
            0.0 => match Connection::open(&proxy.address()).await {
                Ok(mut new) => {
                    let answered = new.request(&Request::get("/")).await;
                    Err(format!("{answered:?}"))
                }
                Err(error) => Err(error.to_string()),
            },
            _ => Ok(()),
        }
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_is_kept_as_long_as_configured() {
    let proxy = proxy(&Topics::unique("orders")).set("keep_alive", 1).start().await;
    let mut idle = connect(&proxy).await;
    let request = Request::get("/health/live");
    assert_eq!(idle.request(&request).await.expect("an answer").status, 200);
    let began = Instant::now();
    idle.read_end().await.expect("it closes");
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
}
