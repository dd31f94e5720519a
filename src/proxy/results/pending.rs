//! What a client gets while there is no result: 202, and when to ask again.

use std::time::{Duration, UNIX_EPOCH};

use actix_web::HttpResponse;
use actix_web::http::header;
use humantime::format_rfc3339_seconds;
use serde_json::json;

use crate::proxy::results::location::ResultId;
use crate::proxy::results::prefer::Preferences;
use crate::wire::{headers, now_ms};

/// The longest wait that a client is asked for.
const ASK_AGAIN: u64 = 30;

/// The answer to a request that was accepted, and to whoever asks for its result too early.
pub fn pending(result: &ResultId, location: &str, applied: (bool, Option<Duration>)) -> HttpResponse {
    let elapsed = now_ms().saturating_sub(result.since_ms()).max(0) as u64 / 1000;
    let mut response = HttpResponse::Accepted();
    response
        .insert_header((header::LOCATION, location))
        // A job that has run for a minute is not done a second later.
        .insert_header((header::RETRY_AFTER, (elapsed / 4).clamp(1, ASK_AGAIN)))
        .insert_header((headers::KHP_CORRELATION_ID, result.id.to_string()))
        .insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(applied) = Preferences::applied(applied.0, applied.1) {
        response.insert_header((headers::PREFERENCE_APPLIED, applied));
    }
    response.json(json!({
        "state": "pending",
        "location": location,
        "since": time(result.since_ms()),
        "deadline": time(result.deadline_ms),
    }))
}

fn time(unix_ms: i64) -> String {
    let since = Duration::from_millis(unix_ms.max(0) as u64);
    UNIX_EPOCH
        .checked_add(since)
        .map_or_else(String::new, |time| format_rfc3339_seconds(time).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::CorrelationId;

    fn after(seconds: i64) -> (u16, String) {
        let result = ResultId {
            id: CorrelationId::new(1),
            place: 1,
            deadline_ms: now_ms() + 3_600_000 - seconds * 1000,
            timeout: Duration::from_secs(3600),
        };
        let response = pending(&result, "/.khp/results/x", (true, None));
        let again = response.headers().get(header::RETRY_AFTER).unwrap().to_str().unwrap();
        (response.status().as_u16(), again.to_owned())
    }

    #[test]
    fn whoever_waits_long_is_asked_to_come_back_later() {
        for (seconds, again) in [(0, "1"), (5, "1"), (40, "10"), (3000, "30"), (-10, "1")] {
            assert_eq!(after(seconds), (202, again.to_owned()));
        }
    }
}
