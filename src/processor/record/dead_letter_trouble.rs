//! Whether Kafka takes dead letters. While it does not, records wait for it, and readiness says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rdkafka::error::RDKafkaErrorCode;

/// How many dead letters Kafka does not take at present. Clones share the count.
#[derive(Clone, Default)]
pub struct DeadLetterTrouble(Arc<AtomicUsize>);

/// One dead letter that Kafka does not take; counted until this is dropped.
pub struct Trouble(DeadLetterTrouble);

impl DeadLetterTrouble {
    /// Counts one more; the first is logged.
    pub fn begin(&self, topic: &str, code: RDKafkaErrorCode) -> Trouble {
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!(event = "rights", topic, %code, "dead letter topic cannot be written; records wait for it: create it or grant the right");
        }
        Trouble(self.clone())
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
