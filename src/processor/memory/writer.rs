//! From a mark to Kafka's acknowledgement of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::kafka::codes::CodeClass;
use crate::processor::memory::restore::Restorer;
use crate::processor::record::logged_once::LoggedOnce;
use crate::processor::record::outbox::{Outbox, TOPIC_PATIENCE};
use crate::processor::record::reply_topics::Destination;
use crate::processor::record::topic_lookup::Needs;
use crate::wire::Record;

/// Wait before a record that Kafka did not take is sent again.
const RESEND_AFTER: Duration = Duration::from_millis(500);

/// The record is larger than its topic takes.
#[derive(Debug)]
pub struct TooLarge;

/// Writes to the memory of one topic.
pub struct Writer {
    outbox: Arc<Outbox>,
    pub topic: Arc<str>,
    /// Creates the memory where it is gone.
    restorer: Arc<Restorer>,
    trouble_logged: LoggedOnce,
}

impl Writer {
    pub fn new(outbox: Arc<Outbox>, restorer: Arc<Restorer>) -> Self {
        Writer {
            outbox,
            topic: restorer.topic.clone(),
            restorer,
            trouble_logged: LoggedOnce::default(),
        }
    }

    /// Bytes of the largest record that the memory takes.
    pub fn limit(&self) -> usize {
        self.outbox.limits.of(&self.topic)
    }

    /// Sends a record until Kafka has it, since its request would run again otherwise; returns its offset.
    ///
    /// # Errors
    /// No topic takes a record so large.
    pub async fn write(&self, partition: i32, record: &Record) -> Result<i64, TooLarge> {
        if record.encoded_size() > self.limit() {
            return Err(TooLarge);
        }
        let (mut was_too_large, began) = (false, Instant::now());
        loop {
            let code = match self.outbox.deliver(&self.topic, partition, record).await {
                Ok(offset) => return Ok(offset),
                Err(code) => code,
            };
            let class = CodeClass::from(code);
            match class {
                // A batch is refused as a whole: this record may only have been in it.
                CodeClass::TooLarge if was_too_large => return Err(TooLarge),
                CodeClass::TooLarge => {
                    was_too_large = true;
                    self.outbox.limits.ask_again();
                }
                class if class.is_not_found() => self.look_up().await,
                _ => {}
            }
            let is_fault = class.is_final() || (class.is_not_found() && began.elapsed() >= TOPIC_PATIENCE);
            if is_fault && self.trouble_logged.is_first() {
                tracing::error!(topic = %self.topic, partition, %code,
                    "an answer cannot be remembered, so its client waits: check that the topic may be written (said once)");
            } else {
                tracing::debug!(topic = %self.topic, partition, %code, "an answer is not remembered yet");
            }
            actix::clock::sleep(RESEND_AFTER).await;
        }
    }

    /// Looks up the memory, which Kafka did not know, and creates it where that is allowed.
    async fn look_up(&self) {
        let look_up = async || {
            let restorer = self.restorer.clone();
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || restorer.ensure()).await {
                tracing::debug!(%error, "memory not found");
            }
        };
        let needs = Needs::BegunAfter(Instant::now());
        self.outbox.lookup.run(&self.topic, needs, look_up).await;
    }

    /// Sends a record that may be lost.
    pub fn write_unheeded(&self, partition: i32, record: &Record) {
        let destination = Destination {
            topic: self.topic.clone(),
            partition: Some(partition),
            writer: None,
        };
        self.outbox.send_unheeded(&destination, record);
    }
}
