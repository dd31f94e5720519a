//! Tests of the harness itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::backend::{Answer, Backend};
use super::binary;
use super::client::{Body, Connection, Request};
use super::metrics::Metrics;
use super::names::Topics;
use super::records::produce;
use super::service::Service;
use super::spec::proxy;
use super::topics::{count_of, create_topic};

fn fails_when_dropped(service: Service) -> bool {
    catch_unwind(AssertUnwindSafe(|| drop(service))).is_err()
}

#[tokio::test]
async fn a_service_that_is_busy_or_has_ended_by_itself_fails_its_test() {
    let start = async || proxy(&Topics::unique("orders")).start().await;
    let idle = start().await;
    let client = idle.leave_waiting(&Request::get("/")).await;
    idle.wait_for_pending(1).await;
    drop(client);
    assert!(!fails_when_dropped(idle));

    let mut busy = start().await;
    let _client = busy.leave_waiting(&Request::get("/")).await;
    busy.wait_for_pending(1).await;
    busy.idle_within = Duration::from_secs(1);
    assert!(fails_when_dropped(busy));

    let ended = start().await;
    binary::signal("KILL", ended.pid);
    while ended.health("/health/live").await.is_some() {}
    assert!(fails_when_dropped(ended));
}

#[tokio::test]
async fn client_and_backend_see_each_others_bytes() {
    let backend = Backend::start(|received| {
        Answer::body(received.body.clone())
            .header("X-Twice", "1")
            .header("x-twice", b"\xe9")
    })
    .await;
    let mut connection = Connection::open(&backend.address()).await.expect("the backend listens");
    let body = Body::Chunked(vec![b"\0\r\n".to_vec(), b"b".to_vec()]);
    let request = Request::new("PURGE", "/a?b=1&b=2")
        .header("X-A", "1")
        .header("x-a", b"\xff")
        .body(body);
    for call in 1..=2 {
        let answer = connection.request(&request).await.expect("an answer");
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"\0\r\nb"[..]));
        assert_eq!(answer.headers[0], ("X-Twice".into(), b"1".to_vec()));
        assert_eq!(answer.headers[1], ("x-twice".into(), b"\xe9".to_vec()));
        let received = backend.last();
        assert_eq!(
            (received.method.as_str(), received.target.as_str()),
            ("PURGE", "/a?b=1&b=2")
        );
        assert_eq!(
            received.headers[1..3],
            [("X-A".into(), b"1".to_vec()), ("x-a".into(), b"\xff".to_vec())]
        );
        assert_eq!((backend.received().len(), backend.most_at_once()), (call, 1));
    }
    backend.answer_with(|_| Answer::Close);
    connection
        .request(&Request::get("/"))
        .await
        .expect_err("closed without an answer");
}

#[test]
fn a_page_of_metrics_is_parsed() {
    let page = "# HELP a b\n# TYPE a counter\na{topic=\"x\",reason=\"a \\\"b\\\", c\"} 2\na{topic=\"y\"} 3\nb 1.5\nc_bucket{le=\"+Inf\"} 4\nc_count 4\n";
    let metrics = Metrics::parse(page);
    assert_eq!(metrics.sum("a", &[]), 5.0);
    assert_eq!(metrics.sum("a", &[("topic", "x"), ("reason", "a \"b\", c")]), 2.0);
    assert_eq!(metrics.sum("b", &[]), 1.5);
    assert!(metrics.has("c") && !metrics.has("d"));
    assert!(metrics.has_labels("c", &[]) && !metrics.has_labels("a", &["topic"]));
}

#[tokio::test]
async fn the_harness_counts_records_by_partition() {
    let topic = Topics::unique("a").request;
    create_topic(&topic, 2).await;
    produce(&topic, 1, b"x", &[]).await;
    assert_eq!(count_of(&topic, 0..1), 0);
    assert_eq!(count_of(&topic, 1..2), 1);
}
