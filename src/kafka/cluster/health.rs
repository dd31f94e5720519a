//! Whether Kafka answers: one metadata request each second, on a thread of its own, with one shared result.
//!
//! Three failures in a row mean down: neither an election nor one hanging broker of several is an outage. One success means up. Because a
//! request is sent, brokers that hang (SIGSTOP) count as down, although their connections stand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::KafkaResult;

use crate::kafka::client::trouble;
use crate::kafka::cluster::describe;

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

    /// Ends the probe's thread at its next turn.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }

    /// Probes until `stop`. `probe` asks Kafka within `PROBE_TIMEOUT`; `upkeep` runs each second beside it.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn watch(
        &self,
        mut probe: impl FnMut() -> KafkaResult<()> + Send + 'static,
        upkeep: impl Fn() + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let health = self.clone();
        std::thread::Builder::new()
            .name("khp-kafka-probe".into())
            .spawn(move || {
                let mut failures = 0;
                while !health.0.stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    upkeep();
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
}
