//! The management API: health, metrics, status, and a topic's pause and resume.
//!
//! - [`access`]: who may use it.
//! - [`wrong_tokens`]: how long a guess of the token takes.
//! - [`board`]: the parts of the process that it reads.
//! - [`status`]: the document of `/status`.

pub mod access;
pub mod board;
mod status;
mod wrong_tokens;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpRequest, HttpResponse, Route, guard, web};
use prometheus::{Encoder, TextEncoder};
use serde_json::json;

use crate::management::access::peer;
use crate::management::board::Board;
use crate::proxy::handler::response::with_unread;

/// Paths that can be read, by GET and HEAD.
const HEALTH: &str = "/health";
pub const LIVE: &str = "/health/live";
pub const READY: &str = "/health/ready";
const METRICS: &str = "/metrics";
const STATUS: &str = "/status";
const PAUSE: &str = "/topics/{name}/pause";
const RESUME: &str = "/topics/{name}/resume";

/// Of a change's request, as much of its `User-Agent` goes into the log.
const USER_AGENT_LOGGED: usize = 100;

/// Health and metrics: on a proxy without a management port they stay on its own port, as in kafka-http-proxy. Metrics are for trusted
/// proxies alone there. Other methods than GET and HEAD fall through to what follows.
pub fn on_proxy_port(service: &mut web::ServiceConfig) {
    health(service);
    service.route(METRICS, bodiless(read().to(metrics_for_trusted)));
}

fn health(service: &mut web::ServiceConfig) {
    service
        .route(HEALTH, bodiless(read().to(ready)))
        .route(LIVE, bodiless(read().to(live)))
        .route(READY, bodiless(read().to(ready)));
}

/// Everything, on the management port.
pub fn all(service: &mut web::ServiceConfig) {
    health(service);
    service
        .route(METRICS, bodiless(read().to(metrics)))
        .route(STATUS, bodiless(read().to(show_status)))
        .route(
            PAUSE,
            bodiless(web::post().to(async |request, name, board| set_paused(request, name, board, true).await)),
        )
        .route(
            RESUME,
            bodiless(web::post().to(async |request, name, board| set_paused(request, name, board, false).await)),
        );
    for path in [HEALTH, LIVE, READY, METRICS, STATUS] {
        service.route(path, bodiless(web::to(async || method_not_allowed("GET, HEAD"))));
    }
    for path in [PAUSE, RESUME] {
        service.route(path, bodiless(web::to(async || method_not_allowed("POST"))));
    }
}

/// GET, and HEAD: its answer is GET's without the body, which actix-http leaves out.
fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

fn method_not_allowed(allowed: &'static str) -> HttpResponse {
    HttpResponse::MethodNotAllowed()
        .insert_header((header::ALLOW, allowed))
        .json(json!({"error": format!("this path takes {allowed}")}))
}

/// A route whose handler reads no body. One that comes all the same, and does not end, must not keep its connection.
fn bodiless(route: Route) -> Route {
    route.wrap(from_fn(leave_unread))
}

async fn leave_unread(
    rest: web::Payload,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    let (request, response) = next.call(request).await?.into_parts();
    Ok(ServiceResponse::new(request, with_unread(response, rest)))
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "live"}))
}

async fn ready(board: web::Data<Board>) -> HttpResponse {
    let reasons = board.not_ready();
    match reasons.is_empty() {
        true => HttpResponse::Ok().json(json!({"status": "ready"})),
        false => HttpResponse::ServiceUnavailable().json(json!({"status": "not ready", "reasons": reasons})),
    }
}

async fn metrics(request: HttpRequest, board: web::Data<Board>) -> HttpResponse {
    match board.access.admit(&request).await {
        Ok(()) => metrics_page(&board),
        Err(refusal) => refusal.response(),
    }
}

/// Metrics on the port that clients reach: whoever comes from elsewhere, even through a trusted proxy, gets none.
async fn metrics_for_trusted(request: HttpRequest, board: web::Data<Board>) -> HttpResponse {
    if !board.proxy.as_ref().is_some_and(|proxy| proxy.trusted.is_own(&request)) {
        let error = "metrics are for trusted_proxies here; for others there is management_port";
        return HttpResponse::Forbidden().json(json!({ "error": error }));
    }
    match board.access.admit_by_any_name(&request).await {
        Ok(()) => metrics_page(&board),
        Err(refusal) => refusal.response(),
    }
}

fn metrics_page(board: &Board) -> HttpResponse {
    board.refresh();
    let mut text = Vec::new();
    match TextEncoder::new().encode(&board.registry.gather(), &mut text) {
        Ok(()) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, prometheus::TEXT_FORMAT))
            .body(text),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

async fn show_status(request: HttpRequest, board: web::Data<Board>) -> HttpResponse {
    match board.access.admit(&request).await {
        Ok(()) => HttpResponse::Ok().json(status::status(&board).await),
        Err(refusal) => refusal.response(),
    }
}

async fn set_paused(
    request: HttpRequest,
    name: web::Path<String>,
    board: web::Data<Board>,
    paused: bool,
) -> HttpResponse {
    if !board.access.has_token() {
        let error = "set management_token: without one this API changes nothing";
        return HttpResponse::Forbidden().json(json!({ "error": error }));
    }
    if let Err(refusal) = board.access.admit(&request).await {
        return refusal.response();
    }
    if !is_json(&request) {
        return HttpResponse::UnsupportedMediaType().json(json!({"error": "send Content-Type: application/json"}));
    }
    let workers = board
        .processor
        .as_ref()
        .map(|processor| &processor.workers[..])
        .unwrap_or_default();
    let named: Vec<_> = workers
        .iter()
        .filter(|worker| [&worker.topic.name, &worker.topic.request_topic].contains(&&*name))
        .collect();
    if named.is_empty() {
        return HttpResponse::NotFound().json(json!({"error": "no such topic; GET /status names them"}));
    }
    named.iter().for_each(|worker| worker.set_paused(paused));
    tracing::info!(event = "pause", topic = %name, paused, from = %peer(&request), user_agent = user_agent(&request), "intake changed by an operator");
    HttpResponse::Ok().json(json!({"topic": *name, "paused": paused}))
}

/// A browser sends this type across sites only after asking, so that no foreign page can change anything.
fn is_json(request: &HttpRequest) -> bool {
    let media_type = |value: &[u8]| {
        value
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii()
            .to_vec()
    };
    let mut types = request.headers().get_all(header::CONTENT_TYPE).peekable();
    types.peek().is_some() && types.all(|value| media_type(value.as_bytes()).eq_ignore_ascii_case(b"application/json"))
}

/// What the caller says it is.
fn user_agent(request: &HttpRequest) -> String {
    let value = request.headers().get(header::USER_AGENT);
    let text = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
    text.unwrap_or_default().chars().take(USER_AGENT_LOGGED).collect()
}
