//! `GET /api/topics`: each topic of this process, what it has to do and how it does it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::console::documents::{Consumed, PartitionStatus, Sent, Topics};
use crate::console::history::Point;
use crate::console::keeper;
use crate::management::board::{Board, by_topic, oldest};
use crate::management::status::TopicStatus;
use crate::process::progress::monotonic_ms;
use crate::processor::worker::view::WorkerView;
use crate::settings::BreakerMode;

/// The document.
pub fn document(board: &Board, topics: &keeper::Topics) -> Topics {
    let workers = board.workers();
    let consumed = by_topic(&workers);
    Topics {
        proxy: board.proxy.is_some().then(|| sent(&topics.proxy)),
        processor: board.processor.is_some().then(|| {
            let all = consumed
                .iter()
                .map(|(name, workers)| consumed_topic(name, workers, topics));
            all.collect()
        }),
    }
}

/// What the proxy sends, by its label in the metrics.
fn sent(topics: &BTreeMap<String, Point>) -> Vec<Sent> {
    let busy = topics.iter().filter(|(topic, _)| !topic.is_empty());
    let of_topic = |(topic, last): (&String, &Point)| Sent {
        topic: topic.clone(),
        last: Some(last.clone()),
    };
    busy.map(of_topic).collect()
}

fn consumed_topic(name: &str, workers: &[&WorkerView], topics: &keeper::Topics) -> Consumed {
    let (topic, now) = (&workers[0].topic, monotonic_ms());
    let opened = workers[0].breaker.as_ref().and_then(|breaker| breaker.opened(now));
    let last = topics.processor.get(name);
    Consumed {
        status: TopicStatus::of(workers),
        last: last.or_else(|| topics.processor.get(&topic.request_topic)).cloned(),
        oldest_in_flight_seconds: oldest(workers).map(|since| seconds(since.elapsed())),
        partitions_of: workers.iter().flat_map(|worker| partitions(worker)).collect(),
        breaker_is_off: topic.breaker.mode == BreakerMode::Off,
        breaker_opened_seconds_ago: opened.map(|(since, _)| seconds(since)),
        breaker_tries_in_seconds: opened.map(|(_, left)| seconds(left)),
        retry_budget: (workers[0].retry_budget.balance(now) * 10.0).round() / 10.0,
        rate_limit: topic.rate_limit,
        waiting_for_rate: workers[0].metrics.waiting_for_rate.get(),
        waiting_for_call: workers[0].metrics.waiting_for_call.get(),
        timeout_seconds: seconds(topic.timeout),
    }
}

/// The partitions of one worker.
fn partitions(worker: &WorkerView) -> Vec<PartitionStatus> {
    let lags: BTreeMap<i32, i64> = worker.lags().into_iter().collect();
    let all = worker.backlogs().into_iter().map(|backlog| PartitionStatus {
        partition: backlog.partition,
        worker: worker.index,
        lag: lags.get(&backlog.partition).copied(),
        in_flight: backlog.in_flight,
        oldest_seconds: backlog.oldest_since.map(|since| seconds(since.elapsed())),
        stands_still: backlog.stands_still,
    });
    all.collect()
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}
