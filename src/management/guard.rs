//! What a request must have to read something, or to change it.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use crate::management::access::Access;

/// Of a change's request, as much of its `User-Agent` goes into the log.
const USER_AGENT_LOGGED: usize = 100;

/// May the sender of this request read?
///
/// # Errors
/// No: the answer to it.
pub async fn reading(request: &HttpRequest, access: &Access) -> Result<(), HttpResponse> {
    access.admit(request).await.map_err(|refusal| refusal.response())
}

/// May the sender of this request change something?
///
/// # Errors
/// No: the answer to it.
pub async fn change(request: &HttpRequest, access: &Access) -> Result<(), HttpResponse> {
    if !access.has_token() {
        let error = "set management_token: without one this API changes nothing";
        return Err(HttpResponse::Forbidden().json(json!({ "error": error })));
    }
    reading(request, access).await?;
    if !is_json(request) {
        let error = "send Content-Type: application/json";
        return Err(HttpResponse::UnsupportedMediaType().json(json!({ "error": error })));
    }
    Ok(())
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
pub fn user_agent(request: &HttpRequest) -> String {
    let value = request.headers().get(header::USER_AGENT);
    let text = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
    text.unwrap_or_default().chars().take(USER_AGENT_LOGGED).collect()
}
