//! One client of a producer, replaced when librdkafka declares it dead.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use super::delivery::DeliveryListener;
use super::gated_client::GatedClient;
use super::outgoing::Outgoing;
use crate::kafka::codes::CodeClass;

/// The wait before a second replacement; each further one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait. A client that lived longer than this is replaced at once.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A client that lived so long without the error that its predecessor died of does not meet it: it has long been connected, and asked for
/// the id that Kafka refused.
const SETTLED: Duration = Duration::from_secs(10);

/// A client under an exchangeable pointer, with the configuration its successors get.
pub(super) struct Lane<L: DeliveryListener> {
    config: ClientConfig,
    listener: Arc<L>,
    current: ArcSwap<GatedClient<L>>,
    /// The last replacement, and what its predecessor died of. Written by `heal` alone. `None`: the first client has never been replaced.
    replaced: ArcSwapOption<(Replacement, RDKafkaErrorCode)>,
}

impl<L: DeliveryListener> Lane<L> {
    /// Starts a client and its polling thread.
    ///
    /// # Errors
    /// librdkafka refuses the configuration, or the operating system has no thread left.
    pub(super) fn start(config: ClientConfig, listener: Arc<L>) -> KafkaResult<Self> {
        let client = GatedClient::start(&config, listener.clone())?;
        Ok(Lane {
            config,
            listener,
            current: ArcSwap::from_pointee(client),
            replaced: ArcSwapOption::empty(),
        })
    }

    pub(super) fn client(&self) -> Arc<GatedClient<L>> {
        self.current.load_full()
    }

    pub(super) fn send(&self, record: Outgoing<L::Ticket>) {
        self.current.load().send(record);
    }

    /// See `Producer::is_stuck`.
    pub(super) fn is_stuck(&self) -> bool {
        self.current.load().is_stuck()
    }

    /// Records held back, queued or under way.
    pub(super) fn queued(&self) -> usize {
        self.current.load().queued()
    }

    /// Waits until all is delivered; false when `until` came first. Blocks.
    pub(super) fn flush(&self, until: Instant) -> bool {
        self.client().flush(until)
    }

    /// Why nothing can be sent; see `Producer::refusal`.
    pub(super) fn refusal(&self) -> Option<RDKafkaErrorCode> {
        let met = self.current.load().fatal_error().map(|(code, _)| code);
        refusal(met, self.replaced.load().as_deref(), Instant::now())
    }

    /// Replaces a client that met a fatal error; the records it held are reported as failed. Where the fatal error comes back soon, each
    /// replacement waits longer than the one before. Blocks for half a second when it replaces. Not to be called twice at a time.
    pub(super) fn heal(&self) {
        let dead = self.client();
        let Some((code, reason)) = dead.fatal_error() else {
            return;
        };
        let now = Instant::now();
        let last = self.replaced.load_full();
        let Some(replacement) = Replacement::after(last.as_deref().map(|(last, _)| last), now) else {
            return;
        };
        self.replaced.store(Some(Arc::new((replacement, code))));
        match GatedClient::start(&self.config, self.listener.clone()) {
            Ok(fresh) => {
                self.current.store(Arc::new(fresh));
                let next_wait = replacement.wait.as_secs();
                tracing::warn!(event = "kafka", %code, reason, next_wait, "Kafka producer met a fatal error and was replaced");
                dead.retire();
            }
            Err(error) => {
                tracing::error!(%error, "Kafka producer met a fatal error and cannot be replaced; trying again");
            }
        }
    }
}

/// When a client was last replaced, and how long its successor has to live to be replaced at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Replacement {
    at: Instant,
    wait: Duration,
}

impl Replacement {
    /// The replacement that may be made `now`; `None`: not yet.
    fn after(last: Option<&Replacement>, now: Instant) -> Option<Self> {
        let wait = match last {
            Some(last) if now < last.at + last.wait => return None,
            Some(last) if now < last.at + LONGEST_WAIT + last.wait => (last.wait * 2).min(LONGEST_WAIT),
            _ => FIRST_WAIT,
        };
        Some(Replacement { at: now, wait })
    }
}

/// What a client has `met`, or, where Kafka refused its predecessor, that until it has `SETTLED`.
fn refusal(
    met: Option<RDKafkaErrorCode>,
    last: Option<&(Replacement, RDKafkaErrorCode)>,
    now: Instant,
) -> Option<RDKafkaErrorCode> {
    let before = || {
        let (replacement, code) = last?;
        let is_refused = CodeClass::from(*code) == CodeClass::Denied;
        (is_refused && now < replacement.at + SETTLED).then_some(*code)
    };
    met.or_else(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_client_is_not_well_before_its_successor_has_settled() {
        let began = Instant::now();
        let replaced = |code| {
            let wait = FIRST_WAIT;
            (Replacement { at: began, wait }, code)
        };
        let denied = RDKafkaErrorCode::ClusterAuthorizationFailed;
        let at = |second| began + Duration::from_secs(second);
        assert_eq!(refusal(None, None, began), None);
        assert_eq!(refusal(Some(denied), None, began), Some(denied));
        assert_eq!(refusal(None, Some(&replaced(denied)), at(9)), Some(denied));
        assert_eq!(refusal(None, Some(&replaced(denied)), at(10)), None);
        // What passes with a new client has passed.
        let lost = RDKafkaErrorCode::OutOfOrderSequenceNumber;
        assert_eq!(refusal(None, Some(&replaced(lost)), began), None);
        assert_eq!(refusal(Some(lost), Some(&replaced(lost)), began), Some(lost));
    }

    #[test]
    fn a_fatal_error_that_comes_back_waits_longer_each_time() {
        let began = Instant::now();
        let mut last = Replacement::after(None, began).expect("the first is replaced at once");
        let mut replaced = vec![0];
        for second in 1..=300 {
            if let Some(next) = Replacement::after(Some(&last), began + Duration::from_secs(second)) {
                replaced.push(second);
                last = next;
            }
        }
        assert_eq!(replaced, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
    }

    #[test]
    fn a_client_that_lived_long_is_replaced_at_once() {
        let began = Instant::now();
        let last = Replacement {
            at: began,
            wait: Duration::from_secs(16),
        };
        let later = began + LONGEST_WAIT + Duration::from_secs(17);
        let next = Replacement::after(Some(&last), later).expect("at once");
        assert_eq!(next.wait, FIRST_WAIT);
    }
}
