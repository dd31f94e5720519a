//! Calls one topic's backend over HTTP. The only place that knows the HTTP client; its errors end here.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Uri};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use crate::process::causes::causes;
use crate::processor::backend::open_body::{OpenBody, ReadError, WholeAnswers};
use crate::processor::backend::tls::Connector;
use crate::processor::bodies::BodyError;
use crate::processor::bodies::stream::StreamedBody;
use crate::settings::{BackendUrl, HostHeader};
use crate::wire::correlation::id_text;
use crate::wire::trace_parent::TraceParent;
use crate::wire::{self, Fields, ReplyError, Request, headers};

/// Shorter than the keep-alive of common servers (nginx 75 s, Node 5 s): a connection that the backend closes just as it is used costs a
/// GET a retry, and a POST its answer.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// A timer that is later than this shows a process that stood still.
const STANDSTILL: Duration = Duration::from_secs(1);
/// What had come while the process stood still is read well within this.
const AFTER_STANDSTILL: Duration = Duration::from_millis(500);

/// The most header fields of one answer: nearly as many as a record may have headers.
const MAX_HEADERS: usize = 900;

/// What a backend answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// End-to-end fields only.
    pub headers: Fields,
    /// The whole body, or what came of it so far.
    pub body: Bytes,
    /// The rest of the body, where it is streamed. `None`: there is none.
    pub rest: Option<OpenBody>,
}

/// Why there is no answer. The text is for logs and dead letters; clients see only the code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    #[error("no connection: {0}")]
    Unreachable(String),
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    #[error("answer broken off: {0}")]
    Reset(String),
    /// It is the backend's last word: another attempt would bring the same.
    #[error("answer is not HTTP: {0}")]
    NotHttp(String),
    #[error("answer of more than {0} bytes")]
    TooLarge(usize),
    #[error("cannot be sent as HTTP: {0}")]
    BadMessage(String),
    /// Nothing of it is the backend's doing. Where the call had begun, the backend saw its connection break off.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl BackendError {
    /// The code that the waiting client gets.
    pub fn reply_error(&self) -> ReplyError {
        match self {
            BackendError::Unreachable(_) => ReplyError::BackendUnreachable,
            BackendError::Timeout(_) => ReplyError::BackendTimeout,
            BackendError::Reset(_) | BackendError::NotHttp(_) => ReplyError::BackendReset,
            BackendError::TooLarge(_) => ReplyError::ResponseTooLarge,
            BackendError::BadMessage(_) | BackendError::Body(BodyError::Gone(_)) => ReplyError::BadMessage,
            BackendError::Body(BodyError::Unread(_)) => ReplyError::ProcessorFailed,
        }
    }

    /// The backend may have executed the request. Of a body that broke off it is not known whether its call had begun.
    pub fn may_have_run(&self) -> bool {
        !matches!(self, BackendError::Unreachable(_) | BackendError::BadMessage(_))
    }
}

/// A body in memory, or one that is read while it is sent.
type Outgoing = Either<Full<Bytes>, StreamedBody>;

/// One backend as one worker sees it: address and connections, which live on the Arbiter that calls it.
pub struct Backend {
    client: Client<Connector, Outgoing>,
    scheme: Scheme,
    authority: Authority,
    base_path: String,
    host: HostHeader,
    max_body: usize,
}

impl Backend {
    /// Keeps up to `connections` idle ones; answers over `max_body` bytes are refused.
    ///
    /// # Errors
    /// The URL is not one (the settings have checked it).
    pub fn new(
        connector: &Connector,
        url: &BackendUrl,
        host: HostHeader,
        connections: usize,
        max_body: usize,
    ) -> Result<Self, String> {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_max_idle_per_host(connections)
            .http1_max_headers(MAX_HEADERS)
            // `Name : value`: a proxy removes the blank from an answer (RFC 9112 5.1).
            .http1_allow_spaces_after_header_name_in_responses(true)
            .build(connector.clone());
        let scheme = url.scheme.parse();
        let authority = url.authority.parse();
        Ok(Backend {
            client,
            scheme: scheme.map_err(|error| format!("backend scheme {}: {error}", url.scheme))?,
            authority: authority.map_err(|error| format!("backend authority {}: {error}", url.authority))?,
            base_path: url.base_path.clone(),
            host,
            max_body,
        })
    }

