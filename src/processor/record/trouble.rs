//! What a worker tells operators about, once or as long as it lasts, instead of with every record.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;

/// How many dead letters Kafka does not take: while there are any, readiness says so, since intake comes to a stop.
#[derive(Clone, Default)]
pub struct DeadLetterTrouble(Arc<AtomicUsize>);

/// One of them; over when dropped.
pub struct Trouble(DeadLetterTrouble);

impl DeadLetterTrouble {
    pub fn begin(&self, topic: &str, code: RDKafkaErrorCode) -> Trouble {
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!(topic, %code, "dead letter topic cannot be written; records wait for it: create it or grant the right");
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

/// Faults that repeat with every record and are said once.
#[derive(Default)]
pub struct Once {
    undeliverable: AtomicBool,
    refused_reply_topic: AtomicBool,
    clock: AtomicBool,
}

impl Once {
    pub fn undeliverable(&self, topic: &str, code: RDKafkaErrorCode) {
        if !self.undeliverable.swap(true, Ordering::Relaxed) {
            tracing::error!(topic, %code, "replies cannot be delivered; their clients get 504: check that the topic exists and may be written (said once)");
        }
    }
    pub fn refused_reply_topic(&self, named: &str, instead: &str) {
        if !self.refused_reply_topic.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                named,
                instead,
                "a request names a reply topic that is not allowed; see allowed_reply_topics (said once)"
            );
        }
    }
    pub fn clock(&self, late: Duration) {
        if !self.clock.swap(true, Ordering::Relaxed) {
            let seconds = late.as_secs_f32();
            tracing::warn!(
                seconds,
                "a record without a backlog claims to be expired: the clocks of proxy and processor differ; it is executed (said once)"
            );
        }
    }
}
