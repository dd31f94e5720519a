//! What the access log and the console say of a key.

use serde_json::{Value, json};

use super::{Once, payment};
use crate::harness::backend::{Answer, Backend};
use crate::harness::service::Service;
use crate::harness::wait::eventually;

/// What the access log says of the key, and the status, of each request so far.
fn lines(service: &Service) -> Vec<(Value, Value)> {
    let log = service.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["target"] == "access")
        .map(|line| (line["fields"]["idempotency"].clone(), line["fields"]["status"].clone()))
        .collect()
}

#[tokio::test]
async fn what_a_key_made_of_a_request_is_in_the_access_log_and_in_the_console() {
    let backend = Backend::start(|received| match received.text().as_str() {
        "fails" => Answer::status(500),
        _ => Answer::same_body(received),
    })
    .await;
    let log = json!({"access": "all", "format": "json"});
    let once = Once::start_with(
        backend,
        |proxy| proxy.set("log", log.clone()),
        |processor| processor.set("log", log.clone()).set_topics("max_retries", 0),
    )
    .await;
    for (key, body) in [("k", "ten"), ("k", "ten"), ("k", "eleven"), ("other", "fails")] {
        once.proxy.request(payment(key, body)).await;
    }
    once.proxy
        .request(crate::harness::client::Request::post("/payments", "ten"))
        .await;
    let expected = |outcomes: [Value; 5]| -> Vec<(Value, Value)> {
        let statuses = [200, 200, 422, 500, 200].map(Value::from);
        outcomes.into_iter().zip(statuses).collect()
    };
    let of_processor = ["remembered", "replayed", "refused", "not-remembered"].map(Value::from);
    let [first, second, third, fourth] = of_processor;
    let of_processor = expected([first, second, third, fourth, Value::Null]);
    let of_proxy = expected([
        Value::Null,
        "replayed".into(),
        "refused".into(),
        Value::Null,
        Value::Null,
    ]);
    for (service, expected) in [(&once.processor, of_processor), (&once.proxy, of_proxy)] {
        eventually("each request has its line", async || match lines(service) {
            lines if lines == expected => Ok(()),
            lines => Err(format!("{lines:?}")),
        })
        .await;
    }
    let shown = once.processor.manage("/api/requests").await.json();
    let outcomes: Vec<_> = shown["requests"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|request| request["idempotency"].clone())
        .collect();
    assert!(outcomes.contains(&json!("remembered")), "{shown}");
}
