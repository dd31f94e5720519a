//! What can be asked of the console: how the process is and was, its topics, requests, changes and settings.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::console::Console;
use crate::console::answer::Problem;
use crate::console::documents::Process;
use crate::console::requests::Ring;
use crate::console::shown::{Line, Whole};
use crate::console::topics as topics_document;
use crate::exchange::Role;
use crate::management::board::Board;
use crate::process::events as kept_events;

/// Which requests are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    role: Option<RoleName>,
    #[serde(default)]
    ring: Ring,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RoleName {
    Proxy,
    Processor,
}

/// `GET /api/process`: what this process is, and what can be done with it.
pub async fn process(board: web::Data<Board>, console: web::Data<Console>) -> HttpResponse {
    json_answer(&Process {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: board.proxy.as_ref().map(|proxy| proxy.instance.id.to_string()),
        proxy: board.proxy.is_some(),
        processor: board.processor.is_some(),
        began: console.began,
        can_change: board.access.has_token(),
        dead_letters: console.has_dead_letters(),
        peers: !console.settings().management.peers.is_empty(),
    })
}

/// `GET /api/now`.
pub async fn now(console: web::Data<Console>) -> HttpResponse {
    known(console.keeper.now().await, |now| json_answer(&now))
}

/// `GET /api/history`: the last 15 minutes.
pub async fn history(console: web::Data<Console>) -> HttpResponse {
    known(console.keeper.history().await, |points| {
        json_answer(&json!({"points": points}))
    })
}

/// `GET /api/topics`.
pub async fn topics(board: web::Data<Board>, console: web::Data<Console>) -> HttpResponse {
    known(console.keeper.topics().await, |topics| {
        json_answer(&topics_document::document(&board, &topics))
    })
}

/// `GET /api/requests`: the last, the slowest or the failed ones, as one role saw them.
pub async fn requests(request: HttpRequest, board: web::Data<Board>, console: web::Data<Console>) -> HttpResponse {
    let asked = match web::Query::<Listed>::from_query(request.query_string()) {
        Ok(asked) => asked.into_inner(),
        Err(error) => return Problem::bad(error.to_string()).response(),
    };
    let role = match asked.role {
        Some(RoleName::Proxy) => Role::Proxy,
        Some(RoleName::Processor) => Role::Processor,
        None if board.proxy.is_some() => Role::Proxy,
        None => Role::Processor,
    };
    known(console.keeper.requests(role, asked.ring).await, |found| {
        let lines: Vec<_> = found.iter().map(Line::of).collect();
        json_answer(&json!({"role": role.as_str(), "requests": lines}))
    })
}

/// `GET /api/requests/{id}`: all that is known of the requests with this id.
pub async fn request(id: web::Path<String>, console: web::Data<Console>) -> HttpResponse {
    known(console.keeper.find(id.into_inner()).await, |found| {
        let requests: Vec<_> = found.iter().map(Whole::of).collect();
        json_answer(&json!({"requests": requests}))
    })
}

/// `GET /api/events`: what changed.
pub async fn events() -> HttpResponse {
    let events = kept_events::after(0);
    json_answer(&json!({"events": events.iter().map(|event| &**event).collect::<Vec<_>>()}))
}

/// `GET /api/settings`: the effective ones, masked, each with where it came from.
pub async fn settings(board: web::Data<Board>) -> HttpResponse {
    json_answer(&json!({"settings": &*board.configuration.entries()}))
}

/// `GET /api/live`: the same, as it happens.
pub async fn live(console: web::Data<Console>) -> HttpResponse {
    console.live.subscribe()
}

fn known<T>(found: Option<T>, show: impl FnOnce(T) -> HttpResponse) -> HttpResponse {
    found.map_or_else(
        || Problem::busy("the console is busy; try again in a moment").response(),
        show,
    )
}

fn json_answer(document: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((actix_web::http::header::CACHE_CONTROL, "no-store"))
        .json(document)
}
