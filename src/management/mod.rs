//! What operators and orchestrators ask the process: health, metrics, status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use actix::Addr;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpRequest, HttpResponse, Route, web};
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::json;

use crate::kafka::cluster::health::KafkaHealth;
use crate::process::phase::Phase;
use crate::processor::assemble::{Processor, WorkerView};
use crate::proxy::handler::Proxy;
use crate::proxy::handler::request::with_unread;
use crate::settings::Secret;
use crate::supervision::health_supervisor::{HealthSupervisor, Survey};

/// What the management API looks at.
pub struct Board {
    pub phase: Phase,
    pub kafka: KafkaHealth,
    pub proxy: Option<Arc<Proxy>>,
    pub processor: Option<Arc<Processor>>,
    pub registry: Registry,
    pub token: Option<Secret>,
    pub supervisor: OnceLock<Addr<HealthSupervisor>>,
}

impl Board {
    /// Why this process should get no traffic; empty = ready.
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.phase.is_draining() {
            reasons.push("draining".to_string());
        }
        if !self.kafka.is_up() {
            reasons.push("Kafka does not answer".to_string());
        }
        if self.proxy.as_ref().is_some_and(|proxy| !proxy.is_positioned()) {
            reasons.push("replies are not positioned yet".to_string());
        }
        if self
            .proxy
            .as_ref()
            .is_some_and(|proxy| proxy.metrics.replies_denied.get() != 0)
        {
            reasons.push("Kafka refuses to let this service read replies".to_string());
        }
        if let Some(processor) = &self.processor {
            let waiting = processor.workers.iter().filter(|worker| !worker.is_assigned());
            reasons.extend(
                waiting.map(|worker| format!("topic {} is not assigned to its consumer yet", worker.topic.name)),
            );
            if processor.dead_letter_trouble.is_set() {
                reasons.push("the dead letter topic cannot be written".to_string());
            }
        }
        reasons
    }

    /// Brings the gauges that are looked up, not counted, up to date.
    fn refresh(&self) {
        let ready = i64::from(self.not_ready().is_empty());
        if let Some(proxy) = &self.proxy {
            proxy.metrics.ready.set(ready);
        }
        if let Some(processor) = &self.processor {
            processor.metrics.ready.set(ready);
            processor
                .metrics
                .active_consumers
                .set(processor.workers.iter().filter(|worker| worker.is_assigned()).count() as i64);
            for (_, workers) in by_topic(&processor.workers) {
                let partitions: usize = workers.iter().map(|worker| worker.partitions()).sum();
                workers[0].metrics.assigned_partitions.set(partitions as i64);
                workers[0].metrics.breaker_state.set(workers[0].breaker_state() as i64);
            }
        }
    }

    fn may_read(&self, request: &HttpRequest) -> bool {
        let Some(token) = &self.token else { return true };
        let given = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        given.is_some_and(|given| openssl_eq(given, token.reveal().as_bytes()))
    }
}

/// Compares in a time that does not tell how much of it was right.
fn openssl_eq(given: &[u8], token: &[u8]) -> bool {
    given.len() == token.len() && openssl::memcmp::eq(given, token)
}

/// Health and metrics: on a proxy without a management port they stay on its own port, as in kafka-http-proxy.
pub fn health_and_metrics(service: &mut web::ServiceConfig) {
    service
        .route("/health", bodiless(web::get().to(ready)))
        .route("/health/live", bodiless(web::get().to(live)))
        .route("/health/ready", bodiless(web::get().to(ready)))
        .route("/metrics", bodiless(web::get().to(metrics)));
}

/// Everything, on the management port.
pub fn all(service: &mut web::ServiceConfig) {
    health_and_metrics(service);
    service
        .route("/status", bodiless(web::get().to(status)))
        .route(
            "/topics/{name}/pause",
            bodiless(web::post().to(async |request, name, board| set_paused(request, name, board, true))),
        )
        .route(
            "/topics/{name}/resume",
            bodiless(web::post().to(async |request, name, board| set_paused(request, name, board, false))),
        );
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
    if !board.may_read(&request) {
        return unauthorized();
    }
    board.refresh();
    let mut text = Vec::new();
    match TextEncoder::new().encode(&board.registry.gather(), &mut text) {
        Ok(()) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, prometheus::TEXT_FORMAT))
            .body(text),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

