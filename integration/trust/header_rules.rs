//! Header fields that never go into Kafka, and those that a processor gives its backend.

use serde_json::json;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::names::{Topics, unique};
use crate::harness::records::{Record, read_all};
use crate::harness::spec::{processor, proxy};
use crate::harness::temp_dir::TempDir;
use crate::harness::topics::{topic_setting, wait_for_topic};

fn names(records: &[Record]) -> Vec<&str> {
    let headers = records.iter().flat_map(|record| &record.headers);
    headers.map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn what_is_withheld_is_in_no_record_and_what_is_set_reaches_the_backend() {
    let topics = Topics::unique("orders");
    let dir = TempDir::new();
    let token = dir.write("token", "Bearer of-the-processor\n");
    let backend =
        Backend::start(|received| Answer::echo(received).header("Set-Cookie", "sid=1").header("ETag", "x")).await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set_topics(
            "set_headers",
            json!({"Authorization": format!("${{file:{}}}", token.display())}),
        )
        .set_topics("withhold_headers", json!(["Set-*"]))
        .start()
        .await;
    let routes = json!([
        {"path": "/open", "withhold_headers": ["x-internal-*"], "request_topic": topics.request, "response_topic": topics.response},
        {"path": "/{tail}*", "request_topic": topics.request, "response_topic": topics.response},
    ]);
    let proxy = proxy(&topics)
        .set("withhold_headers", json!(["authorization", "Cook*"]))
        .set("routes", routes)
        .start()
        .await;
    let request = |path| {
        Request::post(path, "x")
            .header("Authorization", "Bearer of-the-client")
            .header("Cookie", "a=b")
            .header("X-Internal-Id", "7")
    };
    let answer = proxy.request(request("/closed")).await;
    answer.assert_echo("x");
    assert_eq!(
        (answer.header("Set-Cookie"), answer.header("ETag").as_deref()),
        (None, Some("x"))
    );
    let received = backend.last();
    assert_eq!(received.all("authorization"), ["Bearer of-the-processor"]);
    assert_eq!(
        (received.all("cookie").len(), received.all("x-internal-id").len()),
        (0, 1)
    );
    let requests = read_all(&topics.request).await;
    let in_kafka = names(&requests);
    assert!(
        !in_kafka.contains(&"authorization") && !in_kafka.contains(&"cookie"),
        "{in_kafka:?}"
    );
    assert!(in_kafka.contains(&"x-internal-id"), "{in_kafka:?}");
    let replies = read_all(&topics.response).await;
    assert!(!names(&replies).contains(&"set-cookie") && names(&replies).contains(&"etag"));
    // A route's own list stands in the place of the proxy's.
    proxy.request(request("/open")).await.assert_echo("x");
    let requests = read_all(&topics.request).await;
    let route: Vec<Record> = requests
        .into_iter()
        .filter(|record| record.header_text(":path") == "/open")
        .collect();
    assert!(names(&route).contains(&"cookie") && !names(&route).contains(&"x-internal-id"));
}

#[tokio::test]
async fn new_topics_keep_replies_for_a_day_and_dead_letters_as_the_broker_does() {
    let of_broker = unique("of-the-broker");
    crate::harness::topics::create_topic(&of_broker, 1).await;
    let of_broker = topic_setting(&of_broker, "retention.ms").await;
    for (configured, requests, replies) in [
        (None, of_broker.as_str(), "86400000"),
        (Some("2h"), "7200000", "7200000"),
    ] {
        let (topics, dead_letters) = (Topics::unique("orders"), unique("dead-letters"));
        let backend = Backend::echo().await;
        let mut spec = processor(&[(&topics, &backend.url())]).set("dead_letter_topic", dead_letters.as_str());
        if let Some(configured) = configured {
            spec = spec.set("create_topics.retention", configured);
        }
        let _processor = spec.start().await;
        for (topic, kept) in [
            (&topics.request, requests),
            (&topics.response, replies),
            (&dead_letters, &of_broker),
        ] {
            wait_for_topic(topic).await;
            assert_eq!(
                topic_setting(topic, "retention.ms").await,
                kept,
                "{topic} {configured:?}"
            );
        }
        // A topic that a request names first.
        let named = unique("orders-responses");
        let proxy = proxy(&topics);
        let proxy = match configured {
            Some(configured) => proxy.set("create_topics.retention", configured),
            None => proxy,
        };
        let proxy = proxy.start().await;
        proxy
            .request(Request::post("/", "x").via(&topics.request, &named))
            .await
            .assert_echo("x");
        assert_eq!(topic_setting(&named, "retention.ms").await, replies);
    }
}
