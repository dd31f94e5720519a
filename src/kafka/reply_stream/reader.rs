//! The thread that reads replies, finds those of this instance, and hands them over in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::IntCounter;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;
use tokio::sync::mpsc;

use crate::kafka::client::context::LogOnly;
use crate::kafka::record::{header, raw_record};
use crate::wire::{CorrelationId, RawRecord, headers, json};

/// The most records read for one batch: enough to batch under load, and few enough that the router handles a batch in well under a
/// millisecond.
const BATCH: usize = 256;
/// How long one poll waits; `stop` is seen that often.
const POLL: Duration = Duration::from_millis(100);

/// A reply to a request of this instance.
#[derive(Debug)]
pub struct ReplyRecord {
    pub id: CorrelationId,
    pub record: RawRecord,
}

/// Counts of replies that are not ours to give.
#[derive(Clone)]
pub struct StrangerCounters {
    /// Another instance's: normal where a partition is shared.
    pub foreign: IntCounter,
    /// Without a readable correlation id.
    pub unmatched: IntCounter,
}

/// What the thread works with.
pub(super) struct Reader {
    pub(super) consumer: Arc<BaseConsumer<LogOnly>>,
    pub(super) stop: Arc<AtomicBool>,
    /// Of this instance's correlation ids.
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
            // Strangers count as well: a long run of them must not hold back the replies read before it.
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
                        // It heals by itself, but for a missing right, which the check of topics finds.
                        tracing::debug!(%error, "reply consumer error");
                    }
                }
            }
            if !batch.is_empty() && !self.hand_over(batch, batches) {
                return;
            }
        }
    }

    /// The reply, if it answers a request of this instance. Nothing of other records is copied.
    fn ours(&mut self, message: &BorrowedMessage<'_>) -> Option<ReplyRecord> {
        let Some(id) = correlation_id(message) else {
            self.strangers.unmatched.inc();
            return None;
        };
        // A dead letter carries its request's correlation id; do not take it for the reply.
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

    /// False: the router is gone. It waits in short turns and looks at `stop` between them: a frozen router must not keep this thread for
    /// ever.
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

/// The id from where each format has it. The value is parsed only if no header names an id; records of our own format have one.
fn correlation_id(message: &BorrowedMessage<'_>) -> Option<CorrelationId> {
    let named = |name: &str| header(message, name.as_bytes(), CorrelationId::from_bytes);
    let in_envelope = || CorrelationId::from_bytes(&json::envelope_id(message.payload()?)?);
    named(headers::KAFKA_CORRELATION_ID)
        .or_else(|| named(headers::CORRELATION_ID))
        .unwrap_or_else(in_envelope)
}
