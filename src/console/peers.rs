//! The other instances, as `management_peers` names them: one page shows all of them, each marked.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use actix_web::http::header as fields;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::console::Console;

/// A name may have many addresses: so many instances are asked.
const MOST: usize = 64;
/// An instance that has not answered by then is shown without its state.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of an instance's answer.
const ANSWER: usize = 1 << 20;

/// `GET /api/peers`: how each instance is.
pub async fn now(request: HttpRequest, console: web::Data<Console>) -> HttpResponse {
    let peers = Peers::of(&console, &request).await;
    let asked = peers.addresses.iter().map(async |address| {
        let (process, now) = tokio::join!(peers.ask(*address, "/api/process"), peers.ask(*address, "/api/now"));
        match (process, now) {
            (Ok(process), Ok(now)) => json!({"address": address.to_string(), "process": process, "now": now}),
            (Err(error), _) | (_, Err(error)) => json!({"address": address.to_string(), "error": error}),
        }
    });
    HttpResponse::Ok().json(json!({"peers": join_all(asked).await, "unknown": peers.unknown}))
}

/// `GET /api/peers/requests/{id}`: what each instance knows of a request.
pub async fn request(request: HttpRequest, id: web::Path<String>, console: web::Data<Console>) -> HttpResponse {
    let peers = Peers::of(&console, &request).await;
    let path = format!("/api/requests/{}", utf8_percent_encode(&id, NON_ALPHANUMERIC));
    let asked = peers
        .addresses
        .iter()
        .map(async |address| match peers.ask(*address, &path).await {
            Ok(found) => json!({"address": address.to_string(), "requests": found["requests"]}),
            Err(error) => json!({"address": address.to_string(), "error": error}),
        });
    HttpResponse::Ok().json(json!({"peers": join_all(asked).await}))
}

/// The instances, and how they are asked.
struct Peers {
    addresses: Vec<SocketAddr>,
    /// Names that have no address.
    unknown: Vec<String>,
    client: Client<HttpConnector, Empty<Bytes>>,
    /// What the reader presented: the instances of a service share their token.
    authorization: Option<Vec<u8>>,
}

impl Peers {
    async fn of(console: &Console, request: &HttpRequest) -> Self {
        let names = console.settings().management.peers.clone();
        // The system's resolver blocks.
        let resolved = tokio::task::spawn_blocking(move || resolve(&names)).await;
        let (addresses, unknown) = resolved.unwrap_or_default();
        let authorization = request.headers().get(fields::AUTHORIZATION);
        Peers {
            addresses,
            unknown,
            client: Client::builder(TokioExecutor::new()).build_http(),
            authorization: authorization.map(|value| value.as_bytes().to_vec()),
        }
    }

    async fn ask(&self, address: SocketAddr, path: &str) -> Result<Value, String> {
        let mut asked = Request::get(format!("http://{address}{path}"));
        if let Some(authorization) = &self.authorization {
            asked = asked.header(header::AUTHORIZATION, &**authorization);
        }
        let asked = asked.body(Empty::new()).map_err(|error| error.to_string())?;
        let answer = async {
            let answer = self
                .client
                .request(asked)
                .await
                .map_err(|_| "is not reached".to_owned())?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            match status.is_success() {
                true => serde_json::from_slice(&body).map_err(|error| error.to_string()),
                false => Err(format!("answers {status}")),
            }
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer.unwrap_or_else(|_| Err(format!("does not answer within {} s", PATIENCE.as_secs())))
    }
}

/// Every address of every name, each once, in order.
fn resolve(names: &[String]) -> (Vec<SocketAddr>, Vec<String>) {
    let (mut addresses, mut unknown) = (Vec::new(), Vec::new());
    for name in names {
        match name.to_socket_addrs() {
            Ok(found) => addresses.extend(found),
            Err(_) => unknown.push(name.clone()),
        }
    }
    addresses.sort();
    addresses.dedup();
    addresses.truncate(MOST);
    (addresses, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_asked_once_and_a_name_without_one_is_told() {
        let names = ["127.0.0.2:81", "127.0.0.1:81", "127.0.0.2:81", "nowhere.invalid:81"];
        let (addresses, unknown) = resolve(&names.map(str::to_owned));
        let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        assert_eq!(addresses, ["127.0.0.1:81", "127.0.0.2:81"]);
        assert_eq!(unknown, ["nowhere.invalid:81"]);
    }
}
