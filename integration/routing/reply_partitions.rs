//! A reply reaches its proxy on the partition that the proxy reads, on partitions that are added later, and where a replier ignores the
//! partition that was asked for.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::task::JoinHandle;

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::kafka::brokers;
use crate::harness::names::Topics;
use crate::harness::records::{Reader, produce};
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::topics::{add_partitions, count, create_topic, partitions};
use crate::harness::wait::{PATIENCE, eventually, within};

/// Another replier than our processor. It answers each request with the request's body, on the partition that `choose` returns for the one
/// that was asked for.
async fn replier(topics: &Topics, choose: fn(i32) -> i32) -> JoinHandle<()> {
    create_topic(&topics.request, 2).await;
    create_topic(&topics.response, 4).await;
    let (requests, response) = (Reader::open(&topics.request), topics.response.clone());
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("linger.ms", "0")
        .create()
        .expect("a producer");
    tokio::spawn(async move {
        while let Some(request) = requests.try_next().await {
            let asked = request.reply_partition().unwrap_or(0);
            let headers = rdkafka::message::OwnedHeaders::new().insert(rdkafka::message::Header {
                key: "kafka_correlationId",
                value: request.header("kafka_correlationId"),
            });
            let reply = FutureRecord::<(), [u8]>::to(&response)
                .partition(choose(asked))
                .payload(request.value.as_deref().unwrap_or_default())
                .headers(headers);
            producer
                .send_result(reply)
                .map_err(|(error, _)| error)
                .expect("room in the queue");
        }
    })
}

/// A proxy whose requests to `/short` have two seconds. All others have the default, which is long enough for a busy machine.
fn with_short_timeout(topics: &Topics) -> Spec {
    proxy(topics).timeout_of("/short", 2)
}

/// Sends a request that nobody answers in time. A request that was not sent, because its topic was still opening, is sent again.
async fn time_out(proxy: &Service) {
    eventually("504", async || {
        match proxy.request(Request::post("/short", "nobody answers in time")).await {
            refused if refused.status == 503 => Err(refused.text()),
            answer => {
                answer.assert_problem(504, "reply-timeout");
                Ok(())
            }
        }
    })
    .await;
}

async fn answered(proxy: &Service, body: &str) -> Result<(), String> {
    let answer = proxy.request(Request::post("/", body)).await;
    match (answer.status, answer.text()) {
        (200, text) if text == body => Ok(()),
        (status, text) => Err(format!("{status}: {text}")),
    }
}

#[tokio::test]
async fn a_replier_that_ignores_the_partition_is_noticed_and_served() {
    let topics = Topics::unique("orders");
    let replier = replier(&topics, |asked| (asked + 1) % 4).await;
    let proxy = with_short_timeout(&topics).start().await;
    time_out(&proxy).await;
    eventually("served", async || answered(&proxy, "next").await).await;
    for _ in 0..20 {
        assert_eq!(answered(&proxy, "after").await, Ok(()));
    }
    let log = proxy.log();
    assert_eq!(log.matches("reply_partition: all").count(), 1, "{log}");
    assert!(log.contains(&topics.response), "{log}");
    replier.abort();
}

/// The client leaves long before its deadline, and the operator has chosen the partition.
#[tokio::test]
async fn such_a_replier_is_noticed_when_a_client_leaves_and_on_a_configured_partition() {
    let topics = Topics::unique("orders");
    let replier = replier(&topics, |asked| (asked + 1) % 4).await;
    let proxy = proxy(&topics)
        .set("reply_partition", 1)
        .set("default_timeout", 16)
        .start()
        .await;
    let waiting = proxy.leave_waiting(&Request::post("/", "first")).await;
    proxy.wait_for_metric("proxy_router_entries", &[], 1.0).await;
    // More than a quarter of the request's time.
    tokio::time::sleep(Duration::from_secs(5)).await;
    drop(waiting);
    eventually("served", async || answered(&proxy, "next").await).await;
    let timeouts = proxy.metrics().await.sum("proxy_timeouts_total", &[]);
    assert_eq!(timeouts, 0.0, "no request waited until its deadline");
    assert_eq!(proxy.logged("reply_partition: all"), 1, "{}", proxy.log());
    replier.abort();
}

