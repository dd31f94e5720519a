//! One console shows all instances, each marked.

use serde_json::json;

use crate::harness::backend::Backend;
use crate::harness::browser::Browser;
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::spec;

#[tokio::test]
async fn a_request_is_seen_as_every_instance_saw_it() {
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    let url = backend.url();
    let processor = spec::processor(&[(&topics, url.as_str())]).start().await;
    let other = processor.management_address();
    // Any number gives it a management port of its own.
    let proxy = spec::proxy(&topics)
        .set("management_port", 1)
        .set("management_peers", json!([other, "nowhere.invalid:8081"]))
        .start()
        .await;
    let answer = proxy.request(Request::get("/far")).await;
    assert_eq!(answer.status, 200);
    let id = answer
        .header("khp-correlation-id")
        .expect("an answer names its request");

    let browser = Browser::start().await;
    let page = format!("http://{}/", proxy.management_address());
    browser.open(&page).await;
    browser.expect("nowhere.invalid:8081 has no address").await;
    browser.expect(&other).await;
    browser.open(&format!("{page}#/requests/{id}")).await;
    browser.expect("As the proxy saw it").await;
    let far = format!("As the processor at {other} saw it");
    browser.expect(&far).await;
}
