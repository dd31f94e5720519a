//! Signs of life, and processors that are gone.

use std::time::{Duration, Instant};

use super::{FIRST, GET, MORE, Played, REPLIER};
use crate::harness::records::produce;
use crate::harness::wait::eventually;

/// Longer than a processor may be silent, and than it takes to make sure.
const DEAD_AFTER: Duration = Duration::from_secs(28);

#[tokio::test]
async fn a_proxy_shows_that_it_lives_while_answers_may_come_in_pieces() {
    let mut played = Played::start(|spec| spec).await;
    let (client, request) = played.ask(GET).await;
    let instance = request.header("khp-instance").expect("an offer").to_vec();
    let mut alive = Vec::new();
    eventually("two signs of life", async || {
        alive.extend(played.control.up_to_now().await);
        if alive.len() >= 2 {
            Ok(())
        } else {
            Err(format!("{alive:?}"))
        }
    })
    .await;
    for record in &alive {
        assert_eq!(record.header_text("khp-control"), "alive");
        assert_eq!(record.header("khp-instance"), Some(&instance[..]));
        assert_eq!(record.header("kafka_correlationId"), None);
    }
    drop(client);
    played.assert_cancelled(&request, None).await;
}

/// One that shows it lives may be silent for long; one that does not is dead.
#[tokio::test]
async fn the_streams_of_a_processor_that_is_gone_are_cut_off() {
    let mut played = Played::start(|spec| spec).await;
    let (mut living, of_living) = played.ask(GET).await;
    played.piece(&of_living, 0, b"lives", &FIRST).await;
    living.until("lives").await;
    let (mut dead, of_dead) = played.ask(GET).await;
    let other = [MORE, (":status", &b"200"[..]), ("khp-instance", b"replier-process2")];
    played.piece_of(b"call-002", &of_dead, 0, b"dies", &other).await;
    dead.until("dies").await;
    let since = Instant::now();
    let alive = async {
        while since.elapsed() < DEAD_AFTER {
            let headers: [(&str, &[u8]); 3] = [
                ("khp-version", b"1"),
                ("khp-control", b"alive"),
                ("khp-instance", REPLIER),
            ];
            produce(&played.topics.response, 0, b"", &headers).await;
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
    };
    let ((), text) = tokio::join!(alive, dead.until_end());
    assert!(text.ends_with("dies\r\n"), "{text}");
    played.assert_cancelled(&of_dead, Some(b"call-002")).await;
    let metrics = played.proxy.metrics().await;
    let ended = metrics.sum("proxy_streams_total", &[("outcome", "processor-dead")]);
    assert_eq!((ended, metrics.sum("proxy_streams_open", &[])), (1.0, 1.0));
    // Signs of life are no replies that nobody knows.
    assert_eq!(metrics.sum("proxy_unmatched_replies_total", &[]), 0.0);
    played.piece(&of_living, 1, b"goes on", &[]).await;
    living.until("goes on\r\n0\r\n\r\n").await;
}