    /// Sends the request and reads the whole answer within `timeout`, or as much of it as `whole` allows: then the rest is streamed, and
    /// `timeout` is the time to its head. `None`: every answer is read to its end.
    /// `request_body`: the one that lies elsewhere. Beside the request: the span that calls, of which the backend is told instead of what the
    /// request tells.
    ///
    /// # Errors
    /// There is no answer that could be passed on.
    pub async fn call(
        &self,
        request: (&Request, Option<TraceParent>),
        request_body: Option<StreamedBody>,
        timeout: Duration,
        whole: Option<&WholeAnswers<'_>>,
    ) -> Result<Answer, BackendError> {
        within(timeout, self.exchange(request, request_body, whole))
            .await
            .unwrap_or(Err(BackendError::Timeout(timeout)))
    }

    async fn exchange(
        &self,
        (request, span): (&Request, Option<TraceParent>),
        request_body: Option<StreamedBody>,
        whole: Option<&WholeAnswers<'_>>,
    ) -> Result<Answer, BackendError> {
        let mut outgoing = self.outgoing(request, request_body)?;
        if let Some(span) = span {
            // Hexadecimal digits and hyphens are a legal value.
            let value = HeaderValue::from_maybe_shared(Bytes::from(span.to_string()));
            outgoing.headers_mut().insert(
                HeaderName::from_static(headers::TRACEPARENT),
                value.map_err(|error| BackendError::BadMessage(error.to_string()))?,
            );
        }
        let response = self.client.request(outgoing).await.map_err(send_error)?;
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        // No reply can carry another one: 101 ends HTTP on that connection, and beyond 599 there is nothing (RFC 9110 15).
        if !wire::is_final_status(&status) {
            return Err(BackendError::NotHttp(format!("status {status}")));
        }
        if let Some(coding) = other_transfer_coding(&head.headers) {
            return Err(BackendError::NotHttp(format!("transfer coding {coding:?}")));
        }
        let (body, rest) = match whole {
            Some(whole) if !body.is_end_stream() => whole
                .read(&head.headers, body, self.max_body)
                .await
                .map_err(read_error)?,
            _ => (read_to_end(body, self.max_body).await?, None),
        };
        let connection = head
            .headers
            .get_all(header::CONNECTION)
            .iter()
            .map(HeaderValue::as_bytes);
        let connection = headers::connection_options(connection);
        let fields = head.headers.iter().map(|(name, value)| (name.as_str(), value));
        let fields = headers::end_to_end(fields, &connection)
            .map(|(name, value)| (name.to_string().into(), Bytes::copy_from_slice(value.as_bytes())))
            .collect();
        Ok(Answer {
            status,
            headers: fields,
            body,
            rest,
        })
    }

    fn outgoing(
        &self,
        request: &Request,
        body: Option<StreamedBody>,
    ) -> Result<hyper::Request<Outgoing>, BackendError> {
        let bad = |error: &dyn std::fmt::Display| BackendError::BadMessage(error.to_string());
        let body = match body {
            Some(body) => Either::Right(body),
            None => Either::Left(Full::new(request.body.clone().unwrap_or_default())),
        };
        let mut outgoing = hyper::Request::new(body);
        *outgoing.method_mut() = Method::from_bytes(request.method.as_bytes()).map_err(|error| bad(&error))?;
        *outgoing.uri_mut() = self.uri(&request.path)?;
        let fields = outgoing.headers_mut();
        for (name, value) in &request.headers {
            if headers::is_of_each_hop(name) {
                continue;
            }
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| bad(&error))?;
            fields.append(
                name,
                HeaderValue::from_maybe_shared(value.clone()).map_err(|error| bad(&error))?,
            );
        }
        if request.body_elsewhere.is_none() && request.body.as_ref().is_some_and(Bytes::is_empty) {
            // Tells an empty body from none; of others the client writes the length itself.
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if self.host == HostHeader::Preserve && !request.authority.is_empty() {
            fields.insert(
                header::HOST,
                HeaderValue::from_str(&request.authority).map_err(|error| bad(&error))?,
            );
        }
        let id = HeaderValue::from_str(&id_text(&request.correlation_id)).map_err(|error| bad(&error))?;
        fields.insert(HeaderName::from_static(headers::KHP_CORRELATION_ID), id);
        Ok(outgoing)
    }

