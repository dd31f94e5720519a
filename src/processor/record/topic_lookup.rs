//! One lookup of a missing topic at a time: else every record that waits for the topic would ask Kafka, several times a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Whoever asks this soon after the end of a lookup is content with it.
const FRESH: Duration = Duration::from_millis(400);

/// When each topic was last looked up. Clones share it.
#[derive(Clone, Default)]
pub struct TopicLookup(Arc<Mutex<HashMap<Arc<str>, LastLookup>>>);

/// When the last lookup of a topic ended; locked while one is under way.
type LastLookup = Arc<Mutex<Option<Instant>>>;

impl TopicLookup {
    /// Runs `look_up` for `topic`, unless a lookup ended a moment ago; waits for one that is under way.
    pub async fn run(&self, topic: &Arc<str>, look_up: impl AsyncFnOnce()) {
        let mut lookups = self.0.lock().await;
        let last = lookups.entry(topic.clone()).or_default().clone();
        // Requests can name many reply topics: only those that somebody waits for, or just did, are kept.
        lookups.retain(|_, last| Arc::strong_count(last) > 1 || last.try_lock().is_ok_and(|ended| is_fresh(*ended)));
        drop(lookups);
        let mut last = last.lock().await;
        if !is_fresh(*last) {
            look_up().await;
            *last = Some(Instant::now());
        }
    }
}

fn is_fresh(ended: Option<Instant>) -> bool {
    ended.is_some_and(|at| at.elapsed() < FRESH)
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
        let all = (0..100).map(|_| lookup.run(&topic, look_up));
        futures_util::future::join_all(all).await;
        assert_eq!(count.get(), 1);
        tokio::join!(lookup.run(&topic, look_up), lookup.run(&other, look_up));
        assert_eq!(count.get(), 2, "another topic is another lookup");
        tokio::time::sleep(FRESH).await;
        lookup.run(&topic, look_up).await;
        assert_eq!(count.get(), 3, "what it found is old");
        assert_eq!(lookup.0.lock().await.len(), 1, "what nobody asks for is forgotten");
    }
}
