//! The thread that reads records, chooses those that are wanted, and hands them over in batches.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::mpsc;

use crate::kafka::client::context::LogOnly;
use crate::kafka::config::Purpose;
use crate::kafka::detour::{Detour, Step};
use crate::kafka::fetch_queue::{FetchQueue, Place, high_watermark, seek};
use crate::kafka::record::Fetched;

/// The most records read for one batch: enough to batch under load, and few enough that the router handles a batch in well under a
/// millisecond.
const BATCH: usize = 256;
/// How long one poll waits; `stop` is seen that often.
const POLL: Duration = Duration::from_millis(100);

/// Chooses what a reader hands over.
pub trait Selection: Send + 'static {
    /// What is made of a record that is wanted.
    type Item: Send + 'static;
    /// What topics that are missing are created for.
    const PURPOSE: Purpose;
    /// The name of the reading thread.
    const THREAD: &'static str;
    /// Topics are read from their beginning, and not from their end as it is when they are opened.
    const FROM_START: bool = false;

    /// The record, as it is handed over; `None`: it is not wanted. Nothing of others should be copied.
    fn take(&mut self, message: Fetched<'_>) -> Option<Self::Item>;

    /// The consumer met a fatal error, and its thread ends.
    fn beyond_repair(&self, code: RDKafkaErrorCode, reason: &str);

    /// The batch at these offsets cannot be unpacked, and is passed over.
    fn passed_over(&self, topic: &str, partition: i32, batch: &Range<i64>);
}

/// What the thread works with.
pub(super) struct Reader<S> {
    pub(super) consumer: Arc<BaseConsumer<LogOnly>>,
    /// The records of all partitions.
    pub(super) fetched: Arc<FetchQueue<LogOnly>>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) selection: S,
    /// By topic and partition: batches that cannot be unpacked.
    pub(super) detours: HashMap<(String, i32), Detour>,
}

impl<S: Selection> Reader<S> {
    pub(super) fn run(mut self, batches: &mpsc::Sender<Vec<S::Item>>) {
        while !self.stop.load(Ordering::Relaxed) {
            let mut batch = Vec::new();
            let (consumer, fetched) = (self.consumer.clone(), self.fetched.clone());
            // Callbacks, and what is of the whole client.
            while let Some(event) = consumer.poll(Duration::ZERO) {
                match event {
                    Ok(message) => batch.extend(self.take(Fetched::from(&message))),
                    Err(error) => {
                        if let Some((code, reason)) = consumer.client().fatal_error() {
                            self.selection.beyond_repair(code, &reason);
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

    /// The record, if it is wanted, and no search for the end of a batch found it.
    fn take(&mut self, message: Fetched<'_>) -> Option<S::Item> {
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
        self.selection.take(message)
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
                self.selection.passed_over(topic, *partition, &batch);
            }
        }
    }

    /// False: the receiver is gone. It waits in short turns and looks at `stop` between them: a frozen receiver must not keep this thread
    /// for ever.
    fn hand_over(&self, mut batch: Vec<S::Item>, batches: &mpsc::Sender<Vec<S::Item>>) -> bool {
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
