//! `GET /status`: what each part of the process is doing now, as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::management::board::{Board, by_topic, oldest};
use crate::processor::worker::view::WorkerView;
use crate::supervision::health_supervisor::Survey;

/// How long the supervisor has to answer. Whoever asks for the status of a process that is stuck wants the rest of it all the same.
const ANSWER_IN: Duration = Duration::from_secs(1);

/// The whole document. `actors` is null while the supervisor does not answer.
pub async fn status(board: &Board) -> Value {
    let actors = match board.supervisor.get() {
        Some(supervisor) => tokio::time::timeout(ANSWER_IN, supervisor.send(Survey)).await.ok(),
        None => None,
    };
    let actors = actors.map(Result::unwrap_or_default);
    let workers = board.workers();
    let topics = topics_status(&workers);
    let active = workers.iter().filter(|worker| worker.is_assigned()).count();
    json!({
        "running": !board.phase.is_draining(),
        "ready": board.not_ready().is_empty(),
        "not_ready": board.not_ready(),
        "configuration": board.configuration.show(),
        "kafka": if board.kafka.is_up() { "up" } else if board.kafka.is_down() { "down" } else { "unknown" },
        "configured_topics": topics.len(),
        "active_consumers": active,
        "topics": topics,
        "pending_requests": board.proxy.as_ref().map(|proxy| proxy.metrics.pending.get()),
        "results": board.proxy.as_ref().and_then(|proxy| proxy.results.as_ref()).map(|results| results.status()),
        "instance": board.proxy.as_ref().map(|proxy| &proxy.instance.id),
        "actors": actors,
    })
}

/// The topics by their request topic, as in kafka-http-proxy. Where several groups consume the same one, their names follow a colon,
/// which no topic's name holds.
fn topics_status(workers: &[Arc<WorkerView>]) -> BTreeMap<String, Value> {
    let topics = by_topic(workers);
    let consumers = |request_topic: &str| {
        let all = topics
            .values()
            .filter(|workers| workers[0].topic.request_topic == request_topic);
        all.count()
    };
    let keyed = topics.iter().map(|(name, workers)| {
        let request_topic = &workers[0].topic.request_topic;
        let key = match consumers(request_topic) {
            1 => request_topic.clone(),
            _ => format!("{request_topic}:{name}"),
        };
        (key, topic_status(workers))
    });
    keyed.collect()
}

/// What the workers of one topic are doing.
pub fn topic_status(workers: &[&WorkerView]) -> Value {
    let topic = &workers[0].topic;
    let assigned = workers.iter().filter(|worker| worker.is_assigned()).count();
    json!({
        "name": topic.name,
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
        "idempotency": topic.memory.is_on().then(|| json!({
            "topic": topic.memory.topic,
            "keys": workers[0].metrics.memory.keys.get(),
            "waiting": workers[0].metrics.memory.waiting.get(),
            "remembered": workers[0].metrics.memory.remembered.get(),
            "replayed": workers[0].metrics.memory.replayed.get(),
        })),
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
fn worker_status(worker: &WorkerView) -> Value {
    let backlogs = worker.backlogs();
    json!({
        "index": worker.index,
        "state": state(worker.is_paused(), worker.is_assigned()),
        "partitions": backlogs.iter().map(|backlog| backlog.partition).collect::<BTreeSet<_>>(),
        "lag": worker.lags().into_iter().collect::<BTreeMap<_, _>>(),
        "in_flight": backlogs.iter().map(|backlog| backlog.in_flight).sum::<usize>(),
        "oldest_in_flight_seconds": oldest(&[worker]).map(|since| since.elapsed().as_secs_f32()),
    })
}
