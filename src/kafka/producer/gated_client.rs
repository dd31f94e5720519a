//! One librdkafka client of a producer, with its polling thread and the gate that forms its batches.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};

use super::delivery::{Context, Delivered, DeliveryListener, not_sent};
use crate::kafka::client::properties;
use crate::kafka::producer::gate::Gate;
use crate::kafka::producer::outgoing::Outgoing;
use crate::kafka::producer::reports::Reports;

/// How long the gate waits for a batch. The polling thread checks as often whether one takes longer.
const PATIENCE: Duration = Duration::from_millis(50);
/// An acknowledgement takes milliseconds. One that takes so long waits for a broker that does not answer.
const STUCK: Duration = Duration::from_secs(3);

/// A running client. Dropping it ends its thread.
pub(super) struct GatedClient<L: DeliveryListener> {
    pub(super) client: Arc<BaseProducer<Context<Feed<L>>>>,
    feed: Arc<Feed<L>>,
    stop: Arc<AtomicBool>,
    polling: Option<JoinHandle<()>>,
}

/// Feeds records to a client through the gate, and stands between the client's reports and their listener: the last report of a batch
/// lets the next batch go.
pub struct Feed<L: DeliveryListener> {
    listener: Arc<L>,
    gate: Gate<Outgoing<L::Ticket>>,
    /// The client that is fed. Set once; weak, because the client owns its context, and the context owns this.
    client: OnceLock<Weak<BaseProducer<Context<Feed<L>>>>>,
}

impl<L: DeliveryListener> Feed<L> {
    fn send(&self, record: Outgoing<L::Ticket>) {
        let bytes = record.bytes();
        match self.gate.hold(record, bytes) {
            Ok(()) => self.release(),
            Err(record) => {
                let full = not_sent(RDKafkaErrorCode::QueueFull);
                self.listener.delivered(record.into_ticket(), full);
            }
        }
    }

    fn release(&self) {
        // None: the client is being dropped, and `GatedClient::drop` reports what is held.
        let Some(client) = self.client.get().and_then(Weak::upgrade) else {
            return;
        };
        self.gate.release(self.listener.in_flight(), |record| {
            if let Err((code, ticket)) = record.produce(client.client()) {
                self.gate.reported();
                self.listener.delivered(ticket, not_sent(code));
            }
        });
    }
}

impl<L: DeliveryListener> DeliveryListener for Feed<L> {
    type Ticket = L::Ticket;

    fn delivered(&self, ticket: L::Ticket, outcome: Delivered) {
        if outcome.is_ok() {
            self.gate.acknowledged();
        }
        self.listener.delivered(ticket, outcome);
        if self.gate.reported() {
            self.release();
        }
    }
}

impl<L: DeliveryListener> GatedClient<L> {
    /// # Errors
    /// librdkafka refuses the configuration.
    pub(super) fn start(config: &ClientConfig, listener: Arc<L>) -> KafkaResult<Self> {
        let feed = Arc::new(Feed {
            listener,
            gate: Gate::new(properties::max_batch(config), PATIENCE, properties::max_queued(config)),
            client: OnceLock::new(),
        });
        let client = Arc::new(BaseProducer::from_config_and_context(config, Context(feed.clone()))?);
        // Err: it was set already, which it was not.
        let _ = feed.client.set(Arc::downgrade(&client));
        let stop = Arc::new(AtomicBool::new(false));
        let (polled, opened, stopped) = (client.clone(), feed.clone(), stop.clone());
        let poll = move || {
            let reports = Reports::to_this_thread(polled.client());
            while !stopped.load(Ordering::Relaxed) {
                if reports.is_empty() {
                    std::thread::park_timeout(opened.gate.opens_in().unwrap_or(PATIENCE));
                }
                polled.poll(Duration::ZERO);
                // Records may be held behind a batch that was not acknowledged in time.
                opened.release();
            }
        };
        let polling = std::thread::Builder::new()
            .name("khp-producer".into())
            .spawn(poll)
            .map_err(|error| KafkaError::ClientCreation(format!("no thread for the producer: {error}")))?;
        Ok(GatedClient {
            client,
            feed,
            stop,
            polling: Some(polling),
        })
    }

    /// Waits until no send uses it any more, then drops it. Dropping waits for the thread and the last reports, which an Arbiter must not do.
    /// Blocks.
    pub(super) fn retire(self: Arc<Self>) {
        while Arc::strong_count(&self) > 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(super) fn send(&self, record: Outgoing<L::Ticket>) {
        self.feed.send(record);
    }

    /// Kafka takes nothing of what is under way.
    pub(super) fn is_stuck(&self) -> bool {
        self.feed.gate.is_stuck(STUCK)
    }

    /// Records held back, queued or under way.
    pub(super) fn queued(&self) -> usize {
        self.client.in_flight_count().max(0) as usize + self.feed.gate.held()
    }

    /// Waits until all is delivered; false when `until` came first. Blocks.
    pub(super) fn flush(&self, until: Instant) -> bool {
        // librdkafka's own flush knows only what was handed over; what the gate holds follows after that.
        while !self.feed.gate.is_idle() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            // Err: the time is over, as is found above.
            let _ = self.client.flush(left.min(PATIENCE));
        }
        true
    }
}

impl<L: DeliveryListener> Drop for GatedClient<L> {
    /// Records that the client holds are reported as failed by librdkafka, those at the gate by us.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(polling) = self.polling.take() {
            polling.thread().unpark();
            // Err: it panicked, and the panic hook logged that.
            let _ = polling.join();
        }
        while let Some(record) = self.feed.gate.take() {
            let gone = not_sent(RDKafkaErrorCode::PurgeQueue);
            self.feed.listener.delivered(record.into_ticket(), gone);
        }
    }
}
