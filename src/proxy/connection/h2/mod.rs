//! HTTP/2 (RFC 9113): one connection, and the requests on it.
//!
//! Everything of a connection runs in one task: when it ends, its requests end with it, and a request that its client resets ends by
//! itself. The parser's own checks hold: a body has the length that it announces, names are in lower case, nothing concerns a
//! connection.
//!
//! - [`lingering`]: its end.
//! - [`request`]: a request as the app takes it.
//! - [`response`]: the app's answer, frame by frame.

pub mod lingering;
pub mod request;
pub mod response;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use actix_http::Request;
use actix_http::body::MessageBody;
use actix_service::Service;
use actix_web::Error;
use actix_web::dev::ServiceResponse;
use actix_web::http::{ConnectionType, Method, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};

use crate::proxy::connection::h2::request::to_app;
use crate::proxy::connection::h2::response::{send, send_status};
use crate::proxy::connection::peer::Peer;
use crate::proxy::connection::places::Place;
use crate::proxy::connection::stream::{HEAD_TIMEOUT, LINGER};

/// Requests under way on one connection; one more is reset. nginx has as many.
const MAX_STREAMS: u32 = 128;
/// Bytes of a head, 32 more for each field (RFC 9113 6.5.2); beyond it 431. As much as the parser of HTTP/1 takes.
const MAX_HEADER_LIST: u32 = 128 << 10;
/// Bytes of bodies that a client may send before they are read: for each request, and for all of a connection.
const STREAM_WINDOW: u32 = 256 << 10;
pub const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of one answer that wait in the connection for the socket.
const SEND_BUFFER: usize = 64 << 10;
/// So many more requests than are answered may be reset on one connection. Each has cost work, and nothing bounds how many a client
/// begins and resets at once (CVE-2023-44487).
const MAX_RESETS: u64 = 100;
/// Faults of a client that reset a single request; beyond it the connection ends (CVE-2025-8671).
const MAX_FAULTS: usize = 100;

/// Serves one connection to its end. It has no requests for `keep_alive`, or another takes its place: it is closed. `stopping` comes when
/// the server stops.
pub async fn serve<S, B>(
    io: impl AsyncRead + AsyncWrite + Unpin,
    app: &S,
    peer: Rc<Peer>,
    (address, place): (Option<SocketAddr>, &Place),
    keep_alive: Duration,
    stopping: impl Future<Output = ()>,
) where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + Unpin,
{
    let handshake = builder().handshake(io);
    let handshake = tokio::select! {
        handshake = timeout(HEAD_TIMEOUT, handshake) => handshake,
        () = place.lost() => return,
    };
    let Ok(Ok(mut connection)) = handshake else {
        return;
    };
    let mut streams = FuturesUnordered::new();
    let mut idle = pin!(sleep(keep_alive));
    let mut stopping = pin!(stopping);
    // The client was told to send no more requests here.
    let mut is_last = false;
    let (mut answered, mut reset) = (0_u64, 0_u64);
    loop {
        let mut goes_away = false;
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    place.busy();
                    streams.push(exchange(app, request, respond, peer.clone(), address));
                }
                // Nobody waits for the requests under way.
                Some(Err(_)) | None => return,
            },
            Some(end) = streams.next() => {
                match end {
                    End::Answered => answered += 1,
                    End::AnsweredLast => {
                        answered += 1;
                        goes_away = true;
                    }
                    End::Reset => reset += 1,
                }
                idle.as_mut().reset(Instant::now() + if is_last { LINGER } else { keep_alive });
                if reset > answered + MAX_RESETS {
                    // accept() ends once the client is told.
                    streams.clear();
                    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                }
            }
            () = &mut idle, if streams.is_empty() => {
                if is_last {
                    return;
                }
                goes_away = true;
            }
            () = place.lost(), if streams.is_empty() && !is_last => {
                // accept() ends once the client is told. A request that it has sent is not begun, and may be sent elsewhere.
                connection.abrupt_shutdown(Reason::NO_ERROR);
                is_last = true;
                idle.as_mut().reset(Instant::now() + LINGER);
            }
            () = &mut stopping, if !is_last => goes_away = true,
        }
        if goes_away && !is_last {
            is_last = true;
            connection.graceful_shutdown();
            idle.as_mut().reset(Instant::now() + LINGER);
        }
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_local_error_reset_streams(Some(MAX_FAULTS));
    builder
}

/// How a request ended.
enum End {
    Answered,
    /// Its answer says that the connection closes.
    AnsweredLast,
    /// By its client.
    Reset,
}

async fn exchange<S, B>(
    app: &S,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    peer: Rc<Peer>,
    address: Option<SocketAddr>,
) -> End
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + Unpin,
{
    let is_head = request.method() == Method::HEAD;
    let request = match to_app(request, peer, address) {
        Ok(request) => request,
        Err(status) => {
            send_status(respond, status);
            return End::Answered;
        }
    };
    let answer = tokio::select! {
        biased;
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return End::Reset,
        answer = app.call(request) => answer,
    };
    let Ok(answer) = answer else {
        send_status(respond, StatusCode::INTERNAL_SERVER_ERROR);
        return End::Answered;
    };
    let (_, answer) = answer.into_parts();
    let closes = answer.head().connection_type() == ConnectionType::Close;
    // In HTTP/1 what follows a malformed request may be part of it. Here it is not.
    let is_last = closes && answer.status() != StatusCode::BAD_REQUEST;
    match send(answer, respond, is_head).await {
        Ok(()) if is_last => End::AnsweredLast,
        Ok(()) => End::Answered,
        Err(_) => End::Reset,
    }
}
