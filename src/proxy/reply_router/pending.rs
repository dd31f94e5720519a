//! The correlation table: which reply belongs to whom. Part of the router's state, and of no other's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::messages::ReplyResult;
use crate::proxy::admission::in_flight::Queue;
use crate::proxy::routing::topics::KnownTopic;
use crate::wire::{CorrelationId, RawRecord};

/// One request in flight.
pub struct Waiting {
    pub id: CorrelationId,
    pub request_topic: Arc<KnownTopic>,
    pub reply_topic: Arc<KnownTopic>,
    /// Where its record says that the reply is awaited.
    pub awaited: Awaited,
    /// When its record was given to the producer.
    pub sent: Instant,
    pub deadline: Instant,
    /// Counts whether the request was answered.
    pub queue: Arc<Queue>,
    /// Takes the reply. Closed once the client has left.
    pub reply_tx: oneshot::Sender<ReplyResult>,
}

/// Where a request says that its reply is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// It has no field for that (json).
    Anywhere,
    /// On any partition of its reply topic.
    OnTopic,
    /// On this one.
    OnPartition(i32),
}

/// What became of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completed {
    /// The request that waited for it has it.
    Given,
    /// Nobody waits for it any more.
    Late,
    /// Its request waits for it on another topic or partition.
    Misplaced,
    /// Nothing shows that who wrote it may answer.
    NotBelieved,
}

impl Waiting {
    fn awaits(&self, record: &RawRecord) -> bool {
        let topic = record.topic == self.reply_topic.name;
        match self.awaited {
            Awaited::Anywhere => true,
            Awaited::OnTopic => topic,
            Awaited::OnPartition(partition) => topic && record.partition == partition,
        }
    }

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

    /// Gives a reply to the request that waits for it there, and counts that in its queue. A record that was read from the request topic
    /// is no reply: where a client names one topic for both, its own request lies among the replies. `open` takes the seal off; without
    /// that the request goes on to wait.
    pub fn complete(
        &mut self,
        id: CorrelationId,
        record: RawRecord,
        open: impl FnOnce(&Waiting, RawRecord) -> Option<RawRecord>,
    ) -> Completed {
        let key = id.low64();
        let is_its_reply = |waiting: &&Waiting| waiting.id == id && waiting.request_topic.name != record.topic;
        let Some(waiting) = self.0.get(&key).filter(is_its_reply) else {
            return Completed::Late;
        };
        if !waiting.awaits(&record) {
            return Completed::Misplaced;
        }
        let Some(record) = open(waiting, record) else {
            return Completed::NotBelieved;
        };
        if let Some(waiting) = self.remove(key) {
            waiting.queue.answered(waiting.sent.elapsed());
            waiting.answer(Ok(record));
        }
        Completed::Given
    }

    /// The repliers of this topic turned out to ignore the partition that requests name.
    pub fn await_on_any_partition(&mut self, topic: &str) {
        for waiting in self
            .0
            .values_mut()
            .filter(|waiting| &*waiting.reply_topic.name == topic)
        {
            if let Awaited::OnPartition(_) = waiting.awaited {
                waiting.awaited = Awaited::OnTopic;
            }
        }
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

    /// A table with one request, which awaits its reply on `common-responses`.
    fn one(awaited: Awaited) -> (Pending, CorrelationId, oneshot::Receiver<ReplyResult>) {
        let settings = settings::load(Mode::Proxy, &[], &Default::default()).unwrap().settings;
        let metrics = ProxyMetrics::register(&Default::default()).unwrap();
        let topics = KnownTopics::new(&settings.proxy, &settings.create_topics, None, metrics);
        let known = |name: &str| topics.configured(name).unwrap();
        let (request_topic, reply_topic) = (known("common-requests"), known("common-responses"));
        let (mut pending, id) = (Pending::default(), CorrelationId::new(7));
        let (reply_tx, reply_rx) = oneshot::channel();
        let waiting = Waiting {
            id,
            queue: request_topic.load.queue(settings.proxy.default_timeout),
            request_topic,
            reply_topic,
            awaited,
            sent: Instant::now(),
            deadline: Instant::now(),
            reply_tx,
        };
        assert!(pending.register(waiting).is_ok());
        (pending, id, reply_rx)
    }

    fn complete(pending: &mut Pending, id: CorrelationId, record: RawRecord) -> Completed {
        pending.complete(id, record, |_, record| Some(record))
    }

    fn record(topic: &str, partition: i32) -> RawRecord {
        RawRecord {
            partition,
            ..RawRecord::empty(&topic.into())
        }
    }

    #[test]
    fn a_request_is_not_its_own_answer() {
        let (mut pending, id, mut reply_rx) = one(Awaited::OnTopic);
        assert_eq!(
            complete(&mut pending, id, record("common-requests", 0)),
            Completed::Late
        );
        assert!(reply_rx.try_recv().is_err() && pending.len() == 1, "it still waits");
        assert_eq!(
            complete(&mut pending, id, record("common-responses", 0)),
            Completed::Given
        );
        assert_eq!(&*reply_rx.try_recv().unwrap().unwrap().topic, "common-responses");
        assert_eq!(
            complete(&mut pending, id, record("common-responses", 0)),
            Completed::Late
        );
    }

    #[test]
    fn a_reply_counts_only_where_its_request_awaits_it() {
        use Completed::{Given, Misplaced};
        for (awaited, elsewhere, other_partition) in [
            (Awaited::OnPartition(3), Misplaced, Misplaced),
            (Awaited::OnTopic, Misplaced, Given),
            (Awaited::Anywhere, Given, Given),
        ] {
            let (mut pending, id, _reply_rx) = one(awaited);
            assert_eq!(
                complete(&mut pending, id, record("other-responses", 3)),
                elsewhere,
                "{awaited:?}"
            );
            let (mut pending, id, _reply_rx) = one(awaited);
            let now = complete(&mut pending, id, record("common-responses", 4));
            assert_eq!(now, other_partition, "{awaited:?}");
            if now == Misplaced {
                assert_eq!(
                    complete(&mut pending, id, record("common-responses", 3)),
                    Given,
                    "it still waits"
                );
            }
        }
    }

    #[test]
    fn a_reply_that_is_not_believed_leaves_its_request_waiting() {
        let (mut pending, id, mut reply_rx) = one(Awaited::OnTopic);
        let now = pending.complete(id, record("common-responses", 0), |_, _| None);
        assert_eq!((now, pending.len()), (Completed::NotBelieved, 1));
        let opened = |waiting: &Waiting, record| {
            assert_eq!(&*waiting.request_topic.name, "common-requests");
            Some(RawRecord { offset: 7, ..record })
        };
        assert_eq!(
            pending.complete(id, record("common-responses", 0), opened),
            Completed::Given
        );
        assert_eq!(reply_rx.try_recv().unwrap().unwrap().offset, 7);
    }

    #[test]
    fn a_replier_that_ignores_the_partition_is_let_off_it() {
        let (mut pending, id, _reply_rx) = one(Awaited::OnPartition(3));
        pending.await_on_any_partition("other-responses");
        assert_eq!(
            complete(&mut pending, id, record("common-responses", 4)),
            Completed::Misplaced
        );
        pending.await_on_any_partition("common-responses");
        assert_eq!(
            complete(&mut pending, id, record("other-responses", 3)),
            Completed::Misplaced
        );
        assert_eq!(
            complete(&mut pending, id, record("common-responses", 4)),
            Completed::Given
        );
    }
}
