//! A request goes to the configured topics, or to those that it names. A topic that is missing is created.

use std::time::{Duration, Instant};

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{self, Request};
use crate::harness::names::{Topics, unique};
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{count, create_topic, partitions, wait_for_count};

#[tokio::test]
async fn two_topics_reach_their_own_backends_at_once() {
    let (orders, users) = (Topics::unique("orders"), Topics::unique("users"));
    let orders_backend = Backend::start(|received| Answer::body(format!("orders: {}", received.text()))).await;
    let users_backend = Backend::start(|received| Answer::body(format!("users: {}", received.text()))).await;
    let _processor = processor(&[(&orders, &orders_backend.url()), (&users, &users_backend.url())])
        .start()
        .await;
    let proxy = proxy(&orders).start().await;

    let mut clients = tokio::task::JoinSet::new();
    for number in 0..100 {
        let (address, who) = (proxy.address(), if number % 2 == 0 { "orders" } else { "users" });
        let topics = if who == "orders" { orders.clone() } else { users.clone() };
        clients.spawn(async move {
            let request = Request::post("/", number.to_string()).via(&topics.request, &topics.response);
            let answer = client::request(&address, request).await;
            assert_eq!((answer.status, answer.text()), (200, format!("{who}: {number}")));
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("each client gets its backend's answer");
    }
    assert_eq!(
        (orders_backend.received().len(), users_backend.received().len()),
        (50, 50)
    );
}

#[tokio::test]
async fn the_first_request_to_a_new_topic_is_answered() {
    let (known, fresh) = (Topics::unique("known"), Topics::unique("fresh"));
    let backend = Backend::echo().await;
    let proxy = proxy(&known).start().await;
    assert_eq!(
        partitions(&fresh.request) + partitions(&fresh.response),
        0,
        "neither topic exists yet"
    );

    // The proxy creates both topics, and has its position in the reply topic before it sends.
    let mut first = proxy
        .leave_waiting(&Request::post("/first", "first").via(&fresh.request, &fresh.response))
        .await;
    wait_for_count(&fresh.request, 1).await;
    let _processor = processor(&[(&fresh, &backend.url())]).start().await;
    let answer = first.read_response(false).await.expect("an answer");
    answer.assert_echo("first");
    assert_eq!(partitions(&fresh.request), 4, "as create_topics.partitions says");
}

#[tokio::test]
async fn a_reply_topic_that_a_request_names_first_carries_its_reply() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    let fresh = unique("fresh-responses");
    let started = Instant::now();
    let (one, two) = tokio::join!(
        proxy.request(Request::post("/", "one").via(&topics.request, &fresh)),
        proxy.request(Request::post("/", "two").via(&topics.request, &fresh)),
    );
    one.assert_echo("one");
    two.assert_echo("two");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(
        count(&fresh),
        2,
        "both replies are on the topic that the requests named"
    );
}

#[tokio::test]
async fn topics_that_exist_are_not_changed() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 2).await;
    create_topic(&topics.response, 1).await;
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    for number in 0..10 {
        assert_eq!(proxy.request(Request::post("/", number.to_string())).await.status, 200);
    }
    assert_eq!((partitions(&topics.request), partitions(&topics.response)), (2, 1));
}

#[tokio::test]
async fn requests_sent_before_the_first_processor_starts_are_answered_when_it_does() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let proxy = proxy(&topics).set("default_timeout", 40).start().await;
    let mut waiting = Vec::new();
    for number in 0..5 {
        waiting.push(proxy.leave_waiting(&Request::post("/early", number.to_string())).await);
    }
    proxy.wait_for_pending(5).await;
    wait_for_count(&topics.request, 5).await;

    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    for (number, client) in waiting.iter_mut().enumerate() {
        let answer = client.read_response(false).await.expect("an answer");
        answer.assert_echo(&number.to_string());
    }
    assert_eq!(backend.received().len(), 5);
}

#[tokio::test]
async fn proxies_that_share_a_reply_topic_each_get_their_own_replies() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let (one, two) = (
        proxy(&topics).start().await,
        proxy(&topics).set("reply_partition", "all").start().await,
    );
    for number in 0..20 {
        let (a, b) = (format!("one {number}"), format!("two {number}"));
        let (first, second) = tokio::join!(
            one.request(Request::post("/", a.clone())),
            two.request(Request::post("/", b.clone()))
        );
        assert_eq!(
            (first.json()["body"].as_str(), second.json()["body"].as_str()),
            (Some(a.as_str()), Some(b.as_str()))
        );
    }
    assert_eq!(backend.received().len(), 40, "each was executed once");
    let seen = two.metrics().await;
    assert!(
        seen.sum("proxy_foreign_replies_total", &[]) > 0.0,
        "it reads the replies of the other proxy too, and counts them as foreign"
    );
    assert_eq!(seen.sum("proxy_unmatched_replies_total", &[]), 0.0);
}
