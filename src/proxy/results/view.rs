//! How far the index of results is, as handlers and the management API see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use actix::{Message, Recipient};
use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use crate::proxy::results::index::Found;
use crate::proxy::results::places::ResultsTopic;
use crate::proxy::results::selection::Read;
use crate::wire::CorrelationId;

/// Asks what is known of an id. `waiter` is told when that is a result, unless it is known already; it is dropped where too many wait.
#[derive(Message)]
#[rtype(result = "Found")]
pub struct Find {
    pub id: CorrelationId,
    pub waiter: Option<oneshot::Sender<()>>,
}

/// A request was accepted. Sent by handlers.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Accepted {
    pub id: CorrelationId,
    /// Unix time in s.
    pub deadline: u32,
}

/// The present reader.
#[derive(Clone)]
pub struct ReaderHandle {
    pub find: Recipient<Find>,
    pub accepted: Recipient<Accepted>,
}

/// Of one results topic.
pub struct TopicView {
    pub name: Arc<str>,
    /// Everything is indexed that was there when it was opened.
    pub is_whole: AtomicBool,
    /// Offsets that it had then.
    pub length: AtomicI64,
}

/// Of all of them.
pub struct IndexView {
    pub topics: Vec<TopicView>,
    /// Of the present generation.
    pub read: ArcSwap<Read>,
    /// `None`: there is none.
    pub reader: watch::Sender<Option<ReaderHandle>>,
}

impl IndexView {
    pub fn new(topics: &[ResultsTopic]) -> Self {
        let view = |topic: &ResultsTopic| TopicView {
            name: topic.name.clone(),
            is_whole: AtomicBool::new(false),
            length: AtomicI64::new(0),
        };
        IndexView {
            topics: topics.iter().map(view).collect(),
            read: ArcSwap::default(),
            reader: watch::Sender::new(None),
        }
    }

    /// A generation begins, which reads everything anew. Returns what its thread counts in.
    pub fn begin(&self) -> Arc<Read> {
        self.withdraw();
        let read = Arc::new(Read::new(self.topics.len()));
        self.read.store(read.clone());
        read
    }

    /// There is no reader.
    pub fn withdraw(&self) {
        self.reader.send_replace(None);
        for topic in &self.topics {
            topic.is_whole.store(false, Ordering::Release);
        }
    }

    /// The index knows all results of this topic.
    pub fn is_whole(&self, topic: u16) -> bool {
        let topic = self.topics.get(usize::from(topic));
        topic.is_some_and(|topic| topic.is_whole.load(Ordering::Acquire))
    }

    /// For `GET /status`: how far each topic is.
    pub fn status(&self) -> Value {
        let read = self.read.load();
        let topics = self.topics.iter().enumerate().map(|(number, topic)| {
            let records = read
                .records
                .get(number)
                .map_or(0, |records| records.load(Ordering::Relaxed));
            let status = json!({
                "state": if topic.is_whole.load(Ordering::Acquire) { "indexed" } else { "indexing" },
                "records_read": records,
                "records_at_start": topic.length.load(Ordering::Relaxed),
            });
            (topic.name.to_string(), status)
        });
        topics.collect::<serde_json::Map<String, Value>>().into()
    }
}
