//! How the API takes bodies, and says what is wrong.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::management::access::Access;
use crate::management::guard;
use crate::proxy::handler::response::with_unread;

/// Bytes of a body: an order, or the request to try.
const BODY: usize = 256 << 10;
/// A body that is not there by then is not waited for.
const BODY_IN: Duration = Duration::from_secs(10);

/// Why there is no answer to a question.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    text: String,
}

impl Problem {
    pub fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    pub fn none(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    pub fn conflict(text: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, text)
    }

    /// Something else that is needed failed.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, text)
    }

    pub fn busy(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    pub fn no_dead_letters() -> Self {
        Self::none("this process keeps no dead letters: a processor does, with dead_letter_topic")
    }

    pub fn response(&self) -> HttpResponse {
        HttpResponse::build(self.status).json(json!({"error": self.text}))
    }

    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Problem {
            status,
            text: text.into(),
        }
    }
}

/// The body of a request that changes something, if its sender may.
///
/// # Errors
/// The answer to it.
pub async fn read_json<T: DeserializeOwned>(
    request: &HttpRequest,
    mut payload: web::Payload,
    access: &Access,
) -> Result<T, HttpResponse> {
    if let Err(refused) = guard::change(request, access).await {
        return Err(with_unread(refused, payload));
    }
    let read = async {
        let mut body = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| Problem::bad(error.to_string()))?;
            if body.len() + chunk.len() > BODY {
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| Problem::bad(error.to_string()))
    };
    let read = tokio::time::timeout(BODY_IN, read).await;
    match read {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(problem)) => Err(with_unread(problem.response(), payload)),
        Err(_) => Err(with_unread(
            Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come").response(),
            payload,
        )),
    }
}
