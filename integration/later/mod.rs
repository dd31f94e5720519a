//! Answers that are fetched later: 202 at once, and the result from any proxy.

/// Only who asked may have a result.
mod access;
/// Results of several records, and large requests.
mod bodies;
/// Cancels, deadlines, retention and the number of results.
mod ends;
/// Proxies and processors are killed all the time.
mod killed;
/// What a million results cost.
mod million;
/// From a proxy that did not take the request, and from one that was started since.
mod other_proxies;
/// What clients prefer.
mod preferences;
/// Errors that a redriven letter replaces.
mod redriven;
/// Another configuration meanwhile.
mod reloaded;
/// Where records are sealed.
mod sealed;

use crate::harness::client::{Request, Response};
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{Spec, proxy};
use crate::harness::wait::eventually;

/// A proxy that accepts requests whose clients prefer that.
fn accepting(topics: &Topics) -> Spec {
    proxy(topics).set("async", "allowed")
}

/// A request whose client does not wait.
fn job(body: impl Into<Vec<u8>>) -> Request {
    Request::post("/jobs", body).header("Prefer", "respond-async")
}

/// Sends such a request; returns its Location.
pub async fn accepted(proxy: &Service, request: Request) -> String {
    let answer = proxy.request(request).await;
    assert_eq!(answer.status, 202, "{answer:?}\n{}", answer.text());
    location(&answer)
}

fn location(answer: &Response) -> String {
    answer.header("location").expect("a Location")
}

/// What a proxy has at a Location, once it knows all results.
async fn ask(proxy: &Service, request: Request) -> Response {
    eventually("the results are indexed", async || {
        let answer = proxy.request(request.clone()).await;
        match answer.status {
            503 => Err(answer.text()),
            _ => Ok(answer),
        }
    })
    .await
}

/// The result at a Location, which is waited for.
pub async fn result(proxy: &Service, location: &str) -> Response {
    eventually("a result", async || {
        let answer = ask(proxy, Request::get(location).header("Prefer", "wait=5")).await;
        match answer.status {
            202 => Err(answer.text()),
            _ => Ok(answer),
        }
    })
    .await
}
