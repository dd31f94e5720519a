//! TLS to backends: whom it trusts, and who we are to them.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::binary::signal;
use crate::harness::certificates::Authority;
use crate::harness::client::{Request, Response};
use crate::harness::command::check;
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{Spec, all};
use crate::harness::tls_backend::TlsBackend;
use crate::harness::wait::eventually;

fn spec(url: &str, tls: Value) -> Spec {
    let topics = Topics::unique("orders");
    all(&topics, url).set_topics("tls", tls).set_topics("max_retries", 0)
}

async fn get(service: &Service) -> Response {
    service.request(Request::get("/")).await
}

fn path(file: &Path) -> &str {
    file.to_str().expect("a temporary path is UTF-8")
}

#[tokio::test]
async fn a_backend_of_an_own_authority_is_trusted_by_name_and_no_other_is() {
    let (ours, other) = (Authority::new(), Authority::new());
    let ca = json!({"ca": path(&ours.file())});
    let backend = TlsBackend::start(&ours.issue("localhost"), None);
    let trusted = spec(&backend.url_by_name(), ca.clone()).start().await;
    assert_eq!(get(&trusted).await.json()["server_name"], "localhost");

    // The same backend by an address that its certificate does not have.
    let misnamed = spec(&backend.url(), ca.clone()).start().await;
    get(&misnamed).await.assert_problem(502, "backend-unreachable");
    assert!(
        misnamed.log().contains("certificate verify failed"),
        "{}",
        misnamed.log()
    );
    let named = json!({"ca": path(&ours.file()), "server_name": "localhost"});
    let named = spec(&backend.url(), named).start().await;
    assert_eq!(get(&named).await.json()["server_name"], "localhost");

    for identity in [other.issue("localhost"), ours.issue_expired("localhost")] {
        let backend = TlsBackend::start(&identity, None);
        let untrusted = spec(&backend.url_by_name(), ca.clone()).start().await;
        get(&untrusted).await.assert_problem(502, "backend-unreachable");
        assert_eq!(backend.connections(), 0, "no request reached it");
    }
    // Without `ca`, the system's certificates are trusted, and ours is none of them.
    let by_system = spec(&backend.url_by_name(), json!({})).start().await;
    get(&by_system).await.assert_problem(502, "backend-unreachable");
}

#[tokio::test]
async fn a_backend_that_wants_a_certificate_gets_the_topics_own_and_the_new_one_after_sighup() {
    let authority = Authority::new();
    let backend = TlsBackend::start(&authority.issue("localhost"), Some(&authority));
    let (first, second) = (authority.issue("first"), authority.issue("second"));
    let tls = json!({"ca": path(&authority.file()), "cert": path(&first.cert_file), "key": path(&first.key_file)});
    let service = spec(&backend.url_by_name(), tls).start().await;
    assert_eq!(get(&service).await.json()["client"], "first");

    std::fs::write(&first.cert_file, &second.cert).expect("it can be written");
    signal("HUP", service.pid());
    eventually("a key that does not fit is told", async || {
        match service.logged("is not the key of") {
            1 => Ok(()),
            other => Err(format!("{other}")),
        }
    })
    .await;
    std::fs::write(&first.key_file, &second.key).expect("it can be written");
    signal("HUP", service.pid());
    // The connection that is open keeps its certificate until it is closed for want of requests.
    eventually("the new certificate is shown", async || {
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        match &get(&service).await.json()["client"] {
            client if client == "second" => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;

    let anonymous = spec(&backend.url_by_name(), json!({"ca": path(&authority.file())}))
        .start()
        .await;
    get(&anonymous).await.assert_problem(502, "backend-reset");
}

#[tokio::test]
async fn verification_is_off_only_in_words_that_say_so_and_each_start_warns() {
    let backend = TlsBackend::start(&Authority::new().issue("somebody.else"), None);
    let service = spec(&backend.url(), json!({"verify": "none-dangerous"})).start().await;
    assert_eq!(get(&service).await.status, 200);
    assert_eq!(service.logged("tls.verify is none-dangerous"), 1, "{}", service.log());

    let topic = "topics: [{request_topic: a, backend_url: 'https://a', tls: {verify: WORD}}]";
    for word in ["none", "false", "off"] {
        let ended = check("processor", &topic.replace("WORD", word), &[]).await;
        assert_eq!(ended.code, Some(64), "{word}");
        ended.assert_shows(&["full or none-dangerous"]);
    }
    for (faulty, shown) in [
        ("http://a', tls: {ca: /ca.pem}", "topics[0].backend_url: is http://"),
        ("https://a', tls: {cert: /c.pem}", "topics[0].tls.cert: needs tls.key"),
        ("https://a', tls: {key: /k.pem}", "topics[0].tls.key: needs tls.cert"),
    ] {
        let text = format!("topics: [{{request_topic: a, backend_url: '{faulty}}}]");
        check("processor", &text, &[]).await.assert_shows(&[shown]);
    }
}
