//! The correlation table: which reply belongs to whom. Part of the router's state, and of no other's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::messages::{Answer, Reply, ReplyResult};
use crate::proxy::admission::in_flight::Queue;
use crate::proxy::routing::topics::KnownTopic;
use crate::proxy::stream::places::Offer;
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
    /// Its record says that it may be answered in pieces.
    pub offer: Option<Offer>,
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

/// Why a reply is given to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotGiven {
    /// Nobody waits for it any more.
    Late,
    /// Its request waits for it on another topic or partition.
    Misplaced,
    /// Nothing shows that who wrote it may answer.
    NotBelieved,
}

impl Waiting {
    /// Ends the request. A failed send means that the client has left.
    pub fn answer(self, result: ReplyResult) {
        let _ = self.reply_tx.send(result);
    }

    /// Ends the request with a reply, and counts that in its queue.
    pub fn reply(self, record: RawRecord) {
        self.queue.answered(self.sent.elapsed());
        let (sent, answer) = (self.sent, Answer::Whole(record));
        self.answer(Ok(Reply { sent, answer }));
    }

    /// The id, for people.
    pub fn id_text(&self) -> String {
        self.id.to_string()
    }

    /// The id as its record has it.
    pub fn id_on_wire(&self) -> Bytes {
        match self.awaited {
            Awaited::Anywhere => self.id.to_string().into(),
            Awaited::OnTopic | Awaited::OnPartition(_) => Bytes::copy_from_slice(&self.id.to_bytes()),
        }
    }
}

impl Awaited {
    /// Whether a reply is awaited where this record was read. `reply_topic` is the one that the request names.
    pub fn takes(self, record: &RawRecord, reply_topic: &Arc<str>) -> bool {
        let topic = record.topic == *reply_topic;
        match self {
            Awaited::Anywhere => true,
            Awaited::OnTopic => topic,
            Awaited::OnPartition(partition) => topic && record.partition == partition,
        }
    }

    /// The replier turned out to ignore the partition that its request names.
    pub fn allow_any_partition(&mut self) {
        if let Awaited::OnPartition(_) = self {
            *self = Awaited::OnTopic;
        }
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

    /// Takes out the request that waits for a reply there, with the reply. A record that was read from the request topic is no reply: where
    /// a client names one topic for both, its own request lies among the replies. `open` takes the seal off; without that the request goes
    /// on to wait.
    ///
    /// # Errors
    /// The reply is given to nobody.
    pub fn claim(
        &mut self,
        id: CorrelationId,
        record: RawRecord,
        open: impl FnOnce(&Waiting, RawRecord) -> Option<RawRecord>,
    ) -> Result<(Waiting, RawRecord), NotGiven> {
        let key = id.low64();
        let is_its_reply = |waiting: &&Waiting| waiting.id == id && waiting.request_topic.name != record.topic;
        let Some(waiting) = self.0.get(&key).filter(is_its_reply) else {
            return Err(NotGiven::Late);
        };
        if !waiting.awaited.takes(&record, &waiting.reply_topic.name) {
            return Err(NotGiven::Misplaced);
        }
        let record = open(waiting, record).ok_or(NotGiven::NotBelieved)?;
        let waiting = self.remove(key).ok_or(NotGiven::Late)?;
        Ok((waiting, record))
    }

    /// The repliers of this topic turned out to ignore the partition that requests name.
    pub fn await_on_any_partition(&mut self, topic: &str) {
        for waiting in self
            .0
            .values_mut()
            .filter(|waiting| &*waiting.reply_topic.name == topic)
        {
            waiting.awaited.allow_any_partition();
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

    /// Whether a request waits.
    pub fn has(&self, id: CorrelationId) -> bool {
        self.0.get(&id.low64()).is_some_and(|waiting| waiting.id == id)
    }

    /// Whether `is` is true of an entry.
    pub fn any(&self, is: impl Fn(&Waiting) -> bool) -> bool {
        self.0.values().any(is)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.0.values()
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
            offer: None,
            reply_tx,
        };
        assert!(pending.register(waiting).is_ok());
        (pending, id, reply_rx)
    }

    /// What became of a reply.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Completed {
        Given,
        Late,
        Misplaced,
        NotBelieved,
    }

    fn complete_with(
        pending: &mut Pending,
        id: CorrelationId,
        record: RawRecord,
        open: impl FnOnce(&Waiting, RawRecord) -> Option<RawRecord>,
    ) -> Completed {
        match pending.claim(id, record, open) {
            Ok((waiting, record)) => {
                waiting.reply(record);
                Completed::Given
            }
            Err(NotGiven::Late) => Completed::Late,
            Err(NotGiven::Misplaced) => Completed::Misplaced,
            Err(NotGiven::NotBelieved) => Completed::NotBelieved,
        }
    }

    fn complete(pending: &mut Pending, id: CorrelationId, record: RawRecord) -> Completed {
        complete_with(pending, id, record, |_, record| Some(record))
    }

    fn given(reply_rx: &mut oneshot::Receiver<ReplyResult>) -> RawRecord {
        match reply_rx.try_recv().unwrap().unwrap().answer {
            Answer::Whole(record) => record,
            Answer::Stream(_) => unreachable!("it is one record"),
        }
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
        assert_eq!(&*given(&mut reply_rx).topic, "common-responses");
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
        let now = complete_with(&mut pending, id, record("common-responses", 0), |_, _| None);
        assert_eq!((now, pending.len()), (Completed::NotBelieved, 1));
        let opened = |waiting: &Waiting, record| {
            assert_eq!(&*waiting.request_topic.name, "common-requests");
            Some(RawRecord { offset: 7, ..record })
        };
        assert_eq!(
            complete_with(&mut pending, id, record("common-responses", 0), opened),
            Completed::Given
        );
        assert_eq!(given(&mut reply_rx).offset, 7);
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
