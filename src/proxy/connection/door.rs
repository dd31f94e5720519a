//! What becomes of a new connection: TLS if it is configured, and the version of HTTP that both sides speak.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::{Protocol, Request};
use actix_service::Service;
use actix_web::Error;
use actix_web::dev::ServiceResponse;
use tokio::net::TcpStream;

use crate::process::tls::H2;
use crate::proxy::connection::h2::{self, lingering::Lingering};
use crate::proxy::connection::io::Io;
use crate::proxy::connection::peer::Peer;
use crate::proxy::connection::places::Place;
use crate::proxy::connection::stream::Connection;
use crate::proxy::connection::tls::Tls;

/// What actix-http is given of a connection.
type Http1 = (Connection, Protocol, Option<SocketAddr>);

/// TLS, and the app behind it for HTTP/2.
pub struct SecureDoor<S> {
    pub tls: Arc<Tls>,
    pub app: S,
    pub keep_alive: Duration,
}

/// Serves one connection to its end.
///
/// # Errors
/// The server of HTTP/1 gives it up.
pub async fn serve<H, S, B>(
    (io, place): (TcpStream, Place),
    http1: Rc<H>,
    secure: Option<Rc<SecureDoor<S>>>,
    stopping: impl Future<Output = ()>,
) -> Result<(), H::Error>
where
    H: Service<Http1, Response = ()>,
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + Unpin,
{
    let (address, place) = (io.peer_addr().ok(), Rc::new(place));
    match secure {
        None => {
            let connection = Connection::new(Io::Plain(io)).with_place(place);
            http1.call((connection, Protocol::Http1, address)).await
        }
        // Boxed: a plain connection would keep as much memory as a handshake takes.
        Some(door) => Box::pin(serve_secure(io, address, place, http1, door, stopping)).await,
    }
}

/// The same over TLS, which decides between HTTP/1 and HTTP/2.
async fn serve_secure<H, S, B>(
    io: TcpStream,
    address: Option<SocketAddr>,
    place: Rc<Place>,
    http1: Rc<H>,
    door: Rc<SecureDoor<S>>,
    stopping: impl Future<Output = ()>,
) -> Result<(), H::Error>
where
    H: Service<Http1, Response = ()>,
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + Unpin,
{
    let stream = tokio::select! {
        stream = Box::pin(door.tls.accept(io)) => stream,
        () = place.lost() => None,
    };
    let Some(stream) = stream else {
        return Ok(());
    };
    let session = stream.get_ref().1;
    let is_h2 = session.alpn_protocol() == Some(H2);
    let peer = Rc::new(Peer::of_session(session));
    let _open = door.tls.metrics.connection(is_h2);
    let io = Io::Tls(Box::new(stream));
    if is_h2 {
        let io = Lingering::new(io, place.clone());
        Box::pin(h2::serve(
            io,
            &door.app,
            peer,
            (address, &place),
            door.keep_alive,
            stopping,
        ))
        .await;
        return Ok(());
    }
    let connection = Connection::secure(io, peer).with_place(place);
    http1.call((connection, Protocol::Http1, address)).await
}
