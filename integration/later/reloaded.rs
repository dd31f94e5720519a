//! Another configuration while requests are accepted.

use serde_json::json;

use super::{accepted, accepting, ask, job, result};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::names::{Topics, unique};
use crate::harness::spec::processor;
use crate::harness::wait::eventually;

#[tokio::test]
async fn accepted_requests_go_by_the_topics_of_now() {
    let topics = Topics::unique("jobs");
    let (bodies, control) = (unique("other-bodies"), unique("other-control"));
    let backend = Backend::start(|received| match received.body.len() {
        1 => Answer::Hang,
        length => Answer::body(length.to_string()),
    })
    .await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set_topics("bodies_topic", &*bodies)
        .set_topics("control_topic", &*control)
        .start()
        .await;
    let proxy = accepting(&topics).set("management_port", 1).start().await;
    proxy.configure(|config| {
        config["bodies_topic"] = json!(bodies);
        config["control_topic"] = json!(control);
    });
    proxy.reload("applied").await;
    let large = accepted(&proxy, job(vec![b'x'; 3_000_000])).await;
    assert_eq!(result(&proxy, &large).await.text(), "3000000");
    let hangs = accepted(&proxy, job("x")).await;
    backend.wait_for_calls(2).await;
    assert_eq!(ask(&proxy, Request::new("DELETE", &hangs)).await.status, 204);
    eventually("the call ends", async || match backend.left().len() {
        1 => Ok(()),
        left => Err(format!("{left} left")),
    })
    .await;
}
