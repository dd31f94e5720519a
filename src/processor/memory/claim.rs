//! The right to run a request, and what is remembered of its end.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::processor::memory::identity::Identity;
use crate::processor::memory::index::{Entry, KeyId};
use crate::processor::memory::metrics::TopicMemoryMetrics;
use crate::processor::memory::partition::PartitionMemory;
use crate::processor::memory::writer::Writer;
use crate::wire::idempotency::memory::{Known, Mark, Remembered, Stored};
use crate::wire::{Record, Response, Sealing, now_ms};

/// Room for what the size of a record without a body does not show: the digits of lengths.
const SLACK: usize = 64;

/// The right to run a request. Dropped without a word, it frees the key; at most once, the key stays begun.
pub struct Claim {
    pub memory: Rc<PartitionMemory>,
    pub writer: Rc<Writer>,
    pub metrics: TopicMemoryMetrics,
    pub identity: Identity,
    /// Set where the request was sealed.
    pub sealing: Option<Arc<Sealing>>,
    /// Tells those that wait.
    pub ends: watch::Sender<Option<Rc<Response>>>,
    /// It was written that it began.
    pub is_begun: bool,
}

impl Claim {
    /// At most once: writes that the request is begun, before it is. If nothing is heard of its end, it is not begun again.
    pub async fn begin(&mut self) {
        self.is_begun = true;
        self.write(Known::Begun, None).await;
    }

    /// The request was certainly not executed, or its end is not to be remembered.
    pub fn free(self) {
        if !self.is_begun {
            return;
        }
        // Where this is lost, the next request hears that the outcome is unknown, which is true of what Kafka knows.
        let mark = self.mark(Known::Free);
        if let Some(record) = mark.encode(None, None, &self.writer.topic) {
            self.writer.write_unheeded(self.memory.number, &record);
        }
        self.memory.written(KeyId::of(&self.identity.key), None, now_ms());
    }

    /// Remembers an answer that is kept, and returns once Kafka has it; frees the key where it is not kept (false).
    pub async fn remember(self, answer: &Response) -> bool {
        if !self.identity.store.keeps(answer.status) {
            self.free();
            return false;
        }
        self.write(Known::Answered, Some(answer.clone().into())).await;
        self.metrics.remembered.inc();
        self.ends.send_replace(Some(Rc::new(answer.clone())));
        true
    }

    /// Bytes of a body that a record with this answer takes, of the memory as of a topic that takes `record` bytes.
    pub fn room_for(&self, head: &Response, record: usize) -> usize {
        let head = Response {
            body: Bytes::new(),
            ..head.clone()
        };
        let mark = self.mark(Known::Answered);
        let empty = mark.encode(Some(head.into()), self.sealing.as_deref(), &self.writer.topic);
        let room = |empty: Record| {
            record
                .min(self.writer.limit())
                .checked_sub(empty.encoded_size() + SLACK)
        };
        empty.and_then(room).unwrap_or_default()
    }

    /// Remembers an answer whose body lies elsewhere, and returns once Kafka has that. Those that wait for it read it from there.
    pub async fn remember_stored(self, answer: Response, stored: Stored) {
        let stored = Some(stored);
        self.write(Known::TooLarge, Some(Remembered { answer, stored })).await;
        self.metrics.remembered.inc();
    }

    /// Remembers that there was an answer which is not kept, since no record takes it.
    pub async fn remember_too_large(self) {
        self.write(Known::TooLarge, None).await;
        self.metrics.remembered.inc();
    }

    async fn write(&self, known: Known, answer: Option<Remembered>) {
        let partition = self.memory.number;
        let (mut mark, mut answer) = (self.mark(known), answer);
        loop {
            let is_answer = answer.is_some();
            let encoded = mark.encode(answer.take(), self.sealing.as_deref(), &self.writer.topic);
            let written = match &encoded {
                Some(record) => self.writer.write(partition, record).await.ok(),
                None => None,
            };
            if let Some(offset) = written {
                let entry = Entry::new(&mark, partition, offset);
                return self.memory.written(KeyId::of(&self.identity.key), entry, now_ms());
            }
            if !is_answer {
                // A mark alone is too large for no topic: its limit is below a few hundred bytes.
                tracing::error!(topic = %self.writer.topic, partition, "the memory takes no records: a request may run again");
                return;
            }
            mark.known = Known::TooLarge;
        }
    }

    fn mark(&self, known: Known) -> Mark {
        let ttl_ms = i64::try_from(self.identity.ttl_ms).unwrap_or(i64::MAX);
        Mark {
            key: self.identity.key.clone(),
            fingerprint: self.identity.fingerprint,
            known,
            expires_ms: now_ms().saturating_add(ttl_ms),
            partitions: self.memory.partitions(),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.memory.ended(KeyId::of(&self.identity.key));
    }
}
