//! An error is a result, too, until its dead letter is redriven and answers at the same Location.

use super::{accepted, accepting, job, result};
use crate::harness::backend::{Answer, Backend, unreachable_url};
use crate::harness::client::Request;
use crate::harness::dlq::Dlq;
use crate::harness::wait::eventually;

#[tokio::test]
async fn a_redriven_letter_answers_at_the_location_of_its_request() {
    let dlq = Dlq::create().await;
    let proxy = accepting(&dlq.topics).start().await;
    let failing = dlq.spec(&unreachable_url()).start().await;
    let at = accepted(&proxy, job("in vain")).await;
    result(&proxy, &at).await.assert_problem(502, "backend-unreachable");
    failing.stop().await;
    let backend = Backend::start(Answer::same_body).await;
    let _processor = dlq.spec(&backend.url()).start().await;
    let redriven = dlq.run(&["redrive"]).await;
    assert_eq!(redriven.code, Some(0), "{redriven:?}");
    let found = eventually("the answer", async || match proxy.request(Request::get(&at)).await {
        answer if answer.status == 200 => Ok(answer),
        answer => Err(answer.text()),
    })
    .await;
    assert_eq!(found.text(), "in vain");
}
