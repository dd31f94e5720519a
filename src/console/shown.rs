//! A request as the API shows it.

use std::time::Instant;

use serde::Serialize;

use crate::console::requests::Remembered;
use crate::exchange::{Attempt, ByKey, Exchange, Phase, RecordPosition};
use crate::wire::clock::unix_ms;

/// One line of a list.
#[derive(Debug, Serialize)]
pub struct Line {
    /// Counts from 1 in each process.
    pub number: u64,
    pub role: &'static str,
    pub correlation_id: String,
    /// When it began, in ms since 1970.
    pub at: i64,
    pub method: String,
    /// Its query is masked.
    pub path: String,
    pub topic: Option<String>,
    /// `None`: there is no answer.
    pub status: Option<u16>,
    /// The code of an error, or why there is no answer.
    pub code: Option<&'static str>,
    /// What its idempotency key made of it.
    pub idempotency: Option<&'static str>,
    pub failed: bool,
    pub ms: f64,
    /// Calls of the backend.
    pub attempts: usize,
    pub phases: Vec<Part>,
}

/// A phase.
#[derive(Debug, Serialize)]
pub struct Part {
    pub name: &'static str,
    /// When it began, from the beginning of the request here. A record was queued before that: then it is below zero.
    pub at_ms: f64,
    pub ms: f64,
}

/// All that is known of a request.
#[derive(Debug, Serialize)]
pub struct Whole {
    #[serde(flatten)]
    pub line: Line,
    pub request_id: Option<String>,
    pub trace_id: Option<String>,
    pub client: Option<String>,
    pub principal: Option<String>,
    pub request: Option<Record>,
    pub reply: Option<Record>,
    pub calls: Vec<Call>,
    pub request_bytes: u64,
    pub response_bytes: u64,
}

/// Where a record lies.
#[derive(Debug, Serialize)]
pub struct Record {
    topic: String,
    partition: Option<i32>,
    offset: Option<i64>,
}

/// One call of the backend.
#[derive(Debug, Serialize)]
pub struct Call {
    at_ms: f64,
    /// `None`: it was cut off.
    ms: Option<f64>,
    status: Option<u16>,
    error: Option<&'static str>,
}

impl Line {
    pub fn of(request: &Remembered) -> Self {
        let exchange = &request.exchange;
        Line {
            number: request.number,
            role: exchange.role.as_str(),
            correlation_id: exchange.correlation_id.to_string(),
            at: unix_ms(exchange.at),
            method: exchange.method.to_string(),
            path: exchange.path.clone(),
            topic: exchange.request.as_ref().map(|place| place.topic.to_string()),
            status: exchange.ending.status,
            code: exchange.ending.code,
            idempotency: exchange.by_key.map(ByKey::as_str),
            failed: exchange.ending.is_failure(),
            ms: ms(exchange.took),
            attempts: exchange.attempts.len(),
            phases: parts(exchange),
        }
    }
}

impl Whole {
    pub fn of(request: &Remembered) -> Self {
        let exchange = &request.exchange;
        Whole {
            line: Line::of(request),
            request_id: exchange.request_id.clone(),
            trace_id: request.trace_id(),
            client: exchange.client.map(|client| client.to_string()),
            principal: exchange.principal.clone(),
            request: exchange.request.as_ref().map(Record::of),
            reply: exchange.reply.as_ref().map(Record::of),
            calls: exchange
                .attempts
                .iter()
                .map(|call| Call::of(call, exchange.began))
                .collect(),
            request_bytes: exchange.request_bytes,
            response_bytes: exchange.response_bytes,
        }
    }
}

impl Record {
    fn of(position: &RecordPosition) -> Self {
        Record {
            topic: position.topic.to_string(),
            partition: position.partition,
            offset: position.offset,
        }
    }
}

impl Call {
    fn of(call: &Attempt, began: Instant) -> Self {
        Call {
            at_ms: ms(call.began.saturating_duration_since(began)),
            ms: call.took.map(ms),
            status: call.status,
            error: call.error,
        }
    }
}

/// The phases one after the other, the queue before the beginning.
fn parts(exchange: &Exchange) -> Vec<Part> {
    let mut at = 0.0;
    let parts = exchange.phases.of(exchange.role).map(|(phase, took)| {
        let took = ms(took);
        let began = match phase {
            Phase::Queue => -took,
            _ => {
                at += took;
                at - took
            }
        };
        Part {
            name: phase.as_str(),
            at_ms: began,
            ms: took,
        }
    });
    parts.collect()
}

fn ms(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Role;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn phases_follow_each_other_and_the_queue_comes_before() {
        let mut exchange = Exchange::begin(Role::Processor);
        for (phase, took) in [
            (Phase::Queue, 5),
            (Phase::Permit, 1),
            (Phase::Backend, 20),
            (Phase::Reply, 2),
        ] {
            exchange.phases.set(phase, Duration::from_millis(took));
        }
        let mut call = Attempt::begin(0);
        call.took = Some(Duration::from_millis(20));
        exchange.attempts.push(call);
        let whole = Whole::of(&Remembered {
            number: 7,
            exchange: Arc::new(exchange),
        });
        let shown: Vec<_> = whole.line.phases.iter().map(|part| (part.name, part.at_ms)).collect();
        assert_eq!(
            shown,
            [("queue", -5.0), ("permit", 0.0), ("backend", 1.0), ("reply", 21.0)]
        );
        let json = serde_json::to_value(&whole).unwrap();
        assert_eq!(
            (json["number"].as_u64(), json["calls"][0]["ms"].as_f64()),
            (Some(7), Some(20.0))
        );
    }
}
