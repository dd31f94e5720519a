//! Finds the replies to one instance of the proxy.

use std::ops::Range;
use std::sync::Arc;

use prometheus::IntCounter;
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::mpsc;

use super::reader::Selection;
use crate::kafka::config::Purpose;
use crate::kafka::record::Fetched;
use crate::wire::beside::InstanceId;
use crate::wire::control::Control;
use crate::wire::sealing::Binding;
use crate::wire::{CorrelationId, RawRecord, SharedSealing, headers, json};

/// A reply to a request of this instance.
#[derive(Debug)]
pub struct ReplyRecord {
    pub id: CorrelationId,
    pub record: RawRecord,
}

/// Which records are replies to this instance.
pub struct OwnReplies {
    /// Of this instance's correlation ids.
    pub tag: u16,
    /// Bytes of one record.
    pub max_record: usize,
    pub strangers: StrangerCounters,
    /// Opens signs of life. Replies are opened by who knows their requests.
    sealing: SharedSealing,
    /// Takes the processes that show that they live. One that does not fit is dropped: they show it again and again.
    pub alive: mpsc::Sender<InstanceId>,
    /// The last record's topic, so that its name is not allocated for each.
    topic: Arc<str>,
}

/// Counts of what is no reply to give.
#[derive(Clone)]
pub struct StrangerCounters {
    /// Another instance's: normal where a partition is shared.
    pub foreign: IntCounter,
    /// Without a readable correlation id.
    pub unmatched: IntCounter,
    /// Signs of life whose seal does not open.
    pub unbelieved: IntCounter,
    /// Larger than is taken.
    pub oversized: IntCounter,
    /// Batches that cannot be unpacked.
    pub poisoned: IntCounter,
}

impl OwnReplies {
    /// Those whose correlation ids have this tag, of at most so many bytes.
    pub fn new(
        tag: u16,
        max_record: usize,
        strangers: StrangerCounters,
        sealing: SharedSealing,
        alive: mpsc::Sender<InstanceId>,
    ) -> Self {
        OwnReplies {
            tag,
            max_record,
            strangers,
            sealing,
            alive,
            topic: Arc::from(""),
        }
    }

    fn copy(&mut self, message: Fetched<'_>) -> RawRecord {
        if &*self.topic != message.topic() {
            self.topic = Arc::from(message.topic());
        }
        message.copy(&self.topic, self.max_record).record
    }

    /// Without a correlation id, it may be that a process shows that it lives.
    fn take_alive(&mut self, message: Fetched<'_>) {
        if message.header(headers::KHP_CONTROL.as_bytes(), |_| ()).is_none() {
            return self.strangers.unmatched.inc();
        }
        let record = self.copy(message);
        let topic = &self.topic;
        match self.sealing.load().open(&record, Binding::Control { topic }) {
            Ok(opened) => match Control::decode(&opened) {
                Ok(Control::Alive { instance }) => drop(self.alive.try_send(instance)),
                Ok(_) | Err(_) => self.strangers.unmatched.inc(),
            },
            Err(_) => self.strangers.unbelieved.inc(),
        }
    }
}

impl Selection for OwnReplies {
    type Item = ReplyRecord;
    const PURPOSE: Purpose = Purpose::Replies;
    const THREAD: &'static str = "khp-replies";

    /// Nothing of other records is copied.
    fn take(&mut self, message: Fetched<'_>) -> Option<ReplyRecord> {
        if message.exceeds(self.max_record) {
            self.strangers.oversized.inc();
            return None;
        }
        let Some(id) = correlation_id(message) else {
            self.take_alive(message);
            return None;
        };
        // A dead letter carries its request's correlation id; do not take it for the reply.
        if message.header(headers::DLT_ORIGINAL_TOPIC.as_bytes(), |_| ()).is_some() {
            self.strangers.unmatched.inc();
            return None;
        }
        if id.tag() != self.tag {
            self.strangers.foreign.inc();
            return None;
        }
        Some(ReplyRecord {
            id,
            record: self.copy(message),
        })
    }

    fn beyond_repair(&self, code: RDKafkaErrorCode, reason: &str) {
        tracing::error!(%code, reason, "the reply consumer is beyond repair: the reply router is replaced, and its client with it");
    }

    fn passed_over(&self, topic: &str, partition: i32, batch: &Range<i64>) {
        self.strangers.poisoned.inc();
        tracing::error!(
            topic,
            partition,
            first = batch.start,
            last = batch.end - 1,
            "a batch of replies cannot be unpacked and is passed over: their clients get 504"
        );
    }
}

/// The id from where each format has it. The value is parsed only if no header names an id; records of our own format have one.
fn correlation_id(message: Fetched<'_>) -> Option<CorrelationId> {
    let named = |name: &str| message.header(name.as_bytes(), CorrelationId::from_bytes);
    let in_envelope = || CorrelationId::from_bytes(&json::envelope_id(message.value()?)?);
    named(headers::KAFKA_CORRELATION_ID)
        .or_else(|| named(headers::CORRELATION_ID))
        .unwrap_or_else(in_envelope)
}
