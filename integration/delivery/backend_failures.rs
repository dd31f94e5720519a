//! A backend that fails: the client gets a definite answer at once, and the request is kept as a dead letter.

use std::time::{Duration, Instant};

use crate::harness::backend::{Answer, Backend, unreachable_url};
use crate::harness::client::{Request, Response};
use crate::harness::names::{Topics, unique};
use crate::harness::records::Reader;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::topics::{wait_for_commit, wait_for_topic};

/// Well before the deadline of 50 s, and long enough for a busy machine.
const SOON: Duration = Duration::from_secs(12);

async fn timed(proxy: &Service, request: Request) -> (Response, Duration) {
    let sent = Instant::now();
    (proxy.request(request).await, sent.elapsed())
}

#[tokio::test]
async fn a_backend_that_is_down_is_a_502_at_once() {
    let topics = Topics::unique("orders");
    let processor = processor(&[(&topics, &unreachable_url())]).start().await;
    let proxy = proxy(&topics).start().await;
    for request in [Request::get("/"), Request::post("/", "body")] {
        let (answer, took) = timed(&proxy, request).await;
        answer.assert_problem(502, "backend-unreachable");
        assert!(took < SOON, "{took:?}");
    }
    let errors = processor
        .metrics()
        .await
        .sum("processor_backend_errors_total", &[("topic", &topics.request)]);
    assert!(errors >= 2.0, "{errors}");
    wait_for_commit(&topics.group, &topics.request, 2).await;
}

#[tokio::test]
async fn a_backend_that_hangs_is_a_504_at_the_topics_timeout() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|_| Answer::Hang).await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set_topics("timeout", 1)
        .set_topics("max_retries", 0)
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    let (answer, took) = timed(&proxy, Request::get("/")).await;
    answer.assert_problem(504, "backend-timeout");
    assert!(took >= Duration::from_secs(1) && took < SOON, "{took:?}");
    assert_eq!(backend.received().len(), 1);
}

#[tokio::test]
async fn a_backend_that_closes_without_an_answer_is_a_502_and_a_post_is_not_sent_again() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|_| Answer::Close).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    let (answer, took) = timed(&proxy, Request::post("/", "pay 100")).await;
    answer.assert_problem(502, "backend-reset");
    assert!(took < SOON, "{took:?}");
    assert_eq!(backend.received().len(), 1, "the backend may have acted on it");
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_a_502() {
    let topics = Topics::unique("orders");
    let backend =
        Backend::start(|_| Answer::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this".to_vec())).await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set_topics("max_retries", 0)
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    proxy
        .request(Request::post("/", "x"))
        .await
        .assert_problem(502, "backend-reset");
}

#[tokio::test]
async fn one_backend_that_hangs_does_not_hold_up_another() {
    let (slow, quick) = (Topics::unique("slow"), Topics::unique("quick"));
    let (hanging, answering) = (Backend::start(|_| Answer::Hang).await, Backend::echo().await);
    let _processor = processor(&[(&slow, &hanging.url()), (&quick, &answering.url())])
        .set_topics("concurrency", 5)
        .set_topics("timeout", 60)
        .start()
        .await;
    let proxy = proxy(&slow).start().await;
    let mut waiting = Vec::new();
    for number in 0..20 {
        waiting.push(proxy.leave_waiting(&Request::post("/", number.to_string())).await);
    }
    hanging.wait_for_calls(5).await;
    let mut times = Vec::new();
    for number in 0..20 {
        let request = Request::post("/", number.to_string()).via(&quick.request, &quick.response);
        let (answer, took) = timed(&proxy, request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        times.push(took);
    }
    times.sort();
    assert!(times[10] < Duration::from_secs(3), "{times:?}");
    assert_eq!(hanging.received().len(), 5, "`concurrency` bounds the calls under way");
    // The calls that hang end with their backend.
    drop((waiting, hanging));
}

#[tokio::test]
async fn a_request_whose_backend_is_unreachable_is_kept_as_a_dead_letter() {
    let topics = Topics::unique("orders");
    let dead_letters = unique("dead-letters");
    let processor = processor(&[(&topics, &unreachable_url())])
        .set_topics("max_retries", 1)
        .set("dead_letter_topic", dead_letters.as_str())
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    let body = b"\x00\xff a body that must not be lost".to_vec();
    let answer = proxy
        .request(
            Request::post("/orders/7?x=1", body.clone())
                .header("X-Many", "1")
                .header("X-Many", "2"),
        )
        .await;
    answer.assert_problem(502, "backend-unreachable");

    wait_for_topic(&dead_letters).await;
    let sent = Reader::open(&topics.request).next().await;
    let letter = Reader::open(&dead_letters).next().await;
    assert_eq!(
        (&letter.key, letter.value.as_deref()),
        (&sent.key, Some(body.as_slice()))
    );
    let added = |name: &str| name.starts_with("kafka_dlt-") || name == "khp-error" || name == "khp-attempts";
    let kept: Vec<_> = letter
        .headers
        .iter()
        .filter(|(name, _)| !added(name))
        .cloned()
        .collect();
    assert_eq!(kept, sent.headers, "every header is kept");
    assert_eq!(letter.header_text(":path"), "/orders/7?x=1");

    assert_eq!(letter.header_text("kafka_dlt-original-topic"), topics.request);
    assert_eq!(letter.header_text("kafka_dlt-original-consumer-group"), topics.group);
    assert_eq!(
        letter.header("kafka_dlt-original-partition"),
        Some(&sent.partition.to_be_bytes()[..])
    );
    assert_eq!(
        letter.header("kafka_dlt-original-offset"),
        Some(&sent.offset.to_be_bytes()[..])
    );
    assert_eq!(letter.header("kafka_dlt-original-timestamp").map(<[u8]>::len), Some(8));
    assert!(!letter.header_text("kafka_dlt-exception-message").is_empty());
    assert_eq!(letter.header_text("khp-error"), "backend-unreachable");
    assert_eq!(letter.header_text("khp-attempts"), "2", "the first call and one retry");
    processor
        .wait_for_metric("processor_dead_letters_total", &[], 1.0)
        .await;
    wait_for_commit(&topics.group, &topics.request, 1).await;
}
