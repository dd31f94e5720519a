//! The thread that reads replies, finds those of this instance, and hands them over in batches.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::mpsc;

use crate::kafka::client::context::LogOnly;
use crate::kafka::detour::{Detour, Step};
use crate::kafka::fetch_queue::{FetchQueue, Place, high_watermark, seek};
use crate::kafka::record::Fetched;
use crate::wire::beside::InstanceId;
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

/// Which records are replies to this instance.
pub struct OwnReplies {
    /// Of this instance's correlation ids.
    pub tag: u16,
    /// Bytes of one record.
    pub max_record: usize,
    pub strangers: StrangerCounters,
    /// Takes the processes that show that they live. One that does not fit is dropped: they show it again and again.
    pub alive: mpsc::Sender<InstanceId>,
}

/// Counts of what is no reply to give.
#[derive(Clone)]
pub struct StrangerCounters {
    /// Another instance's: normal where a partition is shared.
    pub foreign: IntCounter,
    /// Without a readable correlation id.
    pub unmatched: IntCounter,
    /// Larger than is taken.
    pub oversized: IntCounter,
    /// Batches that cannot be unpacked.
    pub poisoned: IntCounter,
}

/// What the thread works with.
pub(super) struct Reader {
    pub(super) consumer: Arc<BaseConsumer<LogOnly>>,
    /// The records of all partitions.
    pub(super) fetched: Arc<FetchQueue<LogOnly>>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) own: OwnReplies,
    /// By topic and partition: batches that cannot be unpacked.
    pub(super) detours: HashMap<(String, i32), Detour>,
    /// The last record's topic, so that its name is not allocated for each.
    pub(super) topic: Arc<str>,
}

impl Reader {
    pub(super) fn run(mut self, batches: &mpsc::Sender<Vec<ReplyRecord>>) {
        while !self.stop.load(Ordering::Relaxed) {
            let mut batch = Vec::new();
            let (consumer, fetched) = (self.consumer.clone(), self.fetched.clone());
            // Callbacks, and what is of the whole client.
            while let Some(event) = consumer.poll(Duration::ZERO) {
                match event {
                    Ok(message) => batch.extend(self.take(Fetched::from(&message))),
                    Err(error) => {
                        if let Some((code, reason)) = consumer.client().fatal_error() {
                            tracing::error!(%code, reason, "the reply consumer is beyond repair: the reply router is replaced, and its client with it");
                            // librdkafka 2.12.1 never gets done with destroying such a client: its main thread spins.
                            std::mem::forget(consumer);
                            std::mem::forget(fetched);
                            return;
                        }
                        // It heals by itself, but for a missing right, which the check of topics finds.
                        tracing::debug!(%error, "reply consumer error");
                    }
                }
            }
            let mut wait = POLL;
            // Strangers count as well: a long run of them must not hold back the replies read before it.
            for _ in 0..BATCH {
                match fetched.poll(std::mem::take(&mut wait), |record| self.take(record)) {
                    None => break,
                    Some(Ok(reply)) => batch.extend(reply),
                    Some(Err(error)) => match error.unreadable() {
                        Some(place) => self.unreadable(place),
                        None => tracing::debug!(error = %error.error, "reply consumer error"),
                    },
                }
            }
            self.nothing_came();
            if !batch.is_empty() && !self.hand_over(batch, batches) {
                return;
            }
        }
    }

    /// The reply, if it answers a request of this instance, and no search for the end of a batch found it.
    fn take(&mut self, message: Fetched<'_>) -> Option<ReplyRecord> {
        if !self.detours.is_empty() {
            let place = (message.topic().to_owned(), message.partition());
            match self.detours.get_mut(&place) {
                Some(detour) if detour.is_searching() => {
                    let step = detour.record(Instant::now());
                    self.follow(&place, step);
                    return None;
                }
                Some(_) => drop(self.detours.remove(&place)),
                None => {}
            }
        }
        self.ours(message)
    }

    /// Nothing of other records is copied.
    fn ours(&mut self, message: Fetched<'_>) -> Option<ReplyRecord> {
        let strangers = &self.own.strangers;
        if message.exceeds(self.own.max_record) {
            strangers.oversized.inc();
            return None;
        }
        let Some(id) = correlation_id(message) else {
            match alive(message) {
                Some(instance) => drop(self.own.alive.try_send(instance)),
                None => strangers.unmatched.inc(),
            }
            return None;
        };
        // A dead letter carries its request's correlation id; do not take it for the reply.
        if message.header(headers::DLT_ORIGINAL_TOPIC.as_bytes(), |_| ()).is_some() {
            strangers.unmatched.inc();
            return None;
        }
        if id.tag() != self.own.tag {
            strangers.foreign.inc();
            return None;
        }
        if &*self.topic != message.topic() {
            self.topic = Arc::from(message.topic());
        }
        Some(ReplyRecord {
            id,
            record: message.copy(&self.topic, self.own.max_record).record,
        })
    }

    /// A batch cannot be unpacked. It would be read again and again.
    fn unreadable(&mut self, at: &Place) {
        tracing::debug!(
            topic = at.topic,
            partition = at.partition,
            offset = at.offset,
            "a batch cannot be unpacked"
        );
        let place = (at.topic.clone(), at.partition);
        let Some(detour) = self.detours.get_mut(&place) else {
            self.detours.insert(place, Detour::begin(at.offset));
            return;
        };
        let end = high_watermark(&self.consumer, &at.topic, at.partition);
        let step = detour.failed(at.offset, end, Instant::now());
        self.follow(&place, step);
    }

    fn nothing_came(&mut self) {
        let now = Instant::now();
        let steps = self
            .detours
            .iter_mut()
            .map(|(place, detour)| (place.clone(), detour.nothing(now)));
        for (place, step) in steps.collect::<Vec<_>>() {
            self.follow(&place, step);
        }
    }

    fn follow(&mut self, place: &(String, i32), step: Step) {
        let (topic, partition) = place;
        match step {
            Step::Wait => {}
            Step::Seek(offset) => seek(&self.consumer, topic, *partition, offset),
            Step::Pass(batch) => {
                self.detours.remove(place);
                seek(&self.consumer, topic, *partition, batch.end);
                self.own.strangers.poisoned.inc();
                tracing::error!(
                    topic,
                    partition,
                    first = batch.start,
                    last = batch.end - 1,
                    "a batch of replies cannot be unpacked and is passed over: their clients get 504"
                );
            }
        }
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

/// Who shows with this record that it lives.
fn alive(message: Fetched<'_>) -> Option<InstanceId> {
    message.header(headers::KHP_CONTROL.as_bytes(), |_| ())?;
    message.header(headers::KHP_INSTANCE.as_bytes(), InstanceId::from_bytes)?
}

/// The id from where each format has it. The value is parsed only if no header names an id; records of our own format have one.
fn correlation_id(message: Fetched<'_>) -> Option<CorrelationId> {
    let named = |name: &str| message.header(name.as_bytes(), CorrelationId::from_bytes);
    let in_envelope = || CorrelationId::from_bytes(&json::envelope_id(message.value()?)?);
    named(headers::KAFKA_CORRELATION_ID)
        .or_else(|| named(headers::CORRELATION_ID))
        .unwrap_or_else(in_envelope)
}
