//! Where the present router is found: by handlers, for each request, and by the producer, for records that Kafka did not take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use actix::Recipient;
use prometheus::IntGauge;
use tokio::sync::watch;

use super::messages::{Drain, Forget, Forward, Progress, RequestLost};
use crate::kafka::producer::{Delivered, DeliveryListener};
use crate::wire::CorrelationId;

/// The ticket of control records: no `CorrelationId::low64` is 0.
pub(super) const CONTROL_TICKET: usize = 0;

/// A published router. Shared in an `Arc`: cloning a recipient allocates.
pub struct RouterHandle {
    /// Counts the routers of this process, from 1. Set by the supervisor.
    pub generation: u64,
    /// Every warm-up topic is read. Written by the router whenever a topic opens or goes.
    positioned: Arc<AtomicBool>,
    forward: Recipient<Forward>,
    forget: Recipient<Forget>,
    progress: Recipient<Progress>,
    lost: Recipient<RequestLost>,
    drain: Recipient<Drain>,
}

impl RouterHandle {
    pub(super) fn new<A>(router: A, generation: u64, positioned: Arc<AtomicBool>) -> Self
    where
        A: Clone
            + Into<Recipient<Forward>>
            + Into<Recipient<Forget>>
            + Into<Recipient<Progress>>
            + Into<Recipient<RequestLost>>
            + Into<Recipient<Drain>>,
    {
        RouterHandle {
            generation,
            positioned,
            forward: router.clone().into(),
            forget: router.clone().into(),
            progress: router.clone().into(),
            lost: router.clone().into(),
            drain: router.into(),
        }
    }

    /// Replies to what is sent now are not missed.
    pub fn is_positioned(&self) -> bool {
        self.positioned.load(Ordering::Acquire)
    }

    /// The actor has not ended.
    pub fn is_alive(&self) -> bool {
        self.forward.connected()
    }

    /// Sends a request on its way.
    pub fn forward(&self, request: Forward) {
        self.forward.do_send(request);
    }

    /// Lets go of a request that nobody waits for any more.
    pub fn forget(&self, id: CorrelationId) {
        self.forget.do_send(Forget(id));
    }

    /// The client has taken some of the answer that comes in pieces.
    pub fn progress(&self, id: CorrelationId) {
        self.progress.do_send(Progress(id));
    }

    /// Ends every request that the router still has; returns how many there were.
    pub async fn drain(&self) -> usize {
        // Err: the router has ended, and with it all that waited.
        self.drain.send(Drain).await.unwrap_or(0)
    }
}

/// Where handlers find the router; `None`: there is none that is positioned.
pub struct RouterSlot {
    published: watch::Sender<Option<Arc<RouterHandle>>>,
    /// The only generation that may be published; 0: none. Written by the supervisor, so that a router which was given up and wakes
    /// again stays unpublished.
    current: AtomicU64,
}

impl Default for RouterSlot {
    fn default() -> Self {
        RouterSlot {
            published: watch::Sender::new(None),
            current: AtomicU64::new(0),
        }
    }
}

impl RouterSlot {
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<RouterHandle>>> {
        self.published.subscribe()
    }

    /// From now on only this generation may be published.
    pub fn begin(&self, generation: u64) {
        self.current.store(generation, Ordering::Release);
    }

    /// There is no router.
    pub fn withdraw(&self) {
        self.current.store(0, Ordering::Release);
        self.published.send_replace(None);
    }

    /// True the first time it publishes this router.
    pub(super) fn publish(&self, router: RouterHandle) -> bool {
        self.published.send_if_modified(|published| {
            let first = published.is_none() && self.current.load(Ordering::Acquire) == router.generation;
            if first {
                *published = Some(Arc::new(router));
            }
            first
        })
    }
}

/// Tells the router of records that Kafka did not take.
pub struct LostRequests {
    router: watch::Receiver<Option<Arc<RouterHandle>>>,
    pending: IntGauge,
    lingering: IntGauge,
}

impl LostRequests {
    /// `pending` is the gauge of requests that wait for a reply, `lingering` that of clients whose batches linger.
    pub fn new(slot: &RouterSlot, pending: &IntGauge, lingering: &IntGauge) -> Self {
        LostRequests {
            router: slot.subscribe(),
            pending: pending.clone(),
            lingering: lingering.clone(),
        }
    }
}

impl DeliveryListener for LostRequests {
    /// `CorrelationId::low64`, or `CONTROL_TICKET`.
    type Ticket = usize;

    fn in_flight(&self) -> usize {
        self.pending.get().max(0) as usize
    }

    fn lingers(&self, lingers: bool) {
        self.lingering.add(if lingers { 1 } else { -1 });
    }

    fn delivered(&self, ticket: usize, outcome: Delivered) {
        if ticket == CONTROL_TICKET {
            // What matters is written again, and the check of topics finds a missing right.
            if let Err(why) = outcome {
                tracing::debug!(code = %why.code, "Kafka did not take a control record");
            }
            return;
        }
        if let (Err(why), Some(router)) = (outcome, &*self.router.borrow()) {
            router.lost.do_send(RequestLost {
                key: ticket as u64,
                why,
            });
        }
    }
}
