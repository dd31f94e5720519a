//! kill -9, as clients see it: another processor executes the requests of a killed one, and a killed proxy fails only its own clients.

use std::time::Duration;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::wait_for_count;
use crate::harness::wait::eventually;

#[tokio::test]
async fn kill_9_of_one_of_two_processors_leaves_no_client_without_its_answer() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::same_body(received).after(Duration::from_secs(2))).await;
    let spec = processor(&[(&topics, &backend.url())]);
    let (dying, staying) = (spec.clone().start().await, spec.start().await);
    let proxy = proxy(&topics).set("default_timeout", 40).start().await;

    // More and more requests, until both processors have some: Kafka chooses how they spread over the partitions.
    let mut waiting = Vec::new();
    eventually("both processors execute requests", async || {
        for _ in 0..5 {
            let body = format!("request {}", waiting.len());
            waiting.push((proxy.leave_waiting(&Request::post("/", body.clone())).await, body));
        }
        let mut held = Vec::new();
        for processor in [&dying, &staying] {
            held.push(processor.metrics().await.sum("processor_messages_in_flight", &[]));
        }
        if held.iter().all(|held| *held > 0.0) {
            Ok(())
        } else {
            Err(format!("{held:?}"))
        }
    })
    .await;
    dying.signal("KILL");
    for (client, body) in &mut waiting {
        let answer = client.read_response(false).await.expect("an answer");
        assert_eq!((answer.status, &answer.text()), (200, &*body), "{}", answer.text());
    }
    assert!(waiting.iter().all(|(_, body)| backend.calls_with_body(body) >= 1));
}

#[tokio::test]
async fn a_processor_that_starts_after_a_kill_executes_the_requests_that_were_left() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|_| Answer::Hang).await;
    let spec = processor(&[(&topics, &backend.url())]);
    let first = spec.clone().start().await;
    let proxy = proxy(&topics).set("default_timeout", 50).start().await;
    let mut waiting = proxy.leave_waiting(&Request::post("/", "left by the killed")).await;
    backend.wait_for_calls(1).await;
    first.signal("KILL");
    backend.answer_with(Answer::echo);
    let _second = spec.start().await;
    let answer = waiting.read_response(false).await.expect("an answer");
    answer.assert_echo("left by the killed");
}

#[tokio::test]
async fn kill_9_of_a_proxy_fails_only_its_own_clients() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|received| Answer::same_body(received).after(Duration::from_secs(1))).await;
    let (dying, staying) = (proxy(&topics).start().await, proxy(&topics).start().await);
    let mut lost = dying.leave_waiting(&Request::post("/", "lost")).await;
    let mut waiting = staying.leave_waiting(&Request::post("/", "kept")).await;
    wait_for_count(&topics.request, 2).await;
    dying.signal("KILL");
    lost.read_response(false).await.expect_err("its proxy was killed");

    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let answer = waiting.read_response(false).await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "kept"));
    let successor = proxy(&topics).start().await;
    assert_eq!(successor.request(Request::post("/", "next")).await.status, 200);
}
