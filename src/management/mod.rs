//! The management API: health, metrics, status, and a topic's pause and resume.
//!
//! - [`access`]: who may use it.
//! - [`guard`]: what a request must have to read or to change something.
//! - [`routes`]: paths, each with the methods it takes.
//! - [`wrong_tokens`]: how long a guess of the token takes.
//! - [`board`]: the parts of the process that it reads.
//! - [`configuration`]: which configuration runs.
//! - [`log_level`]: changes what is logged.
//! - [`open_metrics`]: metrics with exemplars.
//! - [`status`]: the document of `/status`.

pub mod access;
pub mod board;
pub mod configuration;
pub mod guard;
mod log_level;
mod open_metrics;
pub mod routes;
pub mod status;
mod wrong_tokens;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use prometheus::TextEncoder;
use serde_json::json;

use crate::management::access::peer;
use crate::management::board::Board;
use crate::management::guard::user_agent;
use crate::management::routes::{Routes, bodiless, read};

/// Paths that can be read, by GET and HEAD.
const HEALTH: &str = "/health";
pub const LIVE: &str = "/health/live";
pub const READY: &str = "/health/ready";
const METRICS: &str = "/metrics";
const STATUS: &str = "/status";
const PAUSE: &str = "/topics/{name}/pause";
const RESUME: &str = "/topics/{name}/resume";
const LOG_LEVEL: &str = "/log/level";

/// Health and metrics: on a proxy without a management port they stay on its own port, as in kafka-http-proxy. Metrics are for trusted
/// proxies alone there. Other methods than GET and HEAD fall through to what follows.
pub fn on_proxy_port(service: &mut web::ServiceConfig) {
    service
        .route(HEALTH, bodiless(read().to(ready)))
        .route(LIVE, bodiless(read().to(live)))
        .route(READY, bodiless(read().to(ready)))
        .route(METRICS, bodiless(read().to(metrics_for_trusted)));
}

/// Everything, on the management port.
pub fn all(routes: &mut Routes<'_>) {
    routes.read(HEALTH, ready);
    routes.read(LIVE, live);
    routes.read(READY, ready);
    routes.guarded(METRICS, metrics);
    routes.guarded(STATUS, show_status);
    routes.order(PAUSE, async |request, name, board| {
        set_paused(request, name, board, true).await
    });
    routes.order(RESUME, async |request, name, board| {
        set_paused(request, name, board, false).await
    });
    routes.put(LOG_LEVEL, log_level::set);
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
    metrics_page(&request, &board)
}

/// Metrics on the port that clients reach: whoever comes from elsewhere, even through a trusted proxy, gets none.
async fn metrics_for_trusted(request: HttpRequest, board: web::Data<Board>) -> HttpResponse {
    if !board
        .proxy
        .as_ref()
        .is_some_and(|proxy| proxy.rules.load().trusted.is_own(&request))
    {
        let error = "metrics are for trusted_proxies here; for others there is management_port";
        return HttpResponse::Forbidden().json(json!({ "error": error }));
    }
    match board.access.admit_by_any_name(&request).await {
        Ok(()) => metrics_page(&request, &board),
        Err(refusal) => refusal.response(),
    }
}

fn metrics_page(request: &HttpRequest, board: &Board) -> HttpResponse {
    board.refresh();
    let families = board.registry.gather();
    let (content_type, page) = match open_metrics::is_wanted(request) {
        true => {
            let page = open_metrics::page(&families, &board.exemplars());
            (open_metrics::CONTENT_TYPE, page.map_err(|error| error.to_string()))
        }
        false => {
            let page = TextEncoder::new().encode_to_string(&families);
            (prometheus::TEXT_FORMAT, page.map_err(|error| error.to_string()))
        }
    };
    match page {
        Ok(text) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, content_type))
            .body(text),
        Err(error) => HttpResponse::InternalServerError().body(error),
    }
}

async fn show_status(board: web::Data<Board>) -> HttpResponse {
    HttpResponse::Ok().json(status::status(&board).await)
}

async fn set_paused(
    request: HttpRequest,
    name: web::Path<String>,
    board: web::Data<Board>,
    paused: bool,
) -> HttpResponse {
    if let Err(refused) = guard::change(&request, &board.access).await {
        return refused;
    }
    let workers = board.workers();
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
