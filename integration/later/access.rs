//! Only who asked may have a result, or delete it.

use serde_json::json;

use super::{accepted, accepting, ask, job, result};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::digest::api_key;
use crate::harness::names::Topics;
use crate::harness::spec::processor;
use crate::harness::wait::eventually;

const ANNA: &str = "anna";
const BERT: &str = "bert";

#[tokio::test]
async fn a_result_is_its_principals_alone() {
    let topics = Topics::unique("jobs");
    let backend = Backend::start(Answer::same_body).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let keys = [ANNA, BERT].map(|name| api_key(name, &format!("key-of-{name}")));
    let spec = accepting(&topics)
        .set("auth", json!({ "methods": ["api-key"], "api_keys": keys }))
        .set("results_key", "a secret of more than 32 characters");
    let (taker, other) = (spec.clone().start().await, spec.start().await);
    let by = |request: Request, name: &str| request.header("X-Api-Key", format!("key-of-{name}"));
    let at = accepted(&taker, by(job("of anna"), ANNA)).await;
    let found = eventually("a result", async || {
        let answer = ask(&other, by(Request::get(&at), ANNA)).await;
        match answer.status {
            202 => Err(answer.text()),
            _ => Ok(answer),
        }
    })
    .await;
    assert_eq!((found.status, found.text()), (200, "of anna".into()));
    for method in ["GET", "HEAD", "DELETE"] {
        let refused = ask(&other, by(Request::new(method, &at), BERT)).await;
        assert_eq!(refused.status, 404, "{method}");
        let unknown = ask(&other, Request::new(method, &at)).await;
        assert_eq!(unknown.status, 401, "{method}");
    }
    let again = ask(&taker, by(Request::get(&at), ANNA)).await;
    assert_eq!((again.status, again.text()), (200, "of anna".into()));
    // With another key no id is anybody's.
    let stranger = accepting(&topics)
        .set("results_key", "another secret of more than 32 characters")
        .start()
        .await;
    ask(&stranger, Request::get(&at)).await.assert_problem(404, "no-result");
    let own = accepted(&stranger, job("of nobody")).await;
    assert_eq!(result(&stranger, &own).await.text(), "of nobody");
}
