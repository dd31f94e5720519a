//! Carries what is exported: the HTTP client of OTLP, over the same HTTP and TLS as the calls of backends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

use crate::process::causes::causes;
use crate::process::https::{self, Https, Tls};

/// An answer says how many spans were refused, and why; more of it than this is not read.
const MAX_ANSWER: usize = 64 << 10;

/// Why the last request got no answer; `None`: it got one. The exporter says of it that there was a "network error".
pub type LastFailure = Arc<ArcSwapOption<String>>;

/// The client. Must be used inside a tokio runtime.
pub struct Transport {
    client: Client<Https, Full<Bytes>>,
    /// For one request, its answer included.
    timeout: Duration,
    failure: LastFailure,
}

impl Transport {
    /// # Errors
    /// A file of `tls` cannot be used; the text names it.
    pub fn new(tls: &Tls, timeout: Duration, failure: LastFailure) -> Result<Self, String> {
        let client = Client::builder(TokioExecutor::new()).build(https::connector(tls)?);
        Ok(Transport {
            client,
            timeout,
            failure,
        })
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let response = self.client.request(request.map(Full::new)).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(format!("no answer within {} s", self.timeout.as_secs_f32()).into()),
        };
        let failure = answer.as_ref().err().map(|error| Arc::new(causes(&**error)));
        self.failure.store(failure);
        answer
    }
}
