//! `POST /api/try`: a request through the real way: the port of this process's own proxy, Kafka, the backend, and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, BodyStream, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};

use crate::console::Console;
use crate::console::answer::{Problem, read_json};
use crate::management::access::peer;
use crate::management::board::Board;
use crate::management::guard;
use crate::process::https::{self, Tls};
use crate::settings::{Proxy, Settings};
use crate::wire::headers::X_REQUEST_ID;

/// Bytes of an answer that are shown.
const SHOWN: usize = 64 << 10;
/// An answer is waited for this much longer than the proxy itself waits for it.
const LONGER: Duration = Duration::from_secs(5);

/// What is to be sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    method: String,
    /// Path and query, from its slash on.
    path: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
}

/// What came back.
#[derive(Debug, Serialize)]
struct Answered {
    /// Names the request in `GET /api/requests/{id}`.
    id: String,
    status: u16,
    headers: Vec<(String, String)>,
    /// Its beginning, as text.
    body: String,
    /// The rest was left out.
    cut: bool,
    ms: f64,
}

/// Sends the request, and answers with what came back.
pub async fn send(
    request: HttpRequest,
    payload: web::Payload,
    board: web::Data<Board>,
    console: web::Data<Console>,
) -> HttpResponse {
    let asked: Asked = match read_json(&request, payload, &board.access).await {
        Ok(asked) => asked,
        Err(refused) => return refused,
    };
    if board.proxy.is_none() {
        return Problem::none("this process is no proxy: try a request at one that is").response();
    }
    let user_agent = guard::user_agent(&request);
    tracing::info!(event = "try", method = asked.method, from = %peer(&request), user_agent, "request tried by an operator");
    let limit = console.settings().proxy.default_timeout.saturating_add(LONGER);
    match tokio::time::timeout(limit, exchange(&console.settings(), asked)).await {
        Ok(Ok(answered)) => HttpResponse::Ok().json(answered),
        Ok(Err(problem)) => problem.response(),
        Err(_) => Problem::failed(format!("no answer within {} s", limit.as_secs())).response(),
    }
}

async fn exchange(settings: &Settings, asked: Asked) -> Result<Answered, Problem> {
    let id = asked
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(X_REQUEST_ID));
    let (is_named, id) = match id {
        Some((_, id)) => (true, id.clone()),
        None => (false, format!("try-{:016x}", rand::random::<u64>())),
    };
    let scheme = if settings.proxy.tls.is_some() { "https" } else { "http" };
    let url = url(scheme, own_address(&settings.proxy), &asked.path)?;
    let mut sent = Request::builder().method(&*asked.method).uri(url);
    for (name, value) in &asked.headers {
        sent = sent.header(name, value);
    }
    if !is_named {
        // By it the request is found again among those that are remembered.
        sent = sent.header(X_REQUEST_ID, &id);
    }
    let sent = sent.body(Full::new(Bytes::from(asked.body)));
    let sent = sent.map_err(|error| Problem::bad(error.to_string()))?;
    // It is this process that answers: its certificate has the name that clients use, which is not this address.
    let tls = Tls {
        verify: false,
        ..Tls::default()
    };
    let connector = tokio::task::spawn_blocking(move || https::connector(&tls)).await;
    let connector = connector
        .map_err(|error| Problem::failed(error.to_string()))?
        .map_err(Problem::failed)?;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let began = Instant::now();
    let answer = client
        .request(sent)
        .await
        .map_err(|error| Problem::failed(error.to_string()))?;
    let status = answer.status().as_u16();
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), text(value.as_bytes())));
    let headers = headers.collect();
    let (body, cut) = beginning(answer.into_body()).await?;
    Ok(Answered {
        id,
        status,
        headers,
        body: text(&body),
        cut,
        ms: (began.elapsed().as_secs_f64() * 1e6).round() / 1e3,
    })
}

/// As much of a body as is shown, and whether there is more.
async fn beginning(body: hyper::body::Incoming) -> Result<(Vec<u8>, bool), Problem> {
    let mut read = Vec::new();
    let mut frames = BodyStream::new(body.map_err(|error| Problem::failed(error.to_string())));
    while let Some(frame) = frames.next().await {
        read.extend_from_slice(&frame?.into_data().unwrap_or_default());
        if read.len() > SHOWN {
            read.truncate(SHOWN);
            return Ok((read, true));
        }
    }
    Ok((read, false))
}

/// The target at this address. A path without its slash could end the address, and name another host.
fn url(scheme: &str, address: SocketAddr, path: &str) -> Result<String, Problem> {
    match path.starts_with('/') {
        true => Ok(format!("{scheme}://{address}{path}")),
        false => Err(Problem::bad("path begins with /")),
    }
}

/// Where this process itself reaches its proxy's port.
fn own_address(proxy: &Proxy) -> SocketAddr {
    let bind = match proxy.bind {
        IpAddr::V4(bind) if bind.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(bind) if bind.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        bind => bind,
    };
    SocketAddr::new(bind, proxy.port)
}

#[cfg(test)]
mod tests {
    use hyper::Uri;

    use super::*;

    #[test]
    fn only_the_proxy_of_this_process_is_asked() {
        let own: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        for path in ["/", "/a?b=@c", "//elsewhere:1/a", "/@elsewhere:1/a", "/:1/a"] {
            let uri: Uri = url("http", own, path).unwrap().parse().unwrap();
            assert_eq!(uri.authority().unwrap().as_str(), "127.0.0.1:8080", "{path}");
        }
        for path in [
            "",
            "a",
            "@elsewhere:1/a",
            ":pass@elsewhere/a",
            ".elsewhere/a",
            "1/a",
            "?a",
            "*",
        ] {
            assert!(url("http", own, path).is_err(), "{path}");
        }
    }
}
