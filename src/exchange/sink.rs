//! Where the records go: to whoever watches, on the thread where the request ended.

use std::sync::Arc;

use crate::exchange::record::Exchange;

/// Whoever watches the requests of this process.
pub trait Watcher: Send + Sync {
    /// Whether it is told of this one. Where nobody wants a record, none is kept.
    fn wants(&self, exchange: &Exchange) -> bool;

    /// A request has ended. Called on the threads that requests are carried on: it must not wait, and must be quick.
    fn ended(&self, exchange: &Arc<Exchange>);
}

/// Takes the records of a process. Clones share it.
#[derive(Clone, Default)]
pub struct Exchanges(Arc<Watchers>);

#[derive(Default)]
struct Watchers {
    shows_queries: bool,
    all: Vec<Arc<dyn Watcher>>,
}

impl Exchanges {
    /// Tells these. `shows_queries`: the queries of paths are not masked.
    pub fn new(watchers: Vec<Arc<dyn Watcher>>, shows_queries: bool) -> Self {
        Exchanges(Arc::new(Watchers {
            shows_queries,
            all: watchers,
        }))
    }

    /// Whether the queries of paths are shown.
    pub fn shows_queries(&self) -> bool {
        self.0.shows_queries
    }

    pub(super) fn ended(&self, exchange: Box<Exchange>) {
        let mut watchers = self.0.all.iter().filter(|watcher| watcher.wants(&exchange));
        let Some(first) = watchers.next() else {
            return;
        };
        let others: Vec<_> = watchers.collect();
        let exchange = Arc::from(exchange);
        first.ended(&exchange);
        others.iter().for_each(|watcher| watcher.ended(&exchange));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::exchange::record::Ending;
    use crate::exchange::role::Role;
    use crate::exchange::under_way::UnderWay;

    /// Counts what it is told, and wants failures only.
    #[derive(Default)]
    struct Failures(AtomicUsize);

    impl Watcher for Failures {
        fn wants(&self, exchange: &Exchange) -> bool {
            exchange.ending.is_failure()
        }

        fn ended(&self, _: &Arc<Exchange>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_request_is_told_once_however_it_ends() {
        let (one, other) = (Arc::new(Failures::default()), Arc::new(Failures::default()));
        let exchanges = Exchanges::new(vec![one.clone(), other.clone()], false);
        let mut answered = UnderWay::begin(&exchanges, Role::Proxy);
        answered.ending = Ending::answered(200);
        drop(answered);
        let left = UnderWay::begin(&exchanges, Role::Proxy);
        drop(std::thread::spawn(move || left).join().unwrap());
        let panicked = UnderWay::begin(&exchanges, Role::Processor);
        let work = std::panic::AssertUnwindSafe(move || {
            let _panicked = panicked;
            std::panic::resume_unwind(Box::new("at work"));
        });
        assert!(std::panic::catch_unwind(work).is_err());
        assert_eq!((one.0.load(Ordering::Relaxed), other.0.load(Ordering::Relaxed)), (2, 2));
    }
}
