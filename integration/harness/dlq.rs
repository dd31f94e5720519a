//! A service that gives requests up, and the `dlq` commands on its dead letters.

use std::collections::BTreeMap;

use super::command::{Ended, run};
use super::names::{Topics, unique};
use super::records::{Header, Record, Written, request_headers, written};
use super::spec::{Spec, processor};
use super::topics::create_topic;

/// The topics of one service, and its dead letter topic.
pub struct Dlq {
    pub topics: Topics,
    pub dead_letters: String,
}

impl Dlq {
    /// Creates the topics: four partitions of requests, two of dead letters.
    pub async fn create() -> Self {
        let dlq = Dlq {
            topics: Topics::unique("orders"),
            dead_letters: unique("dead-letters"),
        };
        create_topic(&dlq.topics.request, 4).await;
        create_topic(&dlq.topics.response, 1).await;
        create_topic(&dlq.dead_letters, 2).await;
        dlq
    }

    /// A processor that never repeats a call.
    pub fn spec(&self, backend_url: &str) -> Spec {
        processor(&[(&self.topics, backend_url)])
            .set_topics("max_retries", 0)
            .set("dead_letter_topic", self.dead_letters.as_str())
    }

    /// The configuration of the commands. They call no backend.
    pub fn command_spec(&self) -> Spec {
        self.spec("http://127.0.0.1:9")
    }

    /// Runs `actix-khp dlq` with these arguments.
    pub async fn run(&self, args: &[&str]) -> Ended {
        run(&self.command_spec(), &[&["dlq"], args].concat()).await
    }

    /// A dead letter as the processor writes it. Its value is its number.
    pub fn letter(&self, number: usize, path: &str, more: &[(&str, &str)]) -> Written {
        let id = format!("id-{number}");
        let fixed = [
            ("kafka_replyTopic", self.topics.response.as_str()),
            ("khp-deadline", "1700000000000"),
            ("khp-timeout", "30000"),
            ("kafka_dlt-original-topic", self.topics.request.as_str()),
            ("kafka_dlt-exception-message", "connection refused"),
            ("khp-error", "backend-unreachable"),
            ("khp-attempts", "4"),
        ];
        let all = fixed.iter().chain(more);
        let all: Vec<Header<'_>> = all.map(|(name, value)| (*name, value.as_bytes())).collect();
        written(number.to_string(), &request_headers(&id, "POST", path, &all))
    }
}

/// How many of the records have each value.
pub fn by_value(records: &[Record]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for record in records {
        let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
        *counts.entry(value.into_owned()).or_default() += 1;
    }
    counts
}
