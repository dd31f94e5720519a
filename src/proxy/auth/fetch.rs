//! A JWKS over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, Uri, header};
use hyper_openssl::client::legacy::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use openssl::ssl::{SslConnector, SslMethod};
use tokio::time::timeout;

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
    // A new one each time: it is needed every few minutes.
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector()?);
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

fn connector() -> Result<HttpsConnector<HttpConnector>, String> {
    let failed = |error: openssl::error::ErrorStack| format!("TLS cannot be set up: {error}");
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let mut builder = SslConnector::builder(SslMethod::tls()).map_err(failed)?;
    if let Some(file) = &openssl_probe::probe().cert_file {
        builder.set_ca_file(file).map_err(failed)?;
    }
    HttpsConnector::with_connector(tcp, builder).map_err(failed)
}
