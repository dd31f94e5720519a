//! From a request's end to the keeper: a bounded channel that nobody waits at.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use prometheus::{IntCounter, Registry};

use crate::exchange::{Exchange, Watcher};
use crate::metrics::register;

/// Requests that ended and were not taken in yet: those of a turn at 80,000 a second.
pub const ENDED: usize = 8192;

/// Takes in the requests that ended, from whatever thread.
pub struct Recorder {
    ended: Sender<Arc<Exchange>>,
    dropped: IntCounter,
}

impl Watcher for Recorder {
    fn wants(&self, _: &Exchange) -> bool {
        true
    }

    fn ended(&self, exchange: &Arc<Exchange>) {
        if let Err(TrySendError::Full(_)) = self.ended.try_send(exchange.clone()) {
            self.dropped.inc();
        }
    }
}

/// What the thread reads, before it is started.
pub struct Inbox {
    pub ended: Receiver<Arc<Exchange>>,
}

/// The two ends of the way from a request's end to the keeper.
///
/// # Errors
/// The metric's name is taken.
pub fn recorder(registry: &Registry) -> prometheus::Result<(Recorder, Inbox)> {
    let (sender, ended) = bounded(ENDED);
    let dropped = IntCounter::new(
        "console_dropped_requests_total",
        "Ended requests that the console did not take in, since there were too many at once",
    )?;
    let dropped = register(registry, dropped)?;
    Ok((Recorder { ended: sender, dropped }, Inbox { ended }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Role;

    #[test]
    fn a_full_inbox_drops_and_counts() {
        let (recorder, inbox) = recorder(&Registry::new()).unwrap();
        let exchange = Arc::new(Exchange::begin(Role::Proxy));
        assert!(recorder.wants(&exchange));
        (0..ENDED + 3).for_each(|_| recorder.ended(&exchange));
        assert_eq!((inbox.ended.len(), recorder.dropped.get()), (ENDED, 3));
    }
}
