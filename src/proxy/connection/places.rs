//! How many connections may be open, in all and of one address. One too many takes the place of the one that was idle longest; where
//! none is idle, it is closed at once. A connection is idle until the head of a request is complete, its TLS handshake included: what a
//! client has only begun costs nobody else a place.
//!
//! Which one was idle longest is known to each thread of the server for its own connections, which come to the threads in turn.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use crate::process::rate::network;
use crate::proxy::metrics::ProxyMetrics;

/// Counts of single clients; two that fall into the same cell share one.
const CELLS: usize = 1 << 16;

/// The limits, and how far they are used up. Clones share them.
#[derive(Clone)]
pub struct ConnectionLimits(Arc<Limits>);

struct Limits {
    open: AtomicUsize,
    max: usize,
    max_per_client: Option<usize>,
    /// Empty without a limit for each.
    clients: Box<[AtomicUsize]>,
    hasher: RandomState,
    metrics: ProxyMetrics,
}

/// The connections of one thread of the server. Clones share them.
#[derive(Clone)]
pub struct Places {
    limits: Arc<Limits>,
    /// Those that are idle, in the order in which they became so.
    idle: Rc<RefCell<BTreeMap<u64, Rc<State>>>>,
    next: Rc<Cell<u64>>,
}

/// The place of one connection; given back on drop.
pub struct Place {
    all: Places,
    state: Rc<State>,
    open: Arc<Open>,
}

/// A connection that is counted for the limits, until this is dropped.
pub struct Open {
    limits: Arc<Limits>,
    client: Option<IpAddr>,
}

struct State {
    client: Option<IpAddr>,
    /// Its key in `idle`, while it is there.
    idle: Cell<Option<u64>>,
    /// Another connection takes its place.
    is_lost: Cell<bool>,
    /// Wakes the connection's task.
    waker: RefCell<Option<Waker>>,
}

impl ConnectionLimits {
    pub fn new(max: usize, max_per_client: Option<usize>, metrics: ProxyMetrics) -> Self {
        let cells = if max_per_client.is_some() { CELLS } else { 0 };
        ConnectionLimits(Arc::new(Limits {
            open: AtomicUsize::new(0),
            max,
            max_per_client,
            clients: std::iter::repeat_with(AtomicUsize::default).take(cells).collect(),
            hasher: RandomState::new(),
            metrics,
        }))
    }

    /// The connections of one thread.
    pub fn of_thread(&self) -> Places {
        Places {
            limits: self.0.clone(),
            idle: Rc::default(),
            next: Rc::default(),
        }
    }

    /// How many connections a thread may have when there are `threads`, with a few more that are refused or make others close.
    pub fn of_each(&self, threads: usize) -> usize {
        const SPARE: usize = 32;
        self.0.max.div_ceil(threads) + SPARE.div_ceil(threads)
    }
}

impl Limits {
    fn cell(&self, client: Option<IpAddr>) -> Option<&AtomicUsize> {
        let hash = self.hasher.hash_one(client.map(network)) as usize;
        self.clients.get(hash.checked_rem(self.clients.len())?)
    }
}

impl Places {
    /// A place for a connection from `client`, which is idle as yet. `None`: there is none.
    pub fn take(&self, client: Option<IpAddr>) -> Option<Place> {
        let limits = &self.limits;
        let open = limits.open.fetch_add(1, Ordering::Relaxed) + 1;
        let of_client = limits
            .cell(client)
            .map_or(0, |cell| cell.fetch_add(1, Ordering::Relaxed) + 1);
        limits.metrics.connections_open.inc();
        let place = Place {
            all: self.clone(),
            state: Rc::new(State {
                client,
                idle: Cell::new(None),
                is_lost: Cell::new(false),
                waker: RefCell::default(),
            }),
            open: Arc::new(Open {
                limits: limits.clone(),
                client,
            }),
        };
        let too_many_of_client = limits.max_per_client.is_some_and(|max| of_client > max);
        let fits = if too_many_of_client {
            self.close_idle(|state| state.client.map(network) == client.map(network))
        } else {
            open <= limits.max || self.close_idle(|_| true)
        };
        if !fits {
            limits.metrics.connections_refused.inc();
            return None;
        }
        place.enter();
        Some(place)
    }

