//! The last reply that Kafka did not take, for whoever looks at the process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use rdkafka::error::RDKafkaErrorCode;

/// A reply that Kafka did not take.
pub struct Refusal {
    /// Where it was to go.
    pub topic: Arc<str>,
    pub code: RDKafkaErrorCode,
    at: Instant,
}

/// The last one of a worker. Clones share it.
#[derive(Clone, Default)]
pub struct LastRefusal(Arc<ArcSwapOption<Refusal>>);

impl LastRefusal {
    /// Kafka does not take a reply.
    pub fn note(&self, topic: &Arc<str>, code: RDKafkaErrorCode) {
        let (topic, at) = (topic.clone(), Instant::now());
        self.0.store(Some(Arc::new(Refusal { topic, code, at })));
    }

    /// The last one, if it is no older.
    pub fn within(&self, time: Duration) -> Option<Arc<Refusal>> {
        self.0.load_full().filter(|refusal| refusal.at.elapsed() <= time)
    }
}
