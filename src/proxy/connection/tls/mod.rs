//! The TLS handshake of the proxy's port.
//!
//! - [`reload`]: certificates that change while the process runs.
//! - [`result`]: how a handshake can end.

pub mod reload;
pub mod result;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use crate::error::{PROBLEM_JSON, RequestError};
use crate::proxy::connection::stream;
use crate::proxy::connection::tls::result::HandshakeResult;
use crate::proxy::metrics::TlsMetrics;

/// A handshake must be complete after this time, the wait for its first byte included.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Begins every handshake (RFC 8446 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// TLS of the proxy's port.
pub struct Tls {
    /// Read by each handshake, written when the files have changed.
    config: ArcSwap<ServerConfig>,
    pub metrics: TlsMetrics,
}

impl Tls {
    /// Serves with this, until `replace`.
    pub fn new(config: ServerConfig, metrics: TlsMetrics) -> Self {
        Tls {
            config: ArcSwap::from_pointee(config),
            metrics,
        }
    }

    /// From now on handshakes are made with this.
    pub fn replace(&self, config: ServerConfig) {
        self.config.store(Arc::new(config));
    }

    /// Makes the handshake. `None`: it failed, and the connection is closed.
    pub async fn accept(&self, io: TcpStream) -> Option<TlsStream<TcpStream>> {
        let peer = io.peer_addr().ok();
        // Err: a setting for speed alone.
        let _ = io.set_nodelay(true);
        let ended = timeout(HANDSHAKE_TIMEOUT, self.handshake(io)).await;
        let (result, ended) = match ended {
            Err(_) => (HandshakeResult::Timeout, Err(None)),
            Ok(Ok(stream)) => (HandshakeResult::Ok, Ok(stream)),
            Ok(Err((result, io))) => (result, Err(io)),
        };
        self.metrics.handshake(result.as_str());
        match ended {
            Ok(stream) => Some(stream),
            Err(io) => {
                tracing::debug!(?peer, result = result.as_str(), "no TLS with a client");
                if let Some(io) = io {
                    // In TLS 1.3 a client may have sent its request already. Closing with bytes unread would reset the connection, and the
                    // client would lose the alert that says why.
                    let _ = stream::close(io).await;
                }
                None
            }
        }
    }

    /// Why there is none comes with the connection, where something was written to it that the client is to read.
    async fn handshake(&self, mut io: TcpStream) -> Result<TlsStream<TcpStream>, (HandshakeResult, Option<TcpStream>)> {
        let mut first = [0];
        match io.peek(&mut first).await {
            Ok(1..) => {}
            _ => return Err((HandshakeResult::Closed, None)),
        }
        if first[0] != HANDSHAKE_RECORD && first[0].is_ascii_uppercase() {
            answer_plain_http(&mut io).await;
            return Err((HandshakeResult::PlainHttp, Some(io)));
        }
        let acceptor = TlsAcceptor::from(self.config.load_full());
        match acceptor.accept(io).into_fallible().await {
            Ok(stream) => Ok(stream),
            Err((error, io)) => Err((HandshakeResult::of_error(&error), Some(io))),
        }
    }
}

/// Tells a client that speaks plain HTTP what is wrong.
async fn answer_plain_http(io: &mut TcpStream) {
    let problem = RequestError::TlsRequired.problem(None);
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: {PROBLEM_JSON}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        problem.len()
    );
    let answer = [head.into_bytes(), problem].concat();
    // Err: the client is gone.
    let _ = io.write_all(&answer).await;
}
