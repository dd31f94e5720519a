//! Calls one topic's backend over HTTP. The only place that knows awc; its errors end here.

use std::time::Duration;

use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::http::header::{self, HeaderName, HeaderValue};
use awc::http::uri::{Authority, PathAndQuery, Scheme};
use awc::http::{Method, StatusCode, Uri, Version};
use bytes::Bytes;

use crate::settings::{BackendUrl, HostHeader};
use crate::wire::{CorrelationId, Fields, ReplyError, Request, headers};

/// A TCP or TLS connection that is not up by then counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than the keep-alive of common servers (nginx 75 s, Node 5 s is the exception): a connection closed under us costs a retry,
/// or a POST its answer.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// What a backend answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// End-to-end fields only.
    pub headers: Fields,
    pub body: Bytes,
}

/// Why there is no answer. The text is for logs and dead letters; clients see only the code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    #[error("no connection: {0}")]
    Unreachable(String),
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    #[error("answer broken off or not HTTP: {0}")]
    Reset(String),
    #[error("answer of more than {0} bytes")]
    TooLarge(usize),
    #[error("cannot be sent as HTTP: {0}")]
    BadMessage(String),
}

impl BackendError {
    /// How the client is told.
    pub fn reply_error(&self) -> ReplyError {
        match self {
            BackendError::Unreachable(_) => ReplyError::BackendUnreachable,
            BackendError::Timeout(_) => ReplyError::BackendTimeout,
            BackendError::Reset(_) => ReplyError::BackendReset,
            BackendError::TooLarge(_) => ReplyError::ResponseTooLarge,
            BackendError::BadMessage(_) => ReplyError::BadMessage,
        }
    }
}

/// One backend as one worker sees it: address and connections. Belongs to the Arbiter it was made on.
pub struct Backend {
    client: awc::Client,
    scheme: Scheme,
    authority: Authority,
    base_path: String,
    host: HostHeader,
    max_body: usize,
}

impl Backend {
    /// `connections` at most are open at a time; answers over `max_body` bytes are refused.
    ///
    /// # Errors
    /// The URL is not one (the settings have checked it), or TLS cannot be set up.
    pub fn new(url: &BackendUrl, host: HostHeader, connections: usize, max_body: usize) -> Result<Self, String> {
        let connector = awc::Connector::new()
            .limit(connections)
            .timeout(CONNECT_TIMEOUT)
            .handshake_timeout(CONNECT_TIMEOUT)
            .conn_keep_alive(IDLE_CONNECTION)
            .openssl(tls()?)
            .max_http_version(Version::HTTP_11);
        let client = awc::Client::builder()
            .connector(connector)
            .disable_timeout()
            .disable_redirects()
            .no_default_headers()
            .finish();
        Ok(Backend {
            client,
            scheme: url
                .scheme
                .parse()
                .map_err(|error| format!("backend scheme {}: {error}", url.scheme))?,
            authority: url
                .authority
                .parse()
                .map_err(|error| format!("backend authority {}: {error}", url.authority))?,
            base_path: url.base_path.clone(),
            host,
            max_body,
        })
    }

    /// Sends the request and reads the whole answer within `timeout`.
    ///
    /// # Errors
    /// There is no answer that could be passed on.
    pub async fn call(&self, request: &Request, timeout: Duration) -> Result<Answer, BackendError> {
        tokio::time::timeout(timeout, self.exchange(request))
            .await
            .unwrap_or(Err(BackendError::Timeout(timeout)))
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, BackendError> {
        let bad = |error: &dyn std::fmt::Display| BackendError::BadMessage(error.to_string());
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|error| bad(&error))?;
        let mut outgoing = self
            .client
            .request(method.clone(), self.uri(&request.path)?)
            .no_decompress();
        let fields = outgoing.headers_mut();
        for (name, value) in &request.headers {
            if matches!(&**name, "host" | "content-length" | "expect") {
                continue;
            }
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| bad(&error))?;
            fields.append(
                name,
                HeaderValue::from_maybe_shared(value.clone()).map_err(|error| bad(&error))?,
            );
        }
        if self.host == HostHeader::Preserve && !request.authority.is_empty() {
            fields.insert(
                header::HOST,
                HeaderValue::from_str(&request.authority).map_err(|error| bad(&error))?,
            );
        }
        let id = HeaderValue::from_str(&id_text(&request.correlation_id)).map_err(|error| bad(&error))?;
        fields.insert(HeaderName::from_static(headers::KHP_CORRELATION_ID), id);
        let sent = match &request.body {
            None => outgoing.send(),
            Some(body) => outgoing.send_body(body.clone()),
        };
        let mut response = sent.await.map_err(send_error)?;
        if ends_with_its_connection(&response, &method) {
            // actix-http's client reads such a body only of HTTP/1.0 (its h1/decoder.rs:448) and would pass on an empty success.
            return Err(BackendError::Reset(
                "its end is marked by nothing but the end of the connection".into(),
            ));
        }
        let body = response
            .body()
            .limit(self.max_body)
            .await
            .map_err(|error| match error {
                PayloadError::Overflow => BackendError::TooLarge(self.max_body),
                error => BackendError::Reset(error.to_string()),
            })?;
        let connection: Vec<&[u8]> = response
            .headers()
            .get_all(header::CONNECTION)
            .map(HeaderValue::as_bytes)
            .collect();
        let connection = headers::connection_options(connection);
        let fields = response.headers().iter().map(|(name, value)| (name.as_str(), value));
        let fields = headers::end_to_end(fields, &connection)
            .map(|(name, value)| (name.to_string().into(), Bytes::copy_from_slice(value.as_bytes())))
            .collect();
        Ok(Answer {
            status: response.status().as_u16(),
            headers: fields,
            body,
        })
    }

    /// The record's path below the base path; scheme and authority are never the record's.
    fn uri(&self, path: &str) -> Result<Uri, BackendError> {
        let target = match path {
            "*" => path.to_string(),
            path => format!("{}{path}", self.base_path),
        };
        let path_and_query = PathAndQuery::from_maybe_shared(Bytes::from(target))
            .map_err(|error| BackendError::BadMessage(error.to_string()))?;
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path_and_query)
            .build()
            .map_err(|error| BackendError::BadMessage(error.to_string()))
    }
}

