//! The correlation table: which reply belongs to whom. Part of the router's state, and of no other's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::ReplyResult;
use crate::proxy::admission::in_flight::Queue;
use crate::proxy::routing::topics::Topic;
use crate::wire::{CorrelationId, RawRecord};

/// One request in flight.
pub struct Waiting {
    pub id: CorrelationId,
    pub request_topic: Arc<Topic>,
    pub reply_topic: Arc<Topic>,
    pub sent: Instant,
    pub deadline: Instant,
    pub queue: Arc<Queue>,
    pub reply_tx: oneshot::Sender<ReplyResult>,
}

impl Waiting {
    /// Err of the send: the client left meanwhile.
    pub fn answer(self, result: ReplyResult) {
        let _ = self.reply_tx.send(result);
    }
}

/// One entry for each request in flight, by `CorrelationId::low64`; the whole id is compared on a match.
#[derive(Default)]
pub struct Pending(HashMap<u64, Waiting>);

impl Pending {
    /// Registers a request.
    ///
    /// # Errors
    /// 62 random bits met twice among those in flight: the second must be refused, or two answers would be mixed up.
    pub fn register(&mut self, waiting: Waiting) -> Result<(), Waiting> {
        use std::collections::hash_map::Entry;
        match self.0.entry(waiting.id.low64()) {
            Entry::Occupied(_) => Err(waiting),
            Entry::Vacant(place) => {
                place.insert(waiting);
                Ok(())
            }
        }
    }

    /// Gives a reply to whom it belongs, which its queue hears of; false: nobody waits for it any more. Never gives a client its
    /// own request, which lies among the replies where somebody named one topic for both.
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

    /// Takes out those that `ends` says end.
    pub fn extract(&mut self, ends: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let ended = self.0.extract_if(|_, waiting| ends(waiting));
        ended.map(|(_, waiting)| waiting).collect()
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
    use crate::proxy::routing::topics::Topics;
    use crate::settings::{self, Mode};

    #[test]
    fn a_request_is_not_its_own_answer() {
        let settings = settings::load(Mode::Proxy, &[], &Default::default()).unwrap().settings;
        let metrics = ProxyMetrics::register(&Default::default()).unwrap();
        let topics = Topics::new(&settings.proxy, &settings.create_topics, metrics);
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
