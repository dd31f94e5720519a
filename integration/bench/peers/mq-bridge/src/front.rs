//! A small HTTP front made by hand, on hyper: mq-bridge has the side of Kafka alone.

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use mq_bridge::CanonicalMessage;
use mq_bridge::anyhow::Result;
use tokio::net::TcpListener;

use crate::exchange::Exchange;

/// The names by which mq-bridge's HTTP output knows the parts of a request, and tells those of an answer.
const METHOD: &str = "http_method";
const PATH: &str = "http_path";
const QUERY: &str = "http_query";
const STATUS: &str = "http_status_code";
/// Fields that this side of the connection sets itself.
const OWN_FIELDS: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, exchange: Arc<Exchange>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let exchange = exchange.clone();
        let service = service_fn(move |request| answer(request, exchange.clone()));
        // Err: the client has left.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(request: Request<Incoming>, exchange: Arc<Exchange>) -> Result<Response<Full<Bytes>>> {
    match exchange.call(message(request).await?).await {
        Ok(reply) => response(reply),
        Err(_) => Ok(Response::builder()
            .status(StatusCode::GATEWAY_TIMEOUT)
            .body(Full::default())?),
    }
}

/// A request with its method, its target and its fields, as mq-bridge's own endpoint makes it.
async fn message(request: Request<Incoming>) -> Result<CanonicalMessage> {
    let (head, body) = request.into_parts();
    let mut message = CanonicalMessage::new_bytes(body.collect().await?.to_bytes(), None);
    let metadata = &mut message.metadata;
    metadata.insert(METHOD.to_owned(), head.method.to_string());
    metadata.insert(PATH.to_owned(), head.uri.path().to_owned());
    if let Some(query) = head.uri.query() {
        metadata.insert(QUERY.to_owned(), query.to_owned());
    }
    for (name, value) in &head.headers {
        if let Ok(value) = value.to_str() {
            metadata.insert(name.to_string(), value.to_owned());
        }
    }
    Ok(message)
}

fn response(reply: CanonicalMessage) -> Result<Response<Full<Bytes>>> {
    let status = reply.metadata.get(STATUS).and_then(|status| status.parse().ok());
    let mut response = Response::builder().status(status.unwrap_or(StatusCode::OK.as_u16()));
    for (name, value) in reply.metadata.iter().filter(|(name, _)| !is_own(name)) {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(reply.payload))?)
}

fn is_own(name: &str) -> bool {
    name.starts_with("http_") || name.starts_with("mq_bridge.") || OWN_FIELDS.contains(&name)
}
