//! Topics that are deleted, or deleted and created again, while the service runs.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::load::{Load, OnClose};
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{
    count, create_topic, delete_topic, partitions, try_create_topic, wait_for_commit, wait_for_topic,
};
use crate::harness::wait::{eventually, within};

/// How many clients send requests at once.
const CLIENTS: usize = 8;
/// The service notices a deletion at its second check, within four seconds. The rest of the time is for the broker.
const NOTICED: Duration = Duration::from_secs(20);

/// Sends requests until one is answered. The first ones after a deletion may get a definite error.
async fn answered_again(proxy: &Service, body: &str) {
    within(NOTICED, "an answer", async || {
        let answer = proxy.request(Request::post("/", body)).await;
        match answer.status {
            200 => {
                assert_eq!(answer.json()["body"].as_str(), Some(body));
                Ok(())
            }
            status => Err(format!("{status}: {}", answer.text())),
        }
    })
    .await;
}

/// Waits until the proxy has noticed the end of its reply topic. It may read replies of the new topic before that, and
/// the requests in flight at that moment get a 502.
async fn wait_until_the_end_is_noticed(proxy: &Service) {
    eventually("the end of the reply topic is noticed", async || {
        match proxy.logged("reply topic was recreated") + proxy.logged("reply topic was deleted") {
            0 => Err("not yet".into()),
            _ => Ok(()),
        }
    })
    .await;
}

#[tokio::test]
async fn requests_whose_reply_topic_is_deleted_get_a_502_and_the_next_one_is_answered() {
    let topics = Topics::unique("orders");
    let (open, gate) = watch::channel(false);
    let backend = Backend::start(move |received| match received.target.as_str() {
        "/held" => Answer::same_body(received).until(&gate),
        _ => Answer::same_body(received),
    })
    .await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).set("default_timeout", 40).start().await;
    let mut held = proxy.leave_waiting(&Request::post("/held", "held")).await;
    backend.wait_for_calls(1).await;
    delete_topic(&topics.response).await;
    let answer = tokio::time::timeout(NOTICED, held.read_response(false))
        .await
        .expect("an answer long before the deadline")
        .expect("an answer");
    answer.assert_problem(502, "reply-lost");
    wait_for_topic(&topics.response).await;
    within(NOTICED, "ready again", async || {
        proxy.expect_health("/health/ready", 200).await
    })
    .await;
    let answer = proxy.request(Request::post("/", "next")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "next"));
    // The held call ends, and its processor becomes idle.
    open.send_replace(true);
}

#[tokio::test]
async fn requests_are_answered_again_on_a_recreated_reply_topic() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    for topic in [&topics.request, &topics.response] {
        create_topic(topic, 4).await;
    }
    // Only the test may create the topic again.
    let _processor = processor(&[(&topics, &backend.url())])
        .set("create_topics.enabled", false)
        .start()
        .await;
    let proxy = proxy(&topics)
        .set("default_timeout", 5)
        .set("create_topics.enabled", false)
        .start()
        .await;
    for number in 0..20 {
        assert_eq!(proxy.request(Request::post("/", number.to_string())).await.status, 200);
    }
    delete_topic(&topics.response).await;
    create_topic(&topics.response, 3).await;
    wait_until_the_end_is_noticed(&proxy).await;
    answered_again(&proxy, "after").await;
    for number in 0..20 {
        assert_eq!(proxy.request(Request::post("/", number.to_string())).await.status, 200);
    }
}

#[tokio::test]
async fn a_deleted_request_topic_is_created_again_and_its_new_offsets_are_committed() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).set("default_timeout", 5).start().await;
    for number in 0..20 {
        assert_eq!(proxy.request(Request::post("/", number.to_string())).await.status, 200);
    }
    wait_for_commit(&topics.group, &topics.request, 20).await;
    delete_topic(&topics.request).await;
    answered_again(&proxy, "after").await;
    let calls = backend.received().len();
    for number in 0..5 {
        assert_eq!(proxy.request(Request::post("/", number.to_string())).await.status, 200);
    }
    assert_eq!(backend.received().len(), calls + 5);
    wait_for_commit(&topics.group, &topics.request, count(&topics.request)).await;
}

