//! One lookup of a missing topic at a time: else every record that waits for the topic would ask Kafka, several times a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Whoever misses a topic this soon after the end of a lookup is content with it.
const FRESH: Duration = Duration::from_millis(400);

/// The last lookup of a topic.
#[derive(Clone, Copy)]
struct Lookup {
    began: Instant,
    ended: Instant,
}

/// Which lookup tells enough.
#[derive(Clone, Copy)]
pub enum Needs {
    /// One that ended a moment ago. Many records miss a topic at once, and each asks again and again.
    Recent,
    /// One that began after this: what an earlier one found is what the record failed with.
    BegunAfter(Instant),
}

impl Needs {
    fn are_met_by(self, last: Option<Lookup>) -> bool {
        last.is_some_and(|last| match self {
            Needs::Recent => last.ended.elapsed() < FRESH,
            Needs::BegunAfter(failed) => last.began >= failed,
        })
    }
}

/// When each topic was last looked up. Clones share it.
#[derive(Clone, Default)]
pub struct TopicLookup(Arc<Mutex<HashMap<Arc<str>, LastLookup>>>);

/// The last lookup of a topic; locked while one is under way.
type LastLookup = Arc<Mutex<Option<Lookup>>>;

impl TopicLookup {
    /// Runs `look_up` for `topic`, unless the last lookup tells enough; waits for one that is under way.
    pub async fn run(&self, topic: &Arc<str>, needs: Needs, look_up: impl AsyncFnOnce()) {
        let mut lookups = self.0.lock().await;
        let last = lookups.entry(topic.clone()).or_default().clone();
        // Requests can name many reply topics: only those that somebody waits for, or just did, are kept.
        lookups.retain(|_, last| {
            Arc::strong_count(last) > 1 || last.try_lock().is_ok_and(|last| Needs::Recent.are_met_by(*last))
        });
        drop(lookups);
        let mut last = last.lock().await;
        if !needs.are_met_by(*last) {
            let began = Instant::now();
            look_up().await;
            let ended = Instant::now();
            *last = Some(Lookup { began, ended });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test(start_paused = true)]
    async fn many_who_miss_a_topic_look_once() {
        let lookup = TopicLookup::default();
        let (topic, other): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let count = Cell::new(0);
        let look_up = async || {
            count.set(count.get() + 1);
            tokio::time::sleep(Duration::from_secs(3)).await;
        };
        let all = (0..100).map(|_| lookup.run(&topic, Needs::Recent, look_up));
        futures_util::future::join_all(all).await;
        assert_eq!(count.get(), 1);
        tokio::join!(
            lookup.run(&topic, Needs::Recent, look_up),
            lookup.run(&other, Needs::Recent, look_up)
        );
        assert_eq!(count.get(), 2, "another topic is another lookup");
        tokio::time::sleep(FRESH).await;
        lookup.run(&topic, Needs::Recent, look_up).await;
        assert_eq!(count.get(), 3, "what it found is old");
        assert_eq!(lookup.0.lock().await.len(), 1, "what nobody asks for is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_began_before_a_failure_tells_nothing_of_it() {
        let lookup = TopicLookup::default();
        let topic: Arc<str> = "a".into();
        let count = Cell::new(0);
        let look_up = async || {
            count.set(count.get() + 1);
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let early = lookup.run(&topic, Needs::Recent, look_up);
        // Both fail while it is under way: one more lookup serves them.
        let late = async || {
            tokio::time::sleep(Duration::from_millis(20)).await;
            lookup.run(&topic, Needs::BegunAfter(Instant::now()), look_up).await;
        };
        tokio::join!(early, late(), late());
        assert_eq!(count.get(), 2);
    }
}