    /// Closes the connection that was idle longest of `which`. False: none is.
    fn close_idle(&self, which: impl Fn(&State) -> bool) -> bool {
        let mut idle = self.idle.borrow_mut();
        let longest = idle.iter().find(|(_, state)| which(state)).map(|(key, _)| *key);
        let Some(state) = longest.and_then(|key| idle.remove(&key)) else {
            return false;
        };
        state.idle.set(None);
        state.is_lost.set(true);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        self.limits.metrics.idle_connections_closed.inc();
        true
    }
}

impl Place {
    /// The connection is idle: it may be closed for another.
    pub fn idle(&self, cx: &Context<'_>) {
        *self.state.waker.borrow_mut() = Some(cx.waker().clone());
        self.enter();
    }

    /// Joins those that are idle, as the one that was so for the shortest time.
    fn enter(&self) {
        if self.state.idle.get().is_none() && !self.is_lost() {
            let key = self.all.next.get();
            self.all.next.set(key + 1);
            self.state.idle.set(Some(key));
            self.all.idle.borrow_mut().insert(key, self.state.clone());
        }
    }

    /// A request's head is complete.
    pub fn busy(&self) {
        if let Some(key) = self.state.idle.take() {
            self.all.idle.borrow_mut().remove(&key);
        }
    }

    /// Another connection takes its place: this one must close.
    pub fn is_lost(&self) -> bool {
        self.state.is_lost.get()
    }

    /// Comes once another connection takes its place. Until then this one is idle.
    pub async fn lost(&self) {
        poll_fn(|cx| match self.is_lost() {
            true => Poll::Ready(()),
            false => {
                self.idle(cx);
                Poll::Pending
            }
        })
        .await;
    }

    /// Counts the connection on, where it is not closed at once. `None`: there are too many for that.
    pub fn linger(&self) -> Option<Arc<Open>> {
        let limits = &self.all.limits;
        (!self.is_lost() && limits.open.load(Ordering::Relaxed) < limits.max).then(|| self.open.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.busy();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let limits = &self.limits;
        if let Some(cell) = limits.cell(self.client) {
            cell.fetch_sub(1, Ordering::Relaxed);
        }
        limits.open.fetch_sub(1, Ordering::Relaxed);
        limits.metrics.connections_open.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max: usize, max_per_client: Option<usize>) -> ConnectionLimits {
        let metrics = ProxyMetrics::register(&prometheus::Registry::new()).unwrap();
        ConnectionLimits::new(max, max_per_client, metrics)
    }

    fn client(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn the_one_that_was_idle_longest_makes_room() {
        let limits = limits(3, None);
        let places = limits.of_thread();
        let cx = Context::from_waker(Waker::noop());
        let all = [1, 2, 3].map(|last| places.take(client(last)).unwrap());
        all.iter().for_each(Place::busy);
        assert!(places.take(client(4)).is_none(), "all are busy");
        assert_eq!(limits.0.metrics.connections_open.get(), 3);
        all[1].idle(&cx);
        all[0].idle(&cx);
        all[1].busy();
        all[1].idle(&cx);
        let new = places.take(client(4)).unwrap();
        new.busy();
        assert!(all[0].is_lost() && !all[1].is_lost());
        let newer = places.take(client(5)).unwrap();
        assert!(all[1].is_lost());
        let newest = places.take(client(6)).unwrap();
        assert!(newer.is_lost(), "nothing of a request has come");
        newest.busy();
        assert!(places.take(client(7)).is_none());
        drop((all, new, newer, newest));
        assert_eq!(limits.0.metrics.connections_open.get(), 0);
        assert_eq!(limits.0.metrics.connections_refused.get(), 2);
    }

    #[test]
    fn one_client_pushes_out_no_other() {
        let limits = limits(100, Some(2));
        let places = limits.of_thread();
        let cx = Context::from_waker(Waker::noop());
        let other = places.take(client(1)).unwrap();
        other.idle(&cx);
        let own = [(); 2].map(|()| places.take(client(2)).unwrap());
        own.iter().for_each(Place::busy);
        assert!(places.take(client(2)).is_none());
        own[1].idle(&cx);
        assert!(places.take(client(2)).is_some());
        assert!(own[1].is_lost() && !other.is_lost());
    }
}