async fn status(request: HttpRequest, board: web::Data<Board>) -> HttpResponse {
    if !board.may_read(&request) {
        return unauthorized();
    }
    let actors = match board.supervisor.get() {
        Some(supervisor) => supervisor.send(Survey).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let workers = board
        .processor
        .as_ref()
        .map(|processor| &processor.workers[..])
        .unwrap_or_default();
    let topics: BTreeMap<&str, _> = by_topic(workers)
        .into_iter()
        .map(|(name, workers)| (name, topic_status(&workers)))
        .collect();
    let active = workers.iter().filter(|worker| worker.is_assigned()).count();
    HttpResponse::Ok().json(json!({
        "running": !board.phase.is_draining(),
        "ready": board.not_ready().is_empty(),
        "not_ready": board.not_ready(),
        "kafka": if board.kafka.is_up() { "up" } else if board.kafka.is_down() { "down" } else { "unknown" },
        "configured_topics": topics.len(),
        "active_consumers": active,
        "topics": topics,
        "pending_requests": board.proxy.as_ref().map(|proxy| proxy.metrics.pending.get()),
        "instance": board.proxy.as_ref().map(|proxy| &proxy.instance.id),
        "actors": actors,
    }))
}

fn set_paused(request: HttpRequest, name: web::Path<String>, board: web::Data<Board>, paused: bool) -> HttpResponse {
    if board.token.is_none() {
        let error = "set management_token: without one this API changes nothing";
        return HttpResponse::Forbidden().json(json!({ "error": error }));
    }
    if !board.may_read(&request) {
        return unauthorized();
    }
    // A browser sends this type across sites only after asking, so that no foreign page can pause a topic.
    let json_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if !json_type {
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
    tracing::info!(topic = %name, paused, "intake changed by an operator");
    HttpResponse::Ok().json(json!({"topic": *name, "paused": paused}))
}

fn by_topic(workers: &[Arc<WorkerView>]) -> BTreeMap<&str, Vec<&WorkerView>> {
    let mut topics: BTreeMap<&str, Vec<&WorkerView>> = BTreeMap::new();
    for worker in workers {
        topics.entry(&worker.topic.name).or_default().push(worker);
    }
    topics
}

fn topic_status(workers: &[&WorkerView]) -> serde_json::Value {
    let topic = &workers[0].topic;
    let assigned = workers.iter().filter(|worker| worker.is_assigned()).count();
    json!({
        "request_topic": topic.request_topic,
        "response_topic": topic.response_topic,
        "backend_url": topic.backend_url.to_string(),
        "consumer_group": topic.consumer_group,
        "state": state(workers[0].is_paused(), assigned == workers.len()),
        "partitions": workers.iter().map(|worker| worker.partitions()).sum::<usize>(),
        "lag": workers.iter().flat_map(|worker| worker.lags()).map(|(_, lag)| lag).sum::<i64>(),
        "in_flight": workers.iter().flat_map(|worker| worker.backlogs()).map(|backlog| backlog.in_flight).sum::<usize>(),
        "workers": workers.iter().map(|worker| worker_status(worker)).collect::<Vec<_>>(),
        "backend": workers[0].backend.as_str(),
        "breaker": workers[0].breaker_state().as_str(),
    })
}

fn state(paused: bool, assigned: bool) -> &'static str {
    match (paused, assigned) {
        (true, _) => "paused",
        (false, true) => "consuming",
        (false, false) => "joining",
    }
}

/// What one worker is doing; at most a second old.
fn worker_status(worker: &WorkerView) -> serde_json::Value {
    let backlogs = worker.backlogs();
    let oldest = backlogs.iter().filter_map(|backlog| backlog.oldest_since).min();
    json!({
        "index": worker.index,
        "state": state(worker.is_paused(), worker.is_assigned()),
        "partitions": backlogs.iter().map(|backlog| backlog.partition).collect::<BTreeSet<_>>(),
        "lag": worker.lags().into_iter().collect::<BTreeMap<_, _>>(),
        "in_flight": backlogs.iter().map(|backlog| backlog.in_flight).sum::<usize>(),
        "oldest_in_flight_seconds": oldest.map(|since| since.elapsed().as_secs_f32()),
    })
}

fn unauthorized() -> HttpResponse {
    HttpResponse::build(StatusCode::UNAUTHORIZED)
        .insert_header((header::WWW_AUTHENTICATE, "Bearer"))
        .json(json!({"error": "send the management_token as Authorization: Bearer …"}))
}
