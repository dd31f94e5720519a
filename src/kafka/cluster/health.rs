//! Whether Kafka answers, and lets this service write: one metadata request each second, on a thread of its own, with one shared result.
//!
//! Three failures in a row mean down: neither an election nor one hanging broker of several is an outage. One success means up. Because a
//! request is sent, brokers that hang (SIGSTOP) count as down, although their connections stand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use crate::kafka::client::trouble;
use crate::kafka::cluster::describe;
use crate::kafka::codes::CodeClass;

const EVERY: Duration = Duration::from_secs(1);
/// How long one probe waits for its answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const FAILURES_TO_DOWN: u32 = 3;

// The values of `State::state`; 0 before the first three probes.
const UP: u8 = 1;
const DOWN: u8 = 2;

/// The question: one topic's metadata, which the client learns thereby. librdkafka sends such a request to the broker it used last, for as
/// long as that connection stands (`rd_kafka_broker_weight_usable`): it would ask a hanging broker again and again, while the others are
/// well. So after a failure all known brokers are asked. That also makes the client prefer one that answers.
pub struct Probe {
    topic: String,
    /// Ids, as of the last metadata.
    brokers: Vec<i32>,
    /// The broker that the client chose did not answer the last question.
    ask_all: bool,
}

impl Probe {
    pub fn new(topic: String) -> Self {
        Probe {
            topic,
            brokers: Vec::new(),
            ask_all: false,
        }
    }

    /// Blocks for `PROBE_TIMEOUT` at most.
    ///
    /// # Errors
    /// Kafka did not answer.
    pub fn ask<C: ClientContext>(&mut self, client: &Client<C>) -> KafkaResult<()> {
        if std::mem::take(&mut self.ask_all) {
            return describe::any_broker_answers(client, &self.brokers, PROBE_TIMEOUT);
        }
        match client.fetch_metadata(Some(&self.topic), PROBE_TIMEOUT) {
            Ok(metadata) => {
                trouble::answered(metadata.orig_broker_name());
                self.brokers = metadata.brokers().iter().map(|broker| broker.id()).collect();
                Ok(())
            }
            Err(error) => {
                self.ask_all = !self.brokers.is_empty();
                Err(error)
            }
        }
    }
}

/// The shared result. Clones share it.
#[derive(Clone, Default)]
pub struct KafkaHealth(Arc<State>);

#[derive(Default)]
struct State {
    state: AtomicU8,
    /// Why the process's own producers can send nothing.
    refusal: ArcSwapOption<RDKafkaErrorCode>,
    stop: AtomicBool,
}

impl KafkaHealth {
    /// Kafka has answered, and has not failed three probes in a row since.
    pub fn is_up(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) == UP
    }

    /// Three probes in a row failed.
    pub fn is_down(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) == DOWN
    }

    /// Why Kafka lets this service write nothing, in words; `None`: it does.
    pub fn refusal(&self) -> Option<String> {
        let code = self.0.refusal.load_full()?;
        Some(format!(
            "Kafka refuses this service's producer: {code}; {}",
            cure(*code)
        ))
    }

    /// Takes in how the producers are, and tells what changes.
    fn note_refusal(&self, code: Option<RDKafkaErrorCode>) {
        let before = self.0.refusal.load_full().as_deref().copied();
        if before == code {
            return;
        }
        self.0.refusal.store(code.map(Arc::new));
        match code {
            Some(code) => {
                // Before Kafka 2.8, WRITE alone is not enough (KIP-679).
                let or = if CodeClass::from(code) == CodeClass::Denied {
                    ", or IDEMPOTENT_WRITE on the cluster"
                } else {
                    ""
                };
                tracing::error!(event = "rights", %code, "Kafka refuses this service's producer, and nothing can be sent: {}{or}", cure(code))
            }
            None => tracing::info!(event = "rights", "Kafka takes this service's records again"),
        }
    }

    /// Ends the probe's thread at its next turn.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }

    /// Probes until `stop`. `probe` asks Kafka within `PROBE_TIMEOUT`; `upkeep` runs each second beside it, and tells why producers can send
    /// nothing.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn watch(
        &self,
        mut probe: impl FnMut() -> KafkaResult<()> + Send + 'static,
        upkeep: impl Fn() -> Option<RDKafkaErrorCode> + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let health = self.clone();
        std::thread::Builder::new()
            .name("khp-kafka-probe".into())
            .spawn(move || {
                let mut failures = 0;
                while !health.0.stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    health.note_refusal(upkeep());
                    failures = health.record(probe(), failures);
                    std::thread::park_timeout(EVERY.saturating_sub(began.elapsed()));
                }
            })
    }

    /// Takes in one probe's result; returns the failures in a row.
    fn record(&self, result: KafkaResult<()>, failures: u32) -> u32 {
        match result {
            Ok(()) => {
                if self.0.state.swap(UP, Ordering::Relaxed) == DOWN {
                    tracing::info!(event = "kafka", "Kafka answers again");
                }
                0
            }
            Err(error) => {
                let failures = failures.saturating_add(1);
                if failures == FAILURES_TO_DOWN && self.0.state.swap(DOWN, Ordering::Relaxed) != DOWN {
                    tracing::error!(event = "kafka", %error, "Kafka does not answer: new requests get 503 until it does; check the brokers and kafka.bootstrap_servers");
                }
                failures
            }
        }
    }
}

/// What is to be done about a fatal error of a producer.
fn cure(code: RDKafkaErrorCode) -> &'static str {
    match CodeClass::from(code) {
        CodeClass::Denied => "grant its user WRITE on its topics",
        _ => "its client is replaced, after a minute at the latest",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};

    #[test]
    fn three_failures_in_a_row_mean_down_and_one_success_up() {
        let health = KafkaHealth::default();
        let fail = || Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut));
        assert!(!health.is_up() && !health.is_down());
        let mut failures = health.record(Ok(()), 0);
        for expected_up in [true, true, false, false] {
            failures = health.record(fail(), failures);
            assert_eq!(health.is_up(), expected_up);
        }
        assert_eq!(health.record(Ok(()), failures), 0);
        assert!(health.is_up());
    }

    #[test]
    fn what_producers_are_refused_for_is_told_until_they_are_not() {
        let health = KafkaHealth::default();
        let denied = Some(RDKafkaErrorCode::ClusterAuthorizationFailed);
        for (code, is_told) in [(None, false), (denied, true), (denied, true), (None, false)] {
            health.note_refusal(code);
            assert_eq!(health.refusal().is_some(), is_told);
        }
        health.note_refusal(denied);
        assert_eq!(
            health.refusal().as_deref(),
            Some(
                "Kafka refuses this service's producer: ClusterAuthorizationFailed (Broker: Cluster authorization failed); grant its user WRITE on its topics"
            )
        );
    }
}