    /// The record's path below the base path; scheme and authority are never the record's.
    fn uri(&self, path: &str) -> Result<Uri, BackendError> {
        let below_base = path.split('?').next().unwrap_or_default();
        if !self.base_path.is_empty() && wire::path::climbs(below_base) {
            return Err(BackendError::BadMessage("its path leads out of the base path".into()));
        }
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

fn send_error(error: legacy::Error) -> BackendError {
    match error.is_connect() {
        true => BackendError::Unreachable(causes(&error)),
        false => no_answer(&error),
    }
}

/// Reads a body of at most `limit` bytes.
async fn read_to_end(body: Incoming, limit: usize) -> Result<Bytes, BackendError> {
    let body = Limited::new(body, limit).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            BackendError::TooLarge(limit)
        } else {
            no_answer(&*error)
        }
    })?;
    Ok(body.to_bytes())
}

fn read_error(error: ReadError) -> BackendError {
    match error {
        ReadError::BrokenOff(error) => no_answer(&error),
        ReadError::TooLarge(limit) => BackendError::TooLarge(limit),
    }
}

/// Tells what breaks off from what is no HTTP.
fn no_answer(error: &(dyn std::error::Error + 'static)) -> BackendError {
    let is_not_http = |error: &(dyn std::error::Error + 'static)| {
        // hyper's own errors of framing (a chunk's size, say) are io errors of these kinds.
        let framing = error.downcast_ref::<io::Error>().map(io::Error::kind);
        error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
            || matches!(framing, Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput))
    };
    match std::iter::successors(Some(error), |error| error.source()).any(is_not_http) {
        true => BackendError::NotHttp(causes(error)),
        false => BackendError::Reset(causes(error)),
    }
}

/// A transfer coding besides chunked, which alone is undone here: the body would be passed on in it, with no field that says so.
fn other_transfer_coding(fields: &header::HeaderMap) -> Option<String> {
    let lines = fields.get_all(header::TRANSFER_ENCODING).iter();
    let codings = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let codings = codings.map(|coding| String::from_utf8_lossy(coding.trim_ascii()).to_ascii_lowercase());
    codings
        .into_iter()
        .find(|coding| !coding.is_empty() && coding != "chunked")
}

/// Waits for an answer, no longer than `limit`. `None`: it did not come. While this process stood still (SIGSTOP, a paused machine) the
/// answer may have come; then a late timer is no verdict, and there is a moment to read it.
async fn within<T>(limit: Duration, answer: impl Future<Output = T>) -> Option<T> {
    let end = Instant::now().checked_add(limit);
    let mut answer = std::pin::pin!(answer);
    if let Ok(answer) = tokio::time::timeout(limit, &mut answer).await {
        return Some(answer);
    }
    let late = end.map_or(Duration::ZERO, |end| end.elapsed());
    match late > STANDSTILL {
        true => tokio::time::timeout(AFTER_STANDSTILL, answer).await.ok(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::BackendTls;

    fn backend(base_path: &str) -> Backend {
        let url = BackendUrl {
            scheme: "http".into(),
            authority: "orders:8080".into(),
            base_path: base_path.into(),
        };
        Backend::new(
            &Connector::new(&BackendTls::default()).unwrap(),
            &url,
            HostHeader::Backend,
            1,
            1000,
        )
        .unwrap()
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
    fn a_path_never_leaves_the_base_path() {
        for path in ["/../x", "/a/%2e%2e/..%2fx", "/..;/x?y", "/..\\x", "//../x"] {
            let refused = backend("/base").uri(path).unwrap_err();
            assert_eq!(refused.reply_error(), ReplyError::BadMessage, "{path}");
            assert!(backend("").uri(path).is_ok(), "{path}");
        }
        assert!(backend("/base").uri("/a/../b?c=/../../d").is_ok());
    }

    /// What a call of ten seconds finds whose answer comes only after the clock went on by so much.
    async fn call_across(standstill: Duration) -> Option<u8> {
        let (answer, receiver) = tokio::sync::oneshot::channel();
        let call = tokio::spawn(within(Duration::from_secs(10), async { receiver.await.unwrap() }));
        tokio::task::yield_now().await;
        // The timer fires before anybody could read what had come meanwhile.
        tokio::time::advance(standstill).await;
        tokio::task::yield_now().await;
        // Err: nobody waits for it any more.
        let _ = answer.send(7);
        call.await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_is_late_is_no_verdict() {
        assert_eq!(call_across(Duration::from_secs(17)).await, Some(7));
        assert_eq!(
            call_across(Duration::from_millis(10_100)).await,
            None,
            "in time, so it is one"
        );
    }
}
