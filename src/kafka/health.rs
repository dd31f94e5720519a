//! Is Kafka there? One metadata request each second, on a thread of its own, with an answer for everybody.
//!
//! Three failures in a row = down (an election is not an outage); any success = up. A broker that hangs (SIGSTOP) counts too, which
//! no connection state would show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaResult;

const EVERY: Duration = Duration::from_secs(1);
/// How long one probe waits for its answer.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const FAILURES_TO_DOWN: u32 = 3;

/// Not asked yet is 0.
const UP: u8 = 1;
const DOWN: u8 = 2;

/// The shared answer. Clones share it.
#[derive(Clone, Default)]
pub struct KafkaHealth(Arc<State>);

#[derive(Default)]
struct State {
    state: AtomicU8,
    stop: AtomicBool,
}

impl KafkaHealth {
    /// Kafka answered the last probe, or has not failed three in a row since.
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
        probe: impl Fn() -> KafkaResult<()> + Send + 'static,
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
                    tracing::info!("Kafka answers again");
                }
                0
            }
            Err(error) => {
                let failures = failures.saturating_add(1);
                if failures == FAILURES_TO_DOWN && self.0.state.swap(DOWN, Ordering::Relaxed) != DOWN {
                    tracing::error!(%error, "Kafka does not answer: new requests get 503 until it does; check the brokers and kafka.bootstrap_servers");
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
