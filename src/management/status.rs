//! `GET /status`: what each part of the process is doing now, as JSON.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
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
fn topics_status(workers: &[Arc<WorkerView>]) -> BTreeMap<String, TopicStatus> {
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
        (key, TopicStatus::of(workers))
    });
    keyed.collect()
}

/// A topic that this process consumes. What a process of another version does not tell counts as nothing.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicStatus {
    pub name: String,
    pub request_topic: String,
    pub response_topic: String,
    pub backend_url: String,
    pub consumer_group: String,
    pub state: Cow<'static, str>,
    pub partitions: usize,
    pub lag: i64,
    pub in_flight: usize,
    pub workers: Vec<WorkerStatus>,
    pub backend: Cow<'static, str>,
    pub breaker: Cow<'static, str>,
    /// `None`: it remembers no keys.
    pub idempotency: Option<MemoryStatus>,
}

/// What a topic remembers of keys.
#[derive(Debug, Serialize, Deserialize)]
pub struct MemoryStatus {
    pub topic: String,
    pub keys: i64,
    pub waiting: i64,
    pub remembered: u64,
    pub replayed: u64,
}

/// What one worker is doing; at most a second old.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerStatus {
    pub index: usize,
    pub state: Cow<'static, str>,
    pub partitions: BTreeSet<i32>,
    /// By partition. Numbers that are names cannot be read out of what is flattened into another document.
    #[serde(skip_deserializing)]
    pub lag: BTreeMap<i32, i64>,
    pub in_flight: usize,
    pub oldest_in_flight_seconds: Option<f32>,
}

impl TopicStatus {
    /// What these workers, all of one topic, are doing.
    pub fn of(workers: &[&WorkerView]) -> Self {
        let (topic, metrics) = (&workers[0].topic, &workers[0].metrics.memory);
        let assigned = workers.iter().filter(|worker| worker.is_assigned()).count();
        let backlogs = workers.iter().flat_map(|worker| worker.backlogs());
        TopicStatus {
            name: topic.name.clone(),
            request_topic: topic.request_topic.clone(),
            response_topic: topic.response_topic.clone(),
            backend_url: topic.backend_url.to_string(),
            consumer_group: topic.consumer_group.clone(),
            state: state(workers[0].is_paused(), assigned == workers.len()).into(),
            partitions: workers.iter().map(|worker| worker.partitions()).sum(),
            lag: workers
                .iter()
                .flat_map(|worker| worker.lags())
                .map(|(_, lag)| lag)
                .sum(),
            in_flight: backlogs.map(|backlog| backlog.in_flight).sum(),
            workers: workers.iter().map(|worker| WorkerStatus::of(worker)).collect(),
            backend: workers[0].backend.as_str().into(),
            breaker: workers[0].breaker_state().as_str().into(),
            idempotency: topic.memory.is_on().then(|| MemoryStatus {
                topic: topic.memory.topic.clone(),
                keys: metrics.keys.get(),
                waiting: metrics.waiting.get(),
                remembered: metrics.remembered.get(),
                replayed: metrics.replayed.get(),
            }),
        }
    }
}

impl WorkerStatus {
    fn of(worker: &WorkerView) -> Self {
        let backlogs = worker.backlogs();
        WorkerStatus {
            index: worker.index,
            state: state(worker.is_paused(), worker.is_assigned()).into(),
            partitions: backlogs.iter().map(|backlog| backlog.partition).collect(),
            lag: worker.lags().into_iter().collect(),
            in_flight: backlogs.iter().map(|backlog| backlog.in_flight).sum(),
            oldest_in_flight_seconds: oldest(&[worker]).map(|since| since.elapsed().as_secs_f32()),
        }
    }
}

fn state(paused: bool, assigned: bool) -> &'static str {
    match (paused, assigned) {
        (true, _) => "paused",
        (false, true) => "consuming",
        (false, false) => "joining",
    }
}
