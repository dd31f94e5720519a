//! The correlation table: which reply belongs to whom. Part of the router's state, and of no other's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::messages::ReplyResult;
use crate::proxy::admission::in_flight::Queue;
use crate::proxy::routing::topics::KnownTopic;
use crate::wire::{CorrelationId, RawRecord};

/// One request in flight. Never changed once it is registered.
pub struct Waiting {
    pub id: CorrelationId,
    pub request_topic: Arc<KnownTopic>,
    pub reply_topic: Arc<KnownTopic>,
    /// When its record was given to the producer.
    pub sent: Instant,
    pub deadline: Instant,
    /// Counts whether the request was answered.
    pub queue: Arc<Queue>,
    /// Takes the reply. Closed once the client has left.
    pub reply_tx: oneshot::Sender<ReplyResult>,
}

impl Waiting {
    /// Ends the request. A failed send means that the client has left.
    pub fn answer(self, result: ReplyResult) {
        let _ = self.reply_tx.send(result);
    }
}

/// One entry for each request in flight, by `CorrelationId::low64`. On a match the whole id is compared.
#[derive(Default)]
pub struct Pending(HashMap<u64, Waiting>);

impl Pending {
    /// Registers a request.
    ///
    /// # Errors
    /// Another request in flight has the same key, by chance. The second must be refused, or the two answers would be mixed up.
    pub fn register(&mut self, waiting: Waiting) -> Result<(), Waiting> {
        use std::collections::hash_map::Entry;
        match self.0.entry(waiting.id.low64()) {
            Entry::Occupied(_) => Err(waiting),
            Entry::Vacant(entry) => {
                entry.insert(waiting);
                Ok(())
            }
        }
    }

    /// Gives a reply to the request that waits for it, and counts that in its queue. False: nobody waits for it any more. A record that
    /// was read from the request topic is no reply: where a client names one topic for both, its own request lies among the replies.
    pub fn complete(&mut self, id: CorrelationId, record: RawRecord) -> bool {
        let key = id.low64();
        let is_its_reply = |waiting: &Waiting| waiting.id == id && waiting.request_topic.name != record.topic;
        if !self.0.get(&key).is_some_and(is_its_reply) {
            return false;
        }
        let Some(waiting) = self.remove(key) else {
            return false;
        };
        waiting.queue.answered(waiting.sent.elapsed());
        waiting.answer(Ok(record));
        true
    }

    /// Takes an entry out; its request waits until it is answered.
    pub fn remove(&mut self, key: u64) -> Option<Waiting> {
        self.0.remove(&key)
    }

    /// Takes out all entries for which `ends` is true.
    pub fn extract(&mut self, ends: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let ended = self.0.extract_if(|_, waiting| ends(waiting));
        ended.map(|(_, waiting)| waiting).collect()
    }

    /// Whether `is` is true of an entry.
    pub fn any(&self, is: impl Fn(&Waiting) -> bool) -> bool {
        self.0.values().any(is)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::metrics::ProxyMetrics;
    use crate::proxy::routing::topics::KnownTopics;
    use crate::settings::{self, Mode};

    #[test]
    fn a_request_is_not_its_own_answer() {
        let settings = settings::load(Mode::Proxy, &[], &Default::default()).unwrap().settings;
        let metrics = ProxyMetrics::register(&Default::default()).unwrap();
        let topics = KnownTopics::new(&settings.proxy, &settings.create_topics, None, metrics);
        let known = |name: &str| topics.configured(name).unwrap();
        let (request_topic, reply_topic) = (known("common-requests"), known("common-responses"));
        let (mut pending, id) = (Pending::default(), CorrelationId::new(7));
        let (reply_tx, mut reply_rx) = oneshot::channel();
        let waiting = Waiting {
            id,
            request_topic: request_topic.clone(),
            reply_topic: reply_topic.clone(),
            sent: Instant::now(),
            deadline: Instant::now(),
            queue: request_topic.load.queue(settings.proxy.default_timeout),
            reply_tx,
        };
        assert!(pending.register(waiting).is_ok());
        assert!(!pending.complete(id, RawRecord::empty(&request_topic.name)));
        assert!(reply_rx.try_recv().is_err() && pending.len() == 1, "it still waits");
        assert!(pending.complete(id, RawRecord::empty(&reply_topic.name)));
        assert_eq!(reply_rx.try_recv().unwrap().unwrap().topic, reply_topic.name);
    }
}
