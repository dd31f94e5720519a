//! One look for a missing topic at a time: every record that waits for it would look, several times a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// A look tells everybody who asks within this.
const FRESH: Duration = Duration::from_millis(400);

/// When the process last looked for each topic. Clones share it.
#[derive(Clone, Default)]
pub struct Ensured(Arc<Mutex<HashMap<Arc<str>, Look>>>);

/// The end of the last look for a topic; locked while one is under way.
type Look = Arc<Mutex<Option<Instant>>>;

impl Ensured {
    /// Looks for `topic`, or waits for the end of a look under way, unless one ended a moment ago.
    pub async fn look(&self, topic: &Arc<str>, look: impl AsyncFnOnce()) {
        let mut looks = self.0.lock().await;
        let last = looks.entry(topic.clone()).or_default().clone();
        // Requests can name many reply topics: only those that somebody waits for, or just did, are kept.
        looks.retain(|_, look| Arc::strong_count(look) > 1 || look.try_lock().is_ok_and(|at| is_fresh(*at)));
        drop(looks);
        let mut last = last.lock().await;
        if !is_fresh(*last) {
            look().await;
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
        let ensured = Ensured::default();
        let (topic, other): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let looks = Cell::new(0);
        let look = async || {
            looks.set(looks.get() + 1);
            tokio::time::sleep(Duration::from_secs(3)).await;
        };
        let all = (0..100).map(|_| ensured.look(&topic, look));
        futures_util::future::join_all(all).await;
        assert_eq!(looks.get(), 1);
        tokio::join!(ensured.look(&topic, look), ensured.look(&other, look));
        assert_eq!(looks.get(), 2, "another topic is another look");
        tokio::time::sleep(FRESH).await;
        ensured.look(&topic, look).await;
        assert_eq!(looks.get(), 3, "what it found is old");
        assert_eq!(ensured.0.lock().await.len(), 1, "what nobody asks for is forgotten");
    }
}
