//! A service that gives requests up, and the commands that look at them.

use std::collections::BTreeMap;

use super::app::{Spec, processor};
use super::kafka::free_port;
use super::one_shot::{Said, run};
use super::records::{Record, Written};
use super::topics::create_topic;
use super::{Topics, unique};

/// The topics of one service, and where its failures go.
pub struct Place {
    pub topics: Topics,
    pub dead_letters: String,
}

impl Place {
    /// Makes the topics: four partitions of requests, two of dead letters.
    pub async fn new() -> Self {
        let place = Place {
            topics: Topics::unique("orders"),
            dead_letters: unique("failed-requests"),
        };
        create_topic(&place.topics.request, 4).await;
        create_topic(&place.topics.response, 1).await;
        create_topic(&place.dead_letters, 2).await;
        place
    }

    /// A processor that gives up at once.
    pub fn spec(&self, backend_url: &str) -> Spec {
        processor(&[(&self.topics, backend_url)])
            .set_topics("max_retries", 0)
            .set("dead_letter_topic", self.dead_letters.as_str())
    }

    /// Runs `actix-khp dlq` with its configuration.
    pub async fn dlq(&self, args: &[&str]) -> Said {
        run(&self.spec("http://127.0.0.1:9"), &[&["dlq"], args].concat()).await
    }

    /// A letter as the processor writes it.
    pub fn letter(&self, number: usize, path: &str, extra: &[(&str, &str)]) -> Written {
        let id = format!("id-{number}");
        let fixed = [
            ("khp-version", "1"),
            ("kafka_correlationId", id.as_str()),
            (":method", "POST"),
            (":path", path),
            ("kafka_replyTopic", self.topics.response.as_str()),
            ("khp-deadline", "1700000000000"),
            ("khp-timeout", "30000"),
            ("kafka_dlt-original-topic", self.topics.request.as_str()),
            ("kafka_dlt-exception-message", "connection refused"),
            ("khp-error", "backend-unreachable"),
            ("khp-attempts", "4"),
        ];
        let headers = fixed
            .iter()
            .chain(extra)
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect();
        (number.to_string().into_bytes(), headers)
    }
}

/// How often each value is there.
pub fn by_value(records: &[Record]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for record in records {
        let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
        *counts.entry(value.into_owned()).or_default() += 1;
    }
    counts
}

/// A backend that is not there.
pub fn nobody() -> String {
    format!("http://127.0.0.1:{}", free_port())
}