#[tokio::test]
async fn a_replier_that_is_only_silent_changes_nothing() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 4).await;
    let proxy = with_short_timeout(&topics)
        .env("RUST_LOG", "debug")
        .set("log.level", "actix_khp=debug,info")
        .start()
        .await;
    for _ in 0..3 {
        time_out(&proxy).await;
    }
    let foreign = async || proxy.metrics().await.sum("proxy_foreign_replies_total", &[]);
    // A foreign reply goes to every partition. Once the search has ended, the proxy reads only one of them.
    within(PATIENCE * 2, "the search ends", async || {
        let before = foreign().await;
        for partition in 0..4 {
            produce(&topics.response, partition, b"x", &[("kafka_correlationId", &FOREIGN)]).await;
        }
        let produced = Instant::now();
        while foreign().await == before {
            if produced.elapsed() > Duration::from_secs(5) {
                return Err("no partition is read".into());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        match foreign().await - before {
            1.0 => Ok(()),
            read => Err(format!("{read} partitions are read")),
        }
    })
    .await;
    assert!(!proxy.log().contains("reply_partition: all"), "{}", proxy.log());
}

/// The id of another proxy's request: the example of RFC 9562, appendix B.1. One proxy in 65,536 has the same tag.
const FOREIGN: [u8; 16] = [
    0x24, 0x89, 0xe9, 0xad, 0x2e, 0xe2, 0x8e, 0x00, 0x8e, 0xc9, 0x32, 0xd5, 0xf6, 0x91, 0x81, 0xc0,
];

/// A proxy whose `reply_partition` is `all` reads a partition that is added later from its first record on.
#[tokio::test]
async fn foreign_late_and_unmatched_are_told_apart_on_old_and_new_partitions() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    let proxy = with_short_timeout(&topics).set("reply_partition", "all").start().await;
    time_out(&proxy).await;
    let sent = Reader::open(&topics.request).next().await;
    assert_eq!(sent.reply_partition(), None, "the reply may come on any partition");
    let own = sent.correlation_id().to_vec();
    for (partition, times) in [(0, 1.0), (1, 2.0)] {
        if partition == 1 {
            add_partitions(&topics.response, 2).await;
            assert_eq!(partitions(&topics.response), 2);
        }
        produce(&topics.response, partition, b"x", &[("kafka_correlationId", &own)]).await;
        produce(&topics.response, partition, b"x", &[("kafka_correlationId", &FOREIGN)]).await;
        produce(&topics.response, partition, b"x", &[]).await;
        for kind in ["late", "foreign", "unmatched"] {
            proxy
                .wait_for_metric(&format!("proxy_{kind}_replies_total"), &[], times)
                .await;
        }
    }
}

/// The reply topic does not exist before. Each of the hundred requests waits while it opens.
#[tokio::test]
async fn a_hundred_first_requests_to_a_new_reply_topic_are_all_answered() {
    let (configured, new) = (Topics::unique("orders"), Topics::unique("new"));
    let backend = Backend::echo().await;
    let _processor = processor(&[(&configured, &backend.url())])
        .set_topics("allowed_reply_topics", vec![new.response.clone()])
        .start()
        .await;
    let proxy = proxy(&configured).start().await;
    let mut waiting = Vec::new();
    for number in 0..100 {
        let request = Request::post("/", number.to_string()).header("X-Kafka-Reply-Topic", &new.response);
        waiting.push(proxy.leave_waiting(&request).await);
    }
    for (number, client) in waiting.iter_mut().enumerate() {
        let answer = client.read_response(false).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["body"].as_str(), Some(number.to_string().as_str()));
    }
    assert_eq!(backend.received().len(), 100, "each was executed once");
    assert_eq!(count(&new.response), 100);
}
