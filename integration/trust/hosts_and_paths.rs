//! A host is a host, and no path leads out of where it was sent.

use serde_json::json;

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::exchange::exchange;
use crate::harness::names::Topics;
use crate::harness::pair::Pair;
use crate::harness::spec::{processor, proxy};

#[tokio::test]
async fn a_host_that_is_none_is_refused() {
    let pair = Pair::start(Backend::echo().await).await;
    for head in [
        "GET / HTTP/1.1\r\nHost: shop.example/x\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n",
        "GET / HTTP/1.1\r\nHost: user@shop.example\r\n",
        "GET / HTTP/1.1\r\nHost: shop.example:http\r\n",
        "GET / HTTP/1.1\r\nHost: \"><script>\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n",
        "GET http://shop.example/ HTTP/1.1\r\nHost: a b\r\n",
    ] {
        let (answer, _) = exchange(&pair.proxy, format!("{head}\r\n").as_bytes()).await;
        assert_eq!(answer.status, 400, "{head}");
    }
    for host in ["shop.example", "shop.example:8080", "[::1]:80", "a_b", ""] {
        let answer = pair.request(Request::get("/").header("Host", host)).await;
        assert_eq!(answer.status, 200, "{host:?}: {}", answer.text());
    }
}

#[tokio::test]
async fn no_path_leads_out_of_a_prefix_a_route_or_a_base_path() {
    const OUT: [&str; 6] = ["/../x", "/%2e%2E/x", "/..%2fx", "/..\\x", "/..;/x", "/a/../../x"];
    let (api, based) = (Topics::unique("api"), Topics::unique("based"));
    let backend = Backend::echo().await;
    let base = format!("{}/base", backend.url());
    let _processor = processor(&[(&api, &backend.url()), (&based, &base)])
        .set_topics("max_retries", 0)
        .start()
        .await;
    let routes = json!([
        {"path": "/api/{tail}*", "strip_prefix": "/api", "request_topic": api.request, "response_topic": api.response},
    ]);
    let routed = proxy(&api)
        .set("routes", routes)
        .set("warmup_topics", json!([]))
        .start()
        .await;
    let plain = proxy(&based).start().await;
    for path in OUT {
        routed
            .request(Request::get(&format!("/api{path}")))
            .await
            .assert_problem(400, "bad-request");
        // The proxy does not know the backend's path; the processor does.
        plain
            .request(Request::get(path))
            .await
            .assert_problem(500, "bad-message");
    }
    assert_eq!(backend.received().len(), 0);
    let answer = routed.request(Request::get("/api/a/../b")).await;
    assert_eq!((answer.status, &*backend.last().target), (200, "/a/../b"));
    let answer = plain.request(Request::get("/a/../b?c=/../../d")).await;
    assert_eq!(
        (answer.status, &*backend.last().target),
        (200, "/base/a/../b?c=/../../d")
    );
}
