//! Which topics stand behind the request topics' names now: a topic that is deleted and created again is another one.
//!
//! librdkafka goes on at the old offset where the new topic is long enough (`rdkafka_topic.c:1431`), so we ask ourselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rdkafka::error::KafkaResult;

use crate::kafka::cluster::describe::{Answer, TopicId};

/// Between two rounds of questions. One request asks about all topics.
const EVERY: Duration = Duration::from_secs(2);

/// The identities of a process's request topics. Clones share them.
#[derive(Clone)]
pub struct TopicIds(Arc<ArcSwap<Seen>>);

/// One answer. Written by the thread that `watch` starts.
struct Seen {
    /// Before the question was asked.
    asked_at: Instant,
    /// Topics that exist and have an id: brokers before 2.8 have none.
    ids: HashMap<String, TopicId>,
}

impl TopicIds {
    pub fn new() -> Self {
        TopicIds(Arc::new(ArcSwap::from_pointee(Seen {
            asked_at: Instant::now(),
            ids: HashMap::new(),
        })))
    }

    /// Another topic than `known` has had this name at some time after `since`.
    pub fn differs(&self, topic: &str, known: Option<TopicId>, since: Instant) -> bool {
        let seen = self.0.load();
        seen.asked_at > since && seen.ids.get(topic).is_some_and(|id| Some(*id) != known)
    }

    fn set(&self, asked_at: Instant, topics: HashMap<&str, Answer>) {
        let id = |(name, topic): (&str, Answer)| Some((name.to_owned(), topic.ok()??.id?));
        self.0.store(Arc::new(Seen {
            asked_at,
            ids: topics.into_iter().filter_map(id).collect(),
        }));
    }
}

impl Default for TopicIds {
    fn default() -> Self {
        TopicIds::new()
    }
}

/// Keeps asking about the topics that `names` gives, on a thread of its own, since questions block. `ask` returns `None` when nobody needs the answers
/// any more: the thread ends.
///
/// # Errors
/// The operating system has no thread left.
pub fn watch(
    ids: TopicIds,
    names: impl Fn() -> Arc<Vec<String>> + Send + 'static,
    ask: impl for<'a> Fn(&'a [String]) -> Option<KafkaResult<HashMap<&'a str, Answer>>> + Send + 'static,
) -> std::io::Result<()> {
    let watch = move || {
        loop {
            let asked_at = Instant::now();
            let names = names();
            match ask(&names) {
                None => return,
                Some(Ok(topics)) => ids.set(asked_at, topics),
                Some(Err(error)) => tracing::debug!(%error, "the identities of the request topics are not known"),
            }
            std::thread::park_timeout(EVERY);
        }
    };
    std::thread::Builder::new()
        .name("khp-topic-ids".into())
        .spawn(watch)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::cluster::describe::Found;

    #[test]
    fn only_a_later_answer_with_another_id_counts() {
        let ids = TopicIds::new();
        let topic = |number| Found {
            id: Some(TopicId::of(number)),
            partitions: 1,
            readable: true,
            writable: true,
        };
        let before = Instant::now();
        let asked_at = before + Duration::from_millis(5);
        ids.set(asked_at, HashMap::from([("a", Ok(Some(topic(1)))), ("gone", Ok(None))]));
        let known = |number| Some(TopicId::of(number));
        assert!(!ids.differs("a", known(1), before));
        assert!(ids.differs("a", known(2), before));
        assert!(ids.differs("a", None, before), "now there is an id");
        assert!(!ids.differs("a", known(2), asked_at), "asked before it was known");
        assert!(!ids.differs("gone", known(2), before));
    }
}