#[tokio::test]
async fn while_a_topic_of_the_configuration_is_missing_requests_are_refused_at_once() {
    let topics = Topics::unique("orders");
    for topic in [&topics.request, &topics.response] {
        create_topic(topic, 1).await;
    }
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set("create_topics.enabled", false)
        .start()
        .await;
    let proxy = proxy(&topics).set("create_topics.enabled", false).start().await;
    delete_topic(&topics.response).await;
    within(NOTICED, "not ready", async || {
        proxy.expect_health("/health/ready", 503).await
    })
    .await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        let sent = Instant::now();
        let answer = proxy.request(Request::post("/", "now")).await;
        answer.assert_try_again("kafka-unavailable");
        assert!(sent.elapsed() < Duration::from_secs(10), "{:?}", sent.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The control topic, which may not be created either, has a line of its own.
    let log = proxy.log();
    let said = |line: &&str| line.contains("may not create it") && line.contains(&*topics.response);
    assert_eq!(log.lines().filter(said).count(), 1, "{log}");
    create_topic(&topics.response, 1).await;
    within(NOTICED, "ready again", async || {
        proxy.expect_health("/health/ready", 200).await
    })
    .await;
    assert_eq!(proxy.request(Request::post("/", "next")).await.status, 200);
}

/// The records of a deleted topic are lost, and while there is no topic, requests are refused or wait. Each of these fails with a definite
/// error. No later request fails, and no client gets the answer of another.
#[tokio::test]
async fn topics_recreated_under_load_fail_only_the_requests_in_them() {
    const TIMEOUT: Duration = Duration::from_secs(5);
    let topics = Topics::unique("orders");
    let backend = Backend::start(Answer::same_body).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).set("default_timeout", TIMEOUT.as_secs()).start().await;
    for topic in [&topics.response, &topics.request] {
        let load = Load::start(&proxy.address(), CLIENTS, OnClose::Persist, |body| {
            Request::post("/", body)
        });
        load.wait_for_more(100).await;
        let gone = Instant::now();
        delete_topic(topic).await;
        // The service may create the topic before this test does.
        if partitions(topic) == 0 {
            try_create_topic(topic, 4).await;
        }
        wait_until_the_end_is_noticed(&proxy).await;
        // More answers in a row than the topic has partitions: every partition is in use again.
        let mut answered = 0;
        eventually("requests are answered again", async || {
            match proxy.request(Request::post("/", "again")).await.status {
                200 => answered += 1,
                _ => answered = 0,
            }
            if answered >= 20 {
                Ok(())
            } else {
                Err(format!("{answered} in a row"))
            }
        })
        .await;
        let recovered = Instant::now();
        load.wait_for_more(300).await;
        let (report, outage) = (load.finish().await, recovered - gone);
        println!(
            "{topic} recreated, {outage:?} until it served again: {} answered, failed {:?}, slowest {:?}",
            report.answered, report.kinds, report.slowest
        );
        // A client has one request at a time, and pauses a fifth of a second after each failure.
        let times = |each: Duration| CLIENTS * (1 + outage.as_millis().div_ceil(each.as_millis()) as usize);
        for (kind, count) in &report.kinds {
            let most = match kind.as_str() {
                // Once, the requests in flight when the end of the reply topic is noticed.
                "502 reply-lost" => CLIENTS,
                "503 kafka-unavailable" => times(Duration::from_millis(200)),
                "504 reply-timeout" => times(TIMEOUT),
                _ => 0,
            };
            assert!(*count <= most, "{count} × {kind}: {:?}", report.failures.first());
        }
        assert!(report.last_failed < Some(recovered), "{:?}", report.failures.last());
        assert!(report.slowest < Duration::from_secs(15), "{:?}", report.slowest);
    }
}
