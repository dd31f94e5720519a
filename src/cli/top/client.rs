//! Asks a process over HTTP.

use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

use crate::console::documents::{Now, Process, Topics};
use crate::process::causes::causes;
use crate::process::https::{self, Https, Tls};
use crate::settings::Secret;

/// How long one answer may take.
const ANSWER_IN: Duration = Duration::from_secs(5);
/// Bytes of one answer: some thousand topics.
const MAX_ANSWER: usize = 16 << 20;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("{0:?} is no URL as in http://127.0.0.1:8081")]
    Url(String),
    #[error("the token holds what no header field can hold")]
    Token,
    #[error("the token: {0}")]
    NoToken(String),
    #[error("{0}")]
    Tls(String),
    #[error("no answer: {0}")]
    NoAnswer(String),
    #[error("a token is needed: set KHP__MANAGEMENT_TOKEN to the management_token of the process")]
    TokenNeeded,
    #[error("the token is wrong: KHP__MANAGEMENT_TOKEN (or --token) must be the management_token of the process")]
    WrongToken,
    #[error("the process knows no such host: ask it by its address, or name the host in its allowed_hosts")]
    OtherHost,
    #[error("there is no console: give the process a management_port, and name that port")]
    NoConsole,
    #[error("the answer is {0}")]
    Refused(StatusCode),
    #[error("the answer is not understood: {0}; is that a management port of actix-khp?")]
    NotUnderstood(#[from] serde_json::Error),
}

impl AskError {
    /// The answer will be no other one. Each wrong token makes the process slower to answer its address.
    pub fn is_final(&self) -> bool {
        matches!(self, AskError::TokenNeeded | AskError::WrongToken)
    }
}

/// All that was asked at one time.
#[derive(Debug)]
pub struct Seen {
    pub process: Process,
    pub now: Now,
    pub topics: Topics,
}

/// The client. Must be used inside a tokio runtime.
pub struct Client {
    base: String,
    token: Option<HeaderValue>,
    http: legacy::Client<Https, Empty<Bytes>>,
}

impl Client {
    /// Asks the process whose management port is at `url`.
    ///
    /// # Errors
    /// That is no URL of HTTP, or the token cannot be sent.
    pub fn new(url: &str, token: Option<&Secret>) -> Result<Self, AskError> {
        let uri = Uri::from_str(url).ok();
        let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none();
        uri.filter(is_http).ok_or_else(|| AskError::Url(url.to_owned()))?;
        let field = |token: &Secret| {
            let mut field =
                HeaderValue::from_str(&format!("Bearer {}", token.reveal())).map_err(|_| AskError::Token)?;
            field.set_sensitive(true);
            Ok::<_, AskError>(field)
        };
        let connector = https::connector(&Tls::default()).map_err(AskError::Tls)?;
        Ok(Client {
            base: url.trim_end_matches('/').to_owned(),
            token: token.map(field).transpose()?,
            http: legacy::Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// All that is shown.
    ///
    /// # Errors
    /// There is no answer, or another one than a console's.
    pub async fn look(&self) -> Result<Seen, AskError> {
        Ok(Seen {
            process: self.ask("/api/process").await?,
            now: self.ask("/api/now").await?,
            topics: self.ask("/api/topics").await?,
        })
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, AskError> {
        let mut request = Request::get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request
            .body(Empty::new())
            .map_err(|_| AskError::Url(self.base.clone()))?;
        let answer = tokio::time::timeout(ANSWER_IN, self.exchange(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("within {} s", ANSWER_IN.as_secs())));
        let (status, body) = answer.map_err(AskError::NoAnswer)?;
        match status {
            StatusCode::OK => Ok(serde_json::from_slice(&body)?),
            StatusCode::UNAUTHORIZED if self.token.is_some() => Err(AskError::WrongToken),
            StatusCode::UNAUTHORIZED => Err(AskError::TokenNeeded),
            StatusCode::MISDIRECTED_REQUEST => Err(AskError::OtherHost),
            StatusCode::NOT_FOUND => Err(AskError::NoConsole),
            other => Err(AskError::Refused(other)),
        }
    }

    async fn exchange(&self, request: Request<Empty<Bytes>>) -> Result<(StatusCode, Bytes), String> {
        let response = self.http.request(request).await.map_err(|error| causes(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        Ok((status, body.map_err(|error| causes(&*error))?.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_or_no_token_is_refused_at_once() {
        let secret = |text: &str| Secret::new(text.to_owned());
        for url in ["", "localhost:8081", "ftp://a/", "http://a/?b", "http:///"] {
            assert!(matches!(Client::new(url, None), Err(AskError::Url(_))), "{url}");
        }
        for url in ["http://localhost:8081", "https://khp.internal/console/"] {
            assert!(Client::new(url, Some(&secret("a-token"))).is_ok(), "{url}");
        }
        let broken = Client::new("http://a", Some(&secret("a\nb")));
        assert!(matches!(broken, Err(AskError::Token)));
    }
}
