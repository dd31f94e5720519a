//! One Kafka client of a producer with its polling thread, and the gate through which it is given its records.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::util::Timeout;

use super::{Context, Delivered, DeliveryListener, not_sent};
use crate::kafka::client::properties;
use crate::kafka::producer::gate::Gate;
use crate::kafka::producer::outgoing::Outgoing;

/// How long a batch is waited for. So often the polling thread looks whether one takes longer.
const PATIENCE: Duration = Duration::from_millis(50);

/// One client with its polling thread, and what it is given bit by bit.
pub(super) struct Running<L: DeliveryListener> {
    pub(super) client: Arc<BaseProducer<Context<Gated<L>>>>,
    gated: Arc<Gated<L>>,
    stop: Arc<AtomicBool>,
    polling: Option<JoinHandle<()>>,
}

/// Between a client's reports and their listener: the last one of a batch opens the gate for the next.
pub struct Gated<L: DeliveryListener> {
    listener: Arc<L>,
    gate: Gate<Outgoing<L::Ticket>>,
    /// Set once: the client, which owns its context and with it this.
    client: OnceLock<Weak<BaseProducer<Context<Gated<L>>>>>,
}

impl<L: DeliveryListener> Gated<L> {
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
        // None: the client is going, and `Running` reports what is held.
        let Some(client) = self.client.get().and_then(Weak::upgrade) else {
            return;
        };
        self.gate.release(|record| {
            if let Err((code, ticket)) = record.produce(client.client()) {
                self.gate.reported();
                self.listener.delivered(ticket, not_sent(code));
            }
        });
    }
}

impl<L: DeliveryListener> DeliveryListener for Gated<L> {
    type Ticket = L::Ticket;

    fn delivered(&self, ticket: L::Ticket, outcome: Delivered) {
        self.listener.delivered(ticket, outcome);
        if self.gate.reported() {
            self.release();
        }
    }
}

impl<L: DeliveryListener> Running<L> {
    /// # Errors
    /// librdkafka refuses the configuration.
    pub(super) fn start(config: &ClientConfig, listener: Arc<L>) -> KafkaResult<Self> {
        let gated = Arc::new(Gated {
            listener,
            gate: Gate::new(properties::max_batch(config), PATIENCE, properties::max_queued(config)),
            client: OnceLock::new(),
        });
        let client = Arc::new(BaseProducer::from_config_and_context(config, Context(gated.clone()))?);
        // Err: it was set already, which it was not.
        let _ = gated.client.set(Arc::downgrade(&client));
        let stop = Arc::new(AtomicBool::new(false));
        let (polled, opened, stopped) = (client.clone(), gated.clone(), stop.clone());
        let poll = move || {
            while !stopped.load(Ordering::Relaxed) {
                polled.poll(PATIENCE);
                // What is held behind a batch that is not acknowledged in time.
                opened.release();
            }
        };
        let polling = std::thread::Builder::new()
            .name("khp-producer".into())
            .spawn(poll)
            .map_err(|error| KafkaError::ClientCreation(format!("no thread for the producer: {error}")))?;
        Ok(Running {
            client,
            gated,
            stop,
            polling: Some(polling),
        })
    }

    /// Lets it go, once nobody is in the midst of a send: whoever drops it last waits for its thread and its last reports, which an Arbiter
    /// must not. Blocks.
    pub(super) fn retire(self: Arc<Self>) {
        while Arc::strong_count(&self) > 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(super) fn send(&self, record: Outgoing<L::Ticket>) {
        self.gated.send(record);
    }

    /// Records held back, queued or under way.
    pub(super) fn queued(&self) -> usize {
        self.client.in_flight_count().max(0) as usize + self.gated.gate.held()
    }

    /// Waits until all is delivered; false when `timeout` passed first.
    pub(super) fn flush(&self, timeout: Timeout) -> bool {
        let until = match timeout {
            Timeout::After(timeout) => Instant::now().checked_add(timeout),
            Timeout::Never => None,
        };
        // What is held follows as soon as what is under way is through; librdkafka knows of that alone.
        while !self.gated.gate.is_idle() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return false;
            }
            // Err: the time is over, as is found above.
            let _ = self.client.flush(left.map_or(PATIENCE, |left| left.min(PATIENCE)));
        }
        true
    }
}

impl<L: DeliveryListener> Drop for Running<L> {
    /// What it was given and could not deliver is reported as failed, by the client as it goes.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Err: it panicked, which the panic hook has told.
        let _ = self.polling.take().map(JoinHandle::join);
        while let Some(record) = self.gated.gate.take() {
            let gone = not_sent(RDKafkaErrorCode::PurgeQueue);
            self.gated.listener.delivered(record.into_ticket(), gone);
        }
    }
}
