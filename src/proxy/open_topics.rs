//! Topics that are written to by a client of their own: what is known of each. One is opened at a time, so that many requests that come
//! at once ask for it once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::error::RequestError;
use crate::kafka::cluster::admin::TopicError;

/// How long a topic that cannot be used is not tried again.
const FAILED_FOR: Duration = Duration::from_secs(5);
/// Names that are remembered at most. Clients may name topics.
const MOST_NAMES: usize = 1000;

/// The topics. `T` is what is known of one that is open.
pub struct OpenTopics<T> {
    open_for: Duration,
    known: ArcSwap<HashMap<Arc<str>, State<T>>>,
    opening: Semaphore,
}

#[derive(Clone)]
enum State<T> {
    Open(T, Instant),
    /// Kafka did not answer.
    Silent(Instant),
    /// It cannot be used until an operator does something.
    Unusable(RequestError, Instant),
}

impl<T: Clone> State<T> {
    /// What it says to whoever asked then, as long as it counts. That Kafka did not answer counts for those who asked before: they waited
    /// meanwhile, and would wait as long again one after the other.
    fn known(&self, asked: Instant, open_for: Duration) -> Option<Result<T, RequestError>> {
        match self {
            State::Open(topic, since) => (since.elapsed() < open_for).then(|| Ok(topic.clone())),
            State::Silent(at) => (*at >= asked).then_some(Err(RequestError::KafkaUnavailable)),
            State::Unusable(error, since) => (since.elapsed() < FAILED_FOR).then_some(Err(*error)),
        }
    }
}

impl<T: Clone + Send + 'static> OpenTopics<T> {
    /// Each counts as open for so long before Kafka is asked again.
    pub fn new(open_for: Duration) -> Self {
        OpenTopics {
            open_for,
            known: ArcSwap::default(),
            opening: Semaphore::new(1),
        }
    }

    /// What is known of a topic, once it was found by what `ensure` makes, which may block. `unusable` tells an operator why it was not, and
    /// says what clients get meanwhile.
    ///
    /// # Errors
    /// What `unusable` says; `KafkaUnavailable`: Kafka does not answer.
    pub async fn open<F>(
        &self,
        name: &Arc<str>,
        ensure: impl FnOnce() -> F,
        unusable: impl FnOnce(&TopicError) -> RequestError,
    ) -> Result<T, RequestError>
    where
        F: FnOnce() -> Result<T, TopicError> + Send + 'static,
    {
        let asked = Instant::now();
        if let Some(known) = self.known(name, asked) {
            return known;
        }
        // Err: never, it is not closed.
        let _one = self.opening.acquire().await;
        if let Some(known) = self.known(name, asked) {
            return known;
        }
        match tokio::task::spawn_blocking(ensure()).await {
            Ok(Ok(topic)) => {
                self.note(name, State::Open(topic.clone(), Instant::now()));
                return Ok(topic);
            }
            Ok(Err(error)) if !error.passes() => {
                let refusal = unusable(&error);
                self.cannot_be_used(name, refusal);
                return Err(refusal);
            }
            Ok(Err(error)) => tracing::debug!(topic = %name, %error, "topic not opened"),
            // It panicked, and the panic hook has logged it.
            Err(_) => {}
        }
        self.note(name, State::Silent(Instant::now()));
        Err(RequestError::KafkaUnavailable)
    }

    /// Clients get this error for a while.
    pub fn cannot_be_used(&self, name: &Arc<str>, error: RequestError) {
        self.note(name, State::Unusable(error, Instant::now()));
    }

    /// What is known of a topic may be wrong now.
    pub fn forget(&self, name: &str) {
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.remove(name);
            known
        });
    }

    fn known(&self, name: &str, asked: Instant) -> Option<Result<T, RequestError>> {
        self.known.load().get(name)?.known(asked, self.open_for)
    }

    fn note(&self, name: &Arc<str>, state: State<T>) {
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            if known.len() >= MOST_NAMES {
                known.clear();
            }
            known.insert(name.clone(), state.clone());
            known
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waited_for_a_kafka_that_did_not_answer_does_not_wait_again() {
        let asked = Instant::now();
        let known = |state: State<()>, asked| state.known(asked, Duration::MAX);
        let silent = State::Silent(asked + Duration::from_secs(3));
        assert!(matches!(
            known(silent.clone(), asked),
            Some(Err(RequestError::KafkaUnavailable))
        ));
        assert!(
            known(silent, asked + Duration::from_secs(4)).is_none(),
            "who asks later asks Kafka"
        );
        let refused = State::Unusable(RequestError::BodyTooLarge, asked);
        assert!(matches!(
            known(refused, Instant::now()),
            Some(Err(RequestError::BodyTooLarge))
        ));
    }
}
