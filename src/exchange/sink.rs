//! Where the records go: to whoever watches, on the thread where the request ended.

use std::sync::Arc;

use crate::exchange::record::Exchange;
use crate::exchange::trace::Sampler;

/// Whoever watches the requests of this process.
pub trait Watcher: Send + Sync {
    /// Whether it is told of this one. Where nobody wants a record, none is kept.
    fn wants(&self, exchange: &Exchange) -> bool;

    /// A request has ended. Called on the threads that requests are carried on: it must not wait, and must be quick.
    fn ended(&self, exchange: &Arc<Exchange>);
}

/// Takes the records of a process. Clones share it.
#[derive(Clone, Default)]
pub struct Exchanges {
    watchers: Arc<Watchers>,
    sampler: Option<Sampler>,
}

#[derive(Default)]
struct Watchers {
    shows_queries: bool,
    all: Vec<Arc<dyn Watcher>>,
}

impl Exchanges {
    /// Tells these. `shows_queries`: the queries of paths are not masked.
    pub fn new(watchers: Vec<Arc<dyn Watcher>>, shows_queries: bool) -> Self {
        let watchers = Watchers {
            shows_queries,
            all: watchers,
        };
        Exchanges {
            watchers: Arc::new(watchers),
            sampler: None,
        }
    }

    /// The same with traces, which this sampler decides about.
    pub fn traced(self, sampler: Sampler) -> Self {
        Exchanges {
            sampler: Some(sampler),
            ..self
        }
    }

    /// What decides which traces are recorded; `None`: traces are off.
    pub fn sampler(&self) -> Option<Sampler> {
        self.sampler
    }

    /// Whether the queries of paths are shown.
    pub fn shows_queries(&self) -> bool {
        self.watchers.shows_queries
    }

    /// Whether anybody watches. Where nobody does, no text is kept.
    pub fn is_watched(&self) -> bool {
        !self.watchers.all.is_empty()
    }

    pub(super) fn ended(&self, exchange: &Arc<Exchange>) {
        let watchers = self.watchers.all.iter().filter(|watcher| watcher.wants(exchange));
        watchers.for_each(|watcher| watcher.ended(exchange));
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
