//! Changes what is logged, while the process runs.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::management::access::peer;
use crate::management::board::Board;
use crate::management::guard::{self, user_agent};
use crate::process::telemetry;

#[derive(Deserialize)]
struct Wanted {
    level: String,
}

/// Takes `{"level": "debug"}`, written as `log.level` is. It holds until the next one, another `log.level` in the
/// configuration, or the end of the process.
pub async fn set(request: HttpRequest, body: web::Bytes, board: web::Data<Board>) -> HttpResponse {
    if let Err(refused) = guard::change(&request, &board.access).await {
        return refused;
    }
    let wanted = serde_json::from_slice::<Wanted>(&body).ok();
    let Some(Wanted { level }) = wanted.filter(|wanted| telemetry::is_filter(&wanted.level)) else {
        let error = r#"send {"level": "debug"}, or whatever else log.level takes"#;
        return HttpResponse::BadRequest().json(json!({ "error": error }));
    };
    if !telemetry::set_level(&level).unwrap_or(false) {
        let error = "RUST_LOG is set, and wins";
        return HttpResponse::Conflict().json(json!({ "error": error }));
    }
    tracing::info!(event = "log", level, from = %peer(&request), user_agent = user_agent(&request), "what is logged was changed by an operator");
    HttpResponse::Ok().json(json!({ "level": level }))
}