/// A correlation id as HTTP shows it: ours as a UUID, anybody's text as it is, other bytes in hexadecimal.
pub fn id_text(id: &[u8]) -> String {
    match (CorrelationId::from_bytes(id), std::str::from_utf8(id)) {
        (Some(id), _) => id.to_string(),
        (None, Ok(text)) if headers::name_is_legal(text) && text.len() <= 128 => text.to_string(),
        _ => id.iter().take(64).map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// An HTTP/1.1 body that has neither a length nor chunks (RFC 9112 6.3).
fn ends_with_its_connection<S>(response: &awc::ClientResponse<S>, method: &Method) -> bool {
    let bodyless =
        *method == Method::HEAD || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framed = response.headers().contains_key(header::CONTENT_LENGTH)
        || response.headers().contains_key(header::TRANSFER_ENCODING);
    response.version() == Version::HTTP_11 && !bodyless && !framed
}

fn send_error(error: SendRequestError) -> BackendError {
    match error {
        SendRequestError::Connect(ConnectError::Disconnected) => {
            BackendError::Reset("the connection was closed without an answer".into())
        }
        SendRequestError::Connect(error) => BackendError::Unreachable(error.to_string()),
        SendRequestError::Timeout => BackendError::Timeout(Duration::ZERO),
        SendRequestError::Url(error) => BackendError::BadMessage(error.to_string()),
        SendRequestError::Http(error) => BackendError::BadMessage(error.to_string()),
        error => BackendError::Reset(error.to_string()),
    }
}

/// TLS with the system's certificates, which a vendored OpenSSL does not find by itself.
fn tls() -> Result<openssl::ssl::SslConnector, String> {
    let failed = |error: openssl::error::ErrorStack| format!("TLS cannot be set up: {error}");
    let mut builder = openssl::ssl::SslConnector::builder(openssl::ssl::SslMethod::tls()).map_err(failed)?;
    let found = openssl_probe::probe();
    if let Some(file) = &found.cert_file {
        // A file that cannot be read leaves the connector without its certificates: calls then fail, saying so.
        if let Err(error) = builder.set_ca_file(file) {
            tracing::warn!(file = %file.display(), %error, "system certificates not loaded; https backends will not be trusted");
        }
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(base_path: &str) -> Backend {
        let url = BackendUrl {
            scheme: "http".into(),
            authority: "orders:8080".into(),
            base_path: base_path.into(),
        };
        Backend::new(&url, HostHeader::Backend, 1, 1000).unwrap()
    }

    #[test]
    fn a_path_never_leaves_the_authority() {
        for path in ["/a?b=c", "//evil.example/x", "/@evil.example", "/..//../x", "/a:80@b"] {
            let uri = backend("").uri(path).unwrap();
            assert_eq!(
                (
                    uri.authority().unwrap().as_str(),
                    uri.path_and_query().unwrap().as_str()
                ),
                ("orders:8080", path)
            );
        }
        assert_eq!(
            backend("/base").uri("/x?y").unwrap().to_string(),
            "http://orders:8080/base/x?y"
        );
        assert_eq!(
            backend("/base").uri("*").unwrap().path_and_query().unwrap().as_str(),
            "*"
        );
    }

    #[test]
    fn ids_of_others_are_shown_safely() {
        assert_eq!(id_text(b"abc-1"), "abc-1");
        assert_eq!(id_text(b"a b\r\n"), "6120620d0a");
    }
}
