//! A topic that an operator pauses: its records wait in Kafka, and its consumer stays a member of its group.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::management::TOKEN;
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{create_topic, wait_for_commit, wait_for_count};
use crate::harness::wait::eventually;

#[tokio::test]
async fn a_paused_topic_keeps_its_records_and_its_partitions() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 2).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("management_token", TOKEN)
        // The group expels a consumer that does not poll for this long. The small queue makes the processor ask Kafka for its lag.
        .set(
            "kafka.properties",
            json!({
                "session.timeout.ms": "6000", "heartbeat.interval.ms": "1000", "max.poll.interval.ms": "6000",
                "queued.max.messages.kbytes": "1",
            }),
        )
        .start()
        .await;
    let proxy = proxy(&topics).set("default_timeout", 60).start().await;
    assert_eq!(proxy.request(Request::post("/", "before")).await.status, 200);
    wait_for_commit(&topics.group, &topics.request, 1).await;
    eventually("both partitions are known", async || {
        match processor.metrics().await.count("processor_consumer_lag", &[]) {
            2 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    processor
        .wait_for_metric("processor_consumer_lag", &[("topic", &topics.request)], 0.0)
        .await;

    let path = |action: &str| format!("/topics/{}/{action}", topics.request);
    let paused = Instant::now();
    assert_eq!(processor.order(&path("pause")).await.json()["paused"], true);
    let mut waiting = Vec::new();
    for number in 0..50 {
        let body = format!("{number} {}", "x".repeat(1000));
        waiting.push((proxy.leave_waiting(&Request::post("/", body.clone())).await, body));
    }
    wait_for_count(&topics.request, 51).await;
    processor
        .wait_for_metric("processor_consumer_lag", &[("topic", &topics.request)], 50.0)
        .await;
    eventually(
        "longer than the group keeps a consumer that does not poll",
        async || match paused.elapsed() > Duration::from_secs(8) {
            true => Ok(()),
            false => Err("not yet".into()),
        },
    )
    .await;
    let status = processor.topic_status(&topics.request).await;
    assert_eq!(
        (
            &status["state"],
            &status["lag"],
            &status["in_flight"],
            &status["partitions"]
        ),
        (&json!("paused"), &json!(50), &json!(0), &json!(2)),
        "{status}"
    );
    let worker = &status["workers"][0];
    assert_eq!(
        (&worker["state"], &worker["partitions"]),
        (&json!("paused"), &json!([0, 1])),
        "{status}"
    );
    assert_eq!(
        processor.health("/health/ready").await,
        Some(200),
        "a paused topic does not make the processor unready"
    );
    assert_eq!(backend.received().len(), 1, "nothing reached the backend");
    assert_eq!(processor.logged("partitions assigned"), 1, "{}", processor.log());
    assert_eq!(processor.logged("partitions revoked"), 0, "{}", processor.log());

    assert_eq!(processor.order(&path("resume")).await.json()["paused"], false);
    for (client, body) in &mut waiting {
        let answer = client.read_response(false).await.expect("an answer");
        answer.assert_echo(body);
    }
    assert_eq!(backend.received().len(), 51, "each was executed once");
    wait_for_commit(&topics.group, &topics.request, 51).await;
    processor
        .wait_for_metric("processor_consumer_lag", &[("topic", &topics.request)], 0.0)
        .await;
    assert_eq!(processor.topic_status(&topics.request).await["state"], "consuming");
    assert_eq!(processor.order("/topics/no-such/pause").await.status, 404);
}

#[tokio::test]
async fn a_partitions_lag_is_shown_by_the_processor_that_has_it() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 4).await;
    let backend = Backend::echo().await;
    let spec = processor(&[(&topics, &backend.url())]);
    let first = spec.clone().start().await;
    let of = async |processor: &Service| {
        let metrics = processor.metrics().await;
        let partitions = ["0", "1", "2", "3"];
        let shown = partitions.map(|partition| metrics.count("processor_consumer_lag", &[("partition", partition)]));
        (shown.iter().sum::<usize>(), shown)
    };
    eventually("one has all four", async || match of(&first).await {
        (4, _) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let second = spec.start().await;
    eventually("each has two, and no partition two owners", async || {
        let ((one, ones), (two, twos)) = (of(&first).await, of(&second).await);
        let once = ones.iter().zip(&twos).all(|(one, two)| one + two == 1);
        if (one, two, once) == (2, 2, true) {
            Ok(())
        } else {
            Err(format!("{ones:?} {twos:?}"))
        }
    })
    .await;
    second.stop().await;
    eventually("one has all four again", async || match of(&first).await {
        (4, _) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}
