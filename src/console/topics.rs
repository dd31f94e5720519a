//! `GET /api/topics`: each topic of this process, what it has to do and how it does it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::console::history::Point;
use crate::console::keeper::Topics;
use crate::management::board::{Board, by_topic, oldest};
use crate::management::status::topic_status;
use crate::process::progress::monotonic_ms;
use crate::processor::worker::view::WorkerView;
use crate::settings::BreakerMode;

/// The document.
pub fn document(board: &Board, topics: &Topics) -> Value {
    let workers = board.workers();
    let consumed = by_topic(&workers);
    json!({
        "proxy": board.proxy.is_some().then(|| sent(&topics.proxy)),
        "processor": board.processor.is_some().then(|| {
            let all = consumed.iter().map(|(name, workers)| consumed_topic(name, workers, topics));
            all.collect::<Vec<_>>()
        }),
    })
}

/// What the proxy sends, by its label in the metrics.
fn sent(topics: &BTreeMap<String, Point>) -> Vec<Value> {
    let busy = topics.iter().filter(|(topic, _)| !topic.is_empty());
    busy.map(|(topic, last)| json!({"topic": topic, "last": last}))
        .collect()
}

fn consumed_topic(name: &str, workers: &[&WorkerView], topics: &Topics) -> Value {
    let mut document = topic_status(workers);
    let (topic, now) = (&workers[0].topic, monotonic_ms());
    let opened = workers[0].breaker.as_ref().and_then(|breaker| breaker.opened(now));
    let more = json!({
        "last": topics.processor.get(name).or_else(|| topics.processor.get(&topic.request_topic)),
        "oldest_in_flight_seconds": oldest(workers).map(|since| seconds(since.elapsed())),
        "partitions_of": workers.iter().flat_map(|worker| partitions(worker)).collect::<Vec<_>>(),
        "breaker_is_off": topic.breaker.mode == BreakerMode::Off,
        "breaker_opened_seconds_ago": opened.map(|(since, _)| seconds(since)),
        "breaker_tries_in_seconds": opened.map(|(_, left)| seconds(left)),
        "retry_budget": (workers[0].retry_budget.balance(now) * 10.0).round() / 10.0,
        "rate_limit": topic.rate_limit,
        "waiting_for_rate": workers[0].metrics.waiting_for_rate.get(),
        "waiting_for_call": workers[0].metrics.waiting_for_call.get(),
        "timeout_seconds": seconds(topic.timeout),
    });
    if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
        document.extend(more);
    }
    document
}

/// The partitions of one worker.
fn partitions(worker: &WorkerView) -> Vec<Value> {
    let lags: BTreeMap<i32, i64> = worker.lags().into_iter().collect();
    let all = worker.backlogs().into_iter().map(|backlog| {
        json!({
            "partition": backlog.partition,
            "worker": worker.index,
            "lag": lags.get(&backlog.partition),
            "in_flight": backlog.in_flight,
            "oldest_seconds": backlog.oldest_since.map(|since| seconds(since.elapsed())),
            "stands_still": backlog.stands_still,
        })
    });
    all.collect()
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}
