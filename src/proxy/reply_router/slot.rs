//! Where the present router is found: by handlers, per request, and by the producer, for records that Kafka did not take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use actix::Addr;
use tokio::sync::watch;

use super::{ReplyRouter, RequestLost};
use crate::kafka::producer::{Delivered, DeliveryListener};

/// A published router: what handlers send to, and which generation of it. Shared: an `Addr` is not cloned without allocations.
pub struct RouterHandle {
    pub addr: Addr<ReplyRouter>,
    pub generation: u64,
    /// Every warm-up topic is read.
    pub positioned: Arc<AtomicBool>,
}

impl RouterHandle {
    /// Replies to what is sent now are not missed.
    pub fn is_positioned(&self) -> bool {
        self.positioned.load(Ordering::Acquire)
    }
}

/// Where handlers find the router; `None` = there is none that is positioned.
pub struct RouterSlot {
    published: watch::Sender<Option<Arc<RouterHandle>>>,
    /// The generation that may be published: one that was given up and wakes again must not be.
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
pub struct LostRequests(pub watch::Receiver<Option<Arc<RouterHandle>>>);

impl DeliveryListener for LostRequests {
    /// `CorrelationId::low64`.
    type Ticket = usize;

    fn delivered(&self, ticket: usize, outcome: Delivered) {
        if let (Err(why), Some(router)) = (outcome, &*self.0.borrow()) {
            router.addr.do_send(RequestLost {
                key: ticket as u64,
                why,
            });
        }
    }
}
