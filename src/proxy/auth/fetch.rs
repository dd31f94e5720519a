//! A JWKS over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use crate::process::https::{self, Tls};
use crate::proxy::auth::key_set::MAX_JWKS;

/// The answer must be here after this time.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Fetches `url`, with the system's certificates. Redirections are not followed: they could lead out of TLS.
///
/// # Errors
/// There is no answer of 200, or it is too large.
pub async fn fetch(url: &str) -> Result<Bytes, String> {
    timeout(TIMEOUT, exchange(url))
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs())))
}

async fn exchange(url: &str) -> Result<Bytes, String> {
    let uri: Uri = url.parse().map_err(|_| "is no URL".to_owned())?;
    // A new one each time: it is needed every few minutes. Made on a thread that may wait for a disk.
    let connector = tokio::task::spawn_blocking(|| https::connector(&Tls::default())).await;
    let connector = connector.map_err(|error| error.to_string())??;
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let request = Request::get(uri)
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "actix-khp")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let answer = client.request(request).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        format!("{error}{}", cause.unwrap_or_default())
    })?;
    if answer.status() != hyper::StatusCode::OK {
        return Err(format!("answers {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), MAX_JWKS).collect().await;
    body.map(|body| body.to_bytes()).map_err(|error| error.to_string())
}
