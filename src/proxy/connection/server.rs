//! The HTTP server of the proxy's port: the parts of `actix_web::HttpServer`, with a [`Connection`] as the stream.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::{HttpService, KeepAlive, Request};
use actix_service::{
    IntoServiceFactory, Service as _, ServiceFactory, apply_fn_factory, fn_factory, fn_service, map_config,
};
use actix_web::Error;
use actix_web::dev::{AppConfig, Server, ServiceResponse};
use tokio::net::TcpStream;

use crate::proxy::connection::door::{self, SecureDoor};
use crate::proxy::connection::pipeline::{AnswerBody, Pipeline};
use crate::proxy::connection::places::ConnectionLimits;
use crate::proxy::connection::stream::{Connection, HEAD_TIMEOUT, LINGER};
use crate::proxy::connection::tls::Tls;

/// How connections are taken and kept.
#[derive(Clone)]
pub struct Keeping {
    pub limits: ConnectionLimits,
    /// How long one is kept without a request.
    pub keep_alive: Duration,
}

/// Serves the app that `make` makes, once for each of the server's threads and version of HTTP. When it stops, requests under way have `limit` seconds to finish.
///
/// # Errors
/// The socket cannot be used.
pub fn serve<A, S, B>(
    listener: TcpListener,
    limit: u64,
    tls: Option<Arc<Tls>>,
    keeping: Keeping,
    make: impl Fn() -> A + Clone + Send + 'static,
) -> io::Result<Server>
where
    A: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::InitError: std::fmt::Debug,
    B: MessageBody + Unpin + 'static,
{
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let builder = Server::build()
        // Signals are ours: actix-web's end the System before the actors have drained.
        .disable_signals()
        .workers(threads)
        .max_concurrent_connections(keeping.limits.of_each(threads))
        .shutdown_timeout(limit);
    // Tells connections that the server stops, so that idle ones close.
    let stopping = builder.graceful_shutdown_signal();
    let service = move || {
        let (stopping, keeping) = (stopping.clone(), keeping.clone());
        let app = apply_fn_factory(make().into_factory(), |request: Request, app: &S::Service| {
            let due = request.conn_data().map(Pipeline::answer_due);
            let answer = app.call(request);
            async move { Ok::<_, Error>(answer.await?.map_body(|_, body| AnswerBody::new(body, due))) }
        });
        let told = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let told = told.clone();
                async move { told.notified().await }
            })
            .keep_alive(KeepAlive::Timeout(keeping.keep_alive))
            .client_request_timeout(HEAD_TIMEOUT)
            .client_disconnect_timeout(LINGER)
            // A client that closes is gone: its handler is dropped, and its place given back.
            .h1_allow_half_closed(false)
            .on_connect_ext(|connection: &Connection, data| {
                drop(data.insert(connection.pipeline()));
                drop(connection.peer().and_then(|peer| data.insert(peer)));
            })
            .finish(map_config(app, |()| AppConfig::default()));
        let secure = tls.clone().map(|tls| (tls, make().into_factory()));
        fn_factory(move || {
            let (http, stopping, places) = (http.new_service(()), stopping.clone(), keeping.limits.of_thread());
            let keep_alive = keeping.keep_alive;
            let secure = secure
                .as_ref()
                .map(|(tls, app)| (tls.clone(), app.new_service(AppConfig::default())));
            async move {
                let http = Rc::new(http.await?);
                let secure = match secure {
                    Some((tls, app)) => Some(Rc::new(SecureDoor {
                        tls,
                        app: app
                            .await
                            .map_err(|error| tracing::error!(?error, "the app cannot be made"))?,
                        keep_alive,
                    })),
                    None => None,
                };
                Ok::<_, ()>(fn_service(move |io: TcpStream| {
                    let (http, secure, stopping) = (http.clone(), secure.clone(), stopping.clone());
                    // Each piece of a streamed answer leaves at once. Err: the client has left already.
                    let _ = io.set_nodelay(true);
                    let place = places.take(io.peer_addr().ok().map(|peer| peer.ip()));
                    async move {
                        // None: there are too many, and it closes here.
                        let Some(place) = place else { return Ok(()) };
                        door::serve((io, place), http, secure, async { stopping.notified().await }).await
                    }
                }))
            }
        })
    };
    Ok(builder.listen("proxy", listener, service)?.run())
}
