//! The app's answer to a request of HTTP/2.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::SystemTime;

use actix_http::body::{BodySize, MessageBody};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use tokio::time::timeout;

use crate::proxy::connection::stream::WRITE_TIMEOUT;

/// Bytes that are handed over at once: the largest frame that every client takes.
const CHUNK: usize = 16 << 10;

/// Answers with a status alone. Of no use to a client that is gone.
pub fn send_status(mut respond: SendResponse<Bytes>, status: StatusCode) {
    let mut head = http::Response::new(());
    *head.status_mut() = status;
    let _ = respond.send_response(head, true);
}

/// Sends an answer whole.
///
/// # Errors
/// The client has reset the request, is gone, or has read nothing for too long.
pub async fn send<B>(answer: HttpResponse<B>, mut respond: SendResponse<Bytes>, is_head: bool) -> Result<(), h2::Error>
where
    B: MessageBody + Unpin,
{
    let (answer, mut body) = answer.into_parts();
    let size = body.size();
    let head = head(&answer, size);
    let has_content = !is_head && !matches!(size, BodySize::None | BodySize::Sized(0));
    let mut stream = respond.send_response(head, !has_content)?;
    if !has_content {
        return Ok(());
    }
    let mut left = match size {
        BodySize::Sized(size) => Some(size),
        _ => None,
    };
    loop {
        // A body may be quiet for long, and its client gone meanwhile.
        let next = poll_fn(|cx| match stream.poll_reset(cx) {
            Poll::Ready(reset) => Poll::Ready(Err(reset)),
            Poll::Pending => Pin::new(&mut body).poll_next(cx).map(Ok),
        });
        let chunk = match next.await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(reset) => return Err(reset?.into()),
        };
        let Ok(mut chunk) = chunk else {
            stream.send_reset(Reason::INTERNAL_ERROR);
            return Ok(());
        };
        while !chunk.is_empty() {
            let capacity = capacity(&mut stream, chunk.len()).await?;
            let piece = chunk.split_to(capacity.min(chunk.len()));
            left = left.map(|left| left.saturating_sub(piece.len() as u64));
            stream.send_data(piece, left == Some(0))?;
        }
        if left == Some(0) {
            return Ok(());
        }
    }
    stream.send_data(Bytes::new(), true)
}

/// Waits until the client takes more of its answer.
async fn capacity(stream: &mut SendStream<Bytes>, wanted: usize) -> Result<usize, h2::Error> {
    stream.reserve_capacity(wanted.min(CHUNK));
    match timeout(WRITE_TIMEOUT, poll_fn(|cx| stream.poll_capacity(cx))).await {
        Ok(Some(capacity)) => capacity,
        Ok(None) => Err(Reason::CANCEL.into()),
        Err(_elapsed) => {
            stream.send_reset(Reason::CANCEL);
            Err(Reason::CANCEL.into())
        }
    }
}

/// Status and fields; none that concerns a connection (RFC 9113 8.2.2).
fn head(answer: &HttpResponse<()>, size: BodySize) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = answer.status();
    let fields = head.headers_mut();
    for (name, value) in answer.headers() {
        let is_hop = [CONNECTION, TRANSFER_ENCODING, UPGRADE].contains(name)
            || matches!(name.as_str(), "keep-alive" | "proxy-connection");
        // The length of what follows is known better; where nothing follows, it is that of the answer to GET.
        let is_length = *name == CONTENT_LENGTH && size != BodySize::None;
        if !is_hop && !is_length {
            fields.append(name, value.clone());
        }
    }
    if let BodySize::Sized(size) = size {
        fields.insert(CONTENT_LENGTH, size.into());
    }
    if !fields.contains_key(DATE)
        && let Ok(now) = HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now()))
    {
        fields.insert(DATE, now);
    }
    head
}
