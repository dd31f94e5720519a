//! Calls one topic's backend over HTTP. The only place that knows the HTTP client; its errors end here.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderValue};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::process::causes::causes;
use crate::processor::backend::open_body::{ReadError, WholeAnswers};
use crate::processor::backend::outcome::{Answer, BackendError};
use crate::processor::backend::outgoing::{Outgoing, Target};
use crate::processor::backend::standstill::within;
use crate::processor::backend::tls::Connector;
use crate::processor::bodies::stream::StreamedBody;
use crate::settings::{BackendUrl, HostHeader};
use crate::wire::trace_parent::TraceParent;
use crate::wire::{self, Request, headers};

/// Shorter than the keep-alive of common servers (nginx 75 s, Node 5 s): a connection that the backend closes just as it is used costs a
/// GET a retry, and a POST its answer.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// The most header fields of one answer: nearly as many as a record may have headers.
const MAX_HEADERS: usize = 900;

/// One backend as one worker sees it: address and connections, which live on the Arbiter that calls it.
pub struct Backend {
    client: Client<Connector, Outgoing>,
    target: Target,
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
        Ok(Backend {
            client,
            target: Target::new(url, host)?,
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
        let outgoing = self.target.request(request, request_body, span)?;
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
