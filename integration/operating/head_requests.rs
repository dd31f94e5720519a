//! HEAD wherever GET is served, and what else a path takes.

use crate::harness::backend::Backend;
use crate::harness::client::{self, Request, Response};
use crate::harness::names::Topics;
use crate::harness::spec::{all, processor, proxy};

async fn ask(address: &str, method: &str, path: &str) -> Response {
    client::request(address, Request::new(method, path)).await
}

#[tokio::test]
async fn head_works_wherever_get_does_on_the_management_port() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let address = processor.management_address();
    for path in ["/health", "/health/live", "/health/ready"] {
        let (get, head) = (ask(&address, "GET", path).await, ask(&address, "HEAD", path).await);
        assert_eq!((head.status, head.text().as_str()), (200, ""), "{path}");
        for name in ["content-length", "content-type"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
    }
    for path in ["/metrics", "/status"] {
        let (get, head) = (ask(&address, "GET", path).await, ask(&address, "HEAD", path).await);
        assert_eq!((head.status, head.text().as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        let length: usize = head
            .header("content-length")
            .expect("a length")
            .parse()
            .expect("a number");
        assert!(length > 0, "{path}");
    }
}

#[tokio::test]
async fn another_method_is_405_with_what_is_allowed() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let address = processor.management_address();
    for path in ["/health", "/health/live", "/health/ready", "/metrics", "/status"] {
        for method in ["POST", "DELETE", "OPTIONS"] {
            let answer = ask(&address, method, path).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow").as_deref(), Some("GET, HEAD"), "{method} {path}");
        }
    }
    for action in ["pause", "resume"] {
        let answer = ask(&address, "GET", &format!("/topics/{}/{action}", topics.request)).await;
        assert_eq!(
            (answer.status, answer.header("allow").as_deref()),
            (405, Some("POST")),
            "{action}"
        );
    }
    assert_eq!(ask(&address, "POST", "/nothing").await.status, 404);
}

#[tokio::test]
async fn a_proxys_own_port_answers_head_of_its_health_itself() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
        let answer = ask(&proxy.address(), "HEAD", path).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, ""), "{path}");
        assert!(
            answer.header("content-length").is_some_and(|length| length != "0"),
            "{path}: {answer:?}"
        );
    }
    assert!(backend.received().is_empty(), "{:?}", backend.received());
    assert_eq!(
        ask(&proxy.address(), "HEAD", "/health/other").await.status,
        200,
        "the backend's own"
    );
    proxy.wait_until_idle().await;
}

#[tokio::test]
async fn status_is_keyed_by_request_topic_with_the_name_inside() {
    let (orders, users) = (Topics::unique("orders"), Topics::unique("users"));
    let backend = Backend::echo().await;
    let url = backend.url();
    let processor = processor(&[(&orders, &url), (&users, &url)])
        .set_topic(0, "name", "my-orders")
        .start()
        .await;
    let status = processor.manage("/status").await.json();
    assert_eq!(status["topics"][&orders.request]["name"], "my-orders", "{status}");
    assert_eq!(status["topics"][&users.request]["name"], users.request, "{status}");
    assert_eq!(
        status["topics"].as_object().map(|topics| topics.len()),
        Some(2),
        "{status}"
    );
}

#[tokio::test]
async fn credentials_for_a_proxy_of_the_backend_pass_both_ways_and_are_never_logged() {
    let topics = Topics::unique("orders");
    let backend = Backend::start(|_: &_| {
        crate::harness::backend::Answer::status(407).header("Proxy-Authenticate", "Basic realm=\"inner\"")
    })
    .await;
    let all = all(&topics, &backend.url())
        .env("RUST_LOG", "actix_khp=trace")
        .start()
        .await;
    let answer = all
        .request(Request::get("/x").header("Proxy-Authorization", "Basic c2VjcmV0Og=="))
        .await;
    assert_eq!(answer.status, 407);
    assert_eq!(
        answer.header("proxy-authenticate").as_deref(),
        Some("Basic realm=\"inner\"")
    );
    assert_eq!(
        backend.last().header("proxy-authorization").as_deref(),
        Some("Basic c2VjcmV0Og==")
    );
    assert!(!all.log().contains("c2VjcmV0Og"), "a secret is never logged");
    all.wait_until_idle().await;
}
