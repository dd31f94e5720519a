//! One librdkafka client of a producer, with its polling thread and the gate that forms its batches; under load with a second one, whose
//! batches linger.

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
use crate::kafka::producer::gate::{Batch, Gate};
use crate::kafka::producer::linger::Linger;
use crate::kafka::producer::outgoing::Outgoing;
use crate::kafka::producer::reports::Reports;

/// How long the gate waits for a batch. The polling thread checks as often whether one takes longer.
const PATIENCE: Duration = Duration::from_millis(50);
/// An acknowledgement takes milliseconds. One that takes so long waits for a broker that does not answer.
const STUCK: Duration = Duration::from_secs(3);

type Client<L> = BaseProducer<Context<Feed<L>>>;

/// A running client. Dropping it ends its thread.
pub(super) struct GatedClient<L: DeliveryListener> {
    pub(super) client: Arc<Client<L>>,
    /// The client whose batches linger. Started when they first should, and kept. Beside the other, since librdkafka takes no change of a
    /// running client.
    lingering: Arc<OnceLock<Arc<Client<L>>>>,
    feed: Arc<Feed<L>>,
    stop: Arc<AtomicBool>,
    polling: Option<JoinHandle<()>>,
}

/// Feeds records to a client through the gate, and stands between the client's reports and their listener: the last report of a batch
/// lets the next batch go.
pub struct Feed<L: DeliveryListener> {
    listener: Arc<L>,
    gate: Gate<Outgoing<L::Ticket>>,
    linger: Linger,
    /// The client that is fed. Set once; weak, because the client owns its context, and the context owns this.
    client: OnceLock<Weak<Client<L>>>,
    /// As `client`: the one whose batches linger.
    lingering: OnceLock<Weak<Client<L>>>,
    /// The present batch goes to `lingering`.
    lingers: AtomicBool,
}

impl<L: DeliveryListener> Feed<L> {
    fn new(config: &ClientConfig, listener: Arc<L>) -> Self {
        Feed {
            listener,
            gate: Gate::new(properties::max_batch(config), PATIENCE, properties::max_queued(config)),
            linger: Linger::default(),
            client: OnceLock::new(),
            lingering: OnceLock::new(),
            lingers: AtomicBool::new(false),
        }
    }

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
        self.gate.release(
            |batch| self.begin(&batch),
            |record| {
                let lingering = self.lingers.load(Ordering::Relaxed).then_some(&self.lingering);
                let lingering = lingering.and_then(|lingering| lingering.get()?.upgrade());
                let client = lingering.as_ref().unwrap_or(&client);
                if let Err((code, ticket)) = record.produce(client.client()) {
                    self.gate.reported();
                    self.listener.delivered(ticket, not_sent(code));
                }
            },
        );
    }

    /// Chooses the client of a batch. Another one than before only if nothing is under way, or records of a partition would overtake each
    /// other.
    fn begin(&self, batch: &Batch) {
        self.linger
            .handed_over(batch.items, batch.since_last, self.listener.in_flight());
        if batch.is_alone {
            let lingers = self.linger.is_worth_it() && self.lingering.get().is_some();
            self.set_lingers(lingers);
        }
    }

    fn set_lingers(&self, lingers: bool) {
        if self.lingers.swap(lingers, Ordering::Relaxed) != lingers {
            self.listener.lingers(lingers);
        }
    }
}

/// A client, and what wakes the thread that polls it.
struct Polled<L: DeliveryListener> {
    // First, since it must not outlive the client.
    reports: Reports,
    client: Arc<Client<L>>,
}

impl<L: DeliveryListener> Polled<L> {
    fn by_this_thread(client: Arc<Client<L>>) -> Self {
        Polled {
            reports: Reports::to_this_thread(client.client()),
            client,
        }
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
        let feed = Arc::new(Feed::new(config, listener));
        let client = Arc::new(BaseProducer::from_config_and_context(config, Context(feed.clone()))?);
        // Err: it was set already, which it was not.
        let _ = feed.client.set(Arc::downgrade(&client));
        let (lingering, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (polled, fed, kept, stopped) = (client.clone(), feed.clone(), Arc::clone(&lingering), stop.clone());
        let mut to_start = properties::lingering(config);
        let poll = move || {
            let mut clients = vec![Polled::by_this_thread(polled)];
            while !stopped.load(Ordering::Relaxed) {
                if clients.iter().all(|polled| polled.reports.is_empty()) {
                    std::thread::park_timeout(PATIENCE);
                }
                for polled in &clients {
                    polled.client.poll(Duration::ZERO);
                }
                if fed.linger.is_worth_it()
                    && let Some(config) = to_start.take()
                {
                    clients.extend(start_lingering(&config, &fed, &kept).map(Polled::by_this_thread));
                }
                // Records may be held behind a batch that was not acknowledged in time.
                fed.release();
            }
        };
        let polling = std::thread::Builder::new()
            .name("khp-producer".into())
            .spawn(poll)
            .map_err(|error| KafkaError::ClientCreation(format!("no thread for the producer: {error}")))?;
        Ok(GatedClient {
            client,
            lingering,
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

    /// The fatal error of a client, and its reason.
    pub(super) fn fatal_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.clients().find_map(|client| client.client().fatal_error())
    }

    /// Records held back, queued or under way.
    pub(super) fn queued(&self) -> usize {
        let queued = self.clients().map(|client| client.in_flight_count().max(0) as usize);
        queued.sum::<usize>() + self.feed.gate.held()
    }

    fn clients(&self) -> impl Iterator<Item = &Arc<Client<L>>> {
        [&self.client].into_iter().chain(self.lingering.get())
    }

    /// Waits until all is delivered; false when `until` came first. Blocks.
    pub(super) fn flush(&self, until: Instant) -> bool {
        // librdkafka's own flush knows only what was handed over; what the gate holds follows after that.
        while !self.feed.gate.is_idle() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            for client in self.clients() {
                // Err: the time is over, as is found above.
                let _ = client.flush(left.min(PATIENCE));
            }
        }
        true
    }
}

/// Starts the client whose batches linger; `None`: there is none, and they do not.
fn start_lingering<L: DeliveryListener>(
    config: &ClientConfig,
    feed: &Arc<Feed<L>>,
    kept: &OnceLock<Arc<Client<L>>>,
) -> Option<Arc<Client<L>>> {
    let client = BaseProducer::from_config_and_context(config, Context(feed.clone())).inspect_err(
        |error| tracing::warn!(%error, "no client whose batches linger: a busy producer takes more CPU time"),
    );
    let client = Arc::new(client.ok()?);
    // Err: they were set already, which they were not.
    let _ = kept.set(client.clone());
    let _ = feed.lingering.set(Arc::downgrade(&client));
    Some(client)
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
        self.feed.set_lingers(false);
    }
}
