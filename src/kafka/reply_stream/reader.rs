//! The thread that reads replies, finds those of this instance, and hands them over in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;
use tokio::sync::mpsc;

use super::{ReplyRecord, StrangerCounters};
use crate::kafka::client::context::LogOnly;
use crate::kafka::record::{header, raw_record};
use crate::wire::{CorrelationId, headers, json};

/// Records read, at most, for one item handed over: enough to batch under load, little enough that a batch is handled in well under a
/// millisecond.
const BATCH: usize = 256;
const POLL: Duration = Duration::from_millis(100);

/// The thread's side.
pub(super) struct Reader {
    pub(super) consumer: Arc<BaseConsumer<LogOnly>>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) tag: u16,
    pub(super) strangers: StrangerCounters,
    /// The last record's topic, so that its name is not allocated for each.
    pub(super) topic: Arc<str>,
}

impl Reader {
    pub(super) fn run(mut self, batches: &mpsc::Sender<Vec<ReplyRecord>>) {
        while !self.stop.load(Ordering::Relaxed) {
            let mut batch = Vec::new();
            let consumer = self.consumer.clone();
            let mut wait = POLL;
            // Bounded by what is read, too: a long run of strangers must not hold back the replies before it.
            for _ in 0..BATCH {
                match consumer.poll(std::mem::take(&mut wait)) {
                    None => break,
                    Some(Ok(message)) => batch.extend(self.ours(&message)),
                    Some(Err(error)) => {
                        if let Some((code, reason)) = consumer.client().fatal_error() {
                            tracing::error!(%code, reason, "the reply consumer is beyond repair: the reply router is replaced, and its client with it");
                            // librdkafka 2.12.1 never gets done with destroying such a client: its main thread spins.
                            std::mem::forget(consumer);
                            return;
                        }
                        // It heals by itself, but for a refused right, which the look at the topics finds.
                        tracing::debug!(%error, "reply consumer error");
                    }
                }
            }
            if !batch.is_empty() && !self.hand_over(batch, batches) {
                return;
            }
        }
    }

    /// The reply, where it answers a request of this instance; the others' bodies are not even copied.
    fn ours(&mut self, message: &BorrowedMessage<'_>) -> Option<ReplyRecord> {
        let Some(id) = correlation_id(message) else {
            self.strangers.unmatched.inc();
            return None;
        };
        // A request that was given up has the id of one, and would be taken for its answer.
        if header(message, headers::DLT_ORIGINAL_TOPIC.as_bytes(), |_| ()).is_some() {
            self.strangers.unmatched.inc();
            return None;
        }
        if id.tag() != self.tag {
            self.strangers.foreign.inc();
            return None;
        }
        if &*self.topic != message.topic() {
            self.topic = Arc::from(message.topic());
        }
        Some(ReplyRecord {
            id,
            record: raw_record(message, &self.topic),
        })
    }

    /// False: the router is gone. Waits by turns, not for good: a frozen router must not keep this thread for ever.
    fn hand_over(&self, mut batch: Vec<ReplyRecord>, batches: &mpsc::Sender<Vec<ReplyRecord>>) -> bool {
        loop {
            match batches.try_send(batch) {
                Ok(()) => return true,
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
                Err(mpsc::error::TrySendError::Full(back)) => batch = back,
            }
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

/// Looks where each format has it. The value is parsed only where no header names an id, as in no record of ours.
fn correlation_id(message: &BorrowedMessage<'_>) -> Option<CorrelationId> {
    let named = |name: &str| header(message, name.as_bytes(), CorrelationId::from_bytes);
    let in_envelope = || CorrelationId::from_bytes(&json::envelope_id(message.payload()?)?);
    named(headers::KAFKA_CORRELATION_ID)
        .or_else(|| named(headers::CORRELATION_ID))
        .unwrap_or_else(in_envelope)
}
